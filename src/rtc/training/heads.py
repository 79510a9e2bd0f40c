"""Training of correction heads: from what a policy planned to what is right when the tick has come."""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from rtc.policies import networks as files
from rtc.policies.flow import FlowPolicy
from rtc.policies.heads import CorrectionHead, HeadConfig, HeadOnly, Mlp, features
from rtc.shared import runtime
from rtc.shared.validation import require_int
from rtc.training import networks, runs, trainer
from rtc.training.cloning import episode_ends
from rtc.training.demonstrations import Demonstrations
from rtc.training.networks import Job
from rtc.training.trainer import FitConfig
from rtc.training.trajectories import Trajectories

SHARE = 0.95
# Observations that the policy is asked for chunks at a time.
BLOCK = 1024
READS_BASE = HeadConfig()
ALONE = HeadConfig(reads_base=False)


@dataclasses.dataclass(frozen=True)
class HeadTraining(FitConfig):
    """One training run; the fields of `FitConfig`, and those below.

    The step size, its warm-up, weight decay, bound on the gradient and batch are the published ones (arXiv 2509.23224).
    Published are 16 epochs with a fresh chunk for every example; here there are 8, with chunks drawn once.

    Attributes:
        draws: chunks that the policy draws for every observation, of which the base actions are taken.
        num_flow_steps: flow steps of these chunks.
        model: size of the head.
    """

    num_epochs: int = 8
    learning_rate: float = 1e-4
    weight_decay: float = 1e-3
    warmup_steps: int = 500
    max_grad_norm: float = 5.0
    ema_decay: float = 0.0
    draws: int = 2
    num_flow_steps: int = 5
    model: HeadConfig = READS_BASE

    def __post_init__(self):
        super().__post_init__()
        for name in ("draws", "num_flow_steps"):
            require_int(name, getattr(self, name), low=1)


class Dataset(NamedTuple):
    """What there is at every tick.

    Attributes:
        obs: the observation.
        label: the right action.
        chunk: chunks that the policy drew then, clipped to the actions' range.
        last: index of the last tick of the episode.
    """

    obs: Float[Array, "n o"]
    label: Float[Array, "n a"]
    chunk: Float[Array, "n k h a"]
    last: Int[Array, " n"]


def correcting(
    net: Mlp, data: Dataset, batch: Int[Array, " b"], key: PRNGKeyArray
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Mean squared error of the corrected actions of chunks that were drawn at these ticks, at a random entry each.

    Entries beyond an episode's end do not count.
    """
    tick, base, phase, valid = _planned(data, batch, key)
    correction = net(features(data.obs[tick], base, phase, READS_BASE))
    return _mean_square(base + correction - data.label[tick], valid), {}


def acting(
    net: Mlp, data: Dataset, batch: Int[Array, " b"], key: PRNGKeyArray
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Mean squared error of the actions of a head that does not know what was planned."""
    tick, base, phase, valid = _planned(data, batch, key)
    action = net(features(data.obs[tick], base, phase, ALONE))
    return _mean_square(action - data.label[tick], valid), {}


def _planned(data: Dataset, start: Int[Array, " b"], key: PRNGKeyArray) -> tuple[Array, Array, Array, Array]:
    """Of a chunk drawn at each of these: a tick, its planned action, its place in the chunk, whether it is there."""
    draws, size = data.chunk.shape[1:3]
    draw_key, entry_key = jax.random.split(key)
    draw = jax.random.randint(draw_key, start.shape, 0, draws)
    entry = jax.random.randint(entry_key, start.shape, 0, size)
    valid = start + entry <= data.last[start]
    tick = jnp.minimum(start + entry, data.last[start])
    return tick, data.chunk[start, draw, entry], entry / size, valid


def _mean_square(error: Float[Array, "b a"], valid: Array) -> Float[Array, ""]:
    return networks.mean_of(jnp.square(error).mean(axis=1), valid)


def dataset(
    policy: FlowPolicy, obs: Float[np.ndarray, "n o"], last: np.ndarray, label: np.ndarray | None, config: HeadTraining
) -> Dataset:
    """Draws the chunks; without labels the right action is the policy's own first one, averaged over its draws."""
    keys = jax.random.split(jax.random.key(config.seed), -(-len(obs) // BLOCK))
    rows = [
        np.asarray(_draw(policy, jnp.asarray(_padded(obs, i)), key, config.draws, config.num_flow_steps))
        for i, key in enumerate(keys)
    ]
    chunk = np.concatenate(rows)[: len(obs)]
    label = chunk[:, :, 0].mean(axis=1) if label is None else label
    return Dataset(jnp.asarray(obs), jnp.asarray(label), jnp.asarray(chunk), jnp.asarray(last, jnp.int32))


def _padded(obs: Float[np.ndarray, "n o"], block: int) -> Float[np.ndarray, "b o"]:
    rows = obs[block * BLOCK : (block + 1) * BLOCK]
    return np.pad(rows, ((0, BLOCK - len(rows)), (0, 0)), mode="edge")


@partial(runtime.jit, static_argnums=(3, 4))
def _draw(
    policy: FlowPolicy, obs: Float[Array, "b o"], key: PRNGKeyArray, draws: int, num_steps: int
) -> Float[Array, "b k h a"]:
    chunks = [policy.action(one, obs, num_steps) for one in jax.random.split(key, draws)]
    return jnp.clip(jnp.stack(chunks, axis=1), -1, 1)


def train(policy: FlowPolicy, data: Trajectories | Demonstrations, config: HeadTraining, job: Job) -> dict[str, Any]:
    """Trains a head and writes it; returns its facts, with its loss on held-out episodes and that of no correction.

    Args:
        policy: whose actions are corrected, observing the entries of the data.
        data: the policy's own rollouts, whose labels are its own actions, or demonstrations with theirs.
        config: hyper-parameters.
        job: where and for what.

    Raises:
        ValueError: the episodes are too few.
    """
    label = data.action if isinstance(data, Demonstrations) else None
    shown = networks.cut(data.done, SHARE)
    whole = dataset(policy, data.obs, episode_ends(data.done), label, config)
    cls, objective = (CorrectionHead, correcting) if config.model.reads_base else (HeadOnly, acting)
    sizes = {"entries": data.entries, "action_dim": data.action.shape[1]}
    head = cls(**sizes, config=config.model, rngs=nnx.Rngs(config.seed))
    stats = networks.fit(head, objective, whole, shown, config, job)
    found = _held_out(head.net, objective, whole, shown)
    facts = {**job.facts, "training": runs.as_dict(config), **stats, **found}
    files.save(job.path, head, facts)
    return facts


def _held_out(net: Mlp, objective: trainer.Objective, data: Dataset, cut: int) -> dict[str, float]:
    ticks, key = jnp.arange(cut, len(data.last)), jax.random.key(0)
    tick, base, _, valid = _planned(data, ticks, key)
    uncorrected = _mean_square(base - data.label[tick], valid)
    return {"held_out_loss": float(objective(net, data, ticks, key)[0]), "uncorrected_loss": float(uncorrected)}
