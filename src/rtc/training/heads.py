"""Training of correction heads: from what a policy planned to what is right when the tick has come."""

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import Any, Literal, NamedTuple

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
# What trainings did before there was a choice.
BEFORE = {"labels": "mean"}


@dataclasses.dataclass(frozen=True)
class HeadTraining(FitConfig):
    """One training run; the fields of `FitConfig`, and those below.

    The step size, its warm-up, weight decay, bound on the gradient and batch are the published ones (arXiv 2509.23224).
    Published are 16 epochs with a fresh chunk for every example; here there are 8, with chunks drawn once.

    Attributes:
        draws: chunks that the policy draws for every observation, of which the base actions are taken.
        num_flow_steps: flow steps of these chunks.
        labels: what is right without demonstrations, which is the first action of the policy's own chunk of a tick.
            `same_noise`: of the chunk whose initial noise is, tick by tick, that of the chunk to be corrected, so that
            the head stays with what was chosen where several actions are right. `mean`: averaged over the draws, all
            with noise of their own.
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
    labels: Literal["mean", "same_noise"] = "same_noise"
    model: HeadConfig = READS_BASE

    def __post_init__(self):
        super().__post_init__()
        for name in ("draws", "num_flow_steps"):
            require_int(name, getattr(self, name), low=1)


class Dataset(NamedTuple):
    """What there is at every tick.

    Attributes:
        obs: the observation.
        label: the right action after each of the chunks.
        chunk: chunks that the policy drew then, clipped to the actions' range.
        last: index of the last tick of the episode.
    """

    obs: Float[Array, "n o"]
    label: Float[Array, "n k a"]
    chunk: Float[Array, "n k h a"]
    last: Int[Array, " n"]


def correcting(
    net: Mlp, data: Dataset, batch: Int[Array, " b"], key: PRNGKeyArray
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Mean squared error of the corrected actions of chunks that were drawn at these ticks, at a random entry each.

    Entries beyond an episode's end do not count.
    """
    obs, base, phase, label, valid = _planned(data, batch, key)
    correction = net(features(obs, base, phase, READS_BASE))
    return _mean_square(base + correction - label, valid), {}


def acting(
    net: Mlp, data: Dataset, batch: Int[Array, " b"], key: PRNGKeyArray
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Mean squared error of the actions of a head that does not know what was planned."""
    obs, base, phase, label, valid = _planned(data, batch, key)
    action = net(features(obs, base, phase, ALONE))
    return _mean_square(action - label, valid), {}


def _planned(data: Dataset, start: Int[Array, " b"], key: PRNGKeyArray) -> tuple[Array, Array, Array, Array, Array]:
    """Of a chunk drawn at each of these ticks, and one of its entries: what is observed when its tick comes, its
    action, its place in the chunk, the right action, and whether the episode still lasts."""
    draws, size = data.chunk.shape[1:3]
    draw_key, entry_key = jax.random.split(key)
    draw = jax.random.randint(draw_key, start.shape, 0, draws)
    entry = jax.random.randint(entry_key, start.shape, 0, size)
    valid = start + entry <= data.last[start]
    tick = jnp.minimum(start + entry, data.last[start])
    return data.obs[tick], data.chunk[start, draw, entry], entry / size, data.label[tick, draw], valid


def _mean_square(error: Float[Array, "b a"], valid: Array) -> Float[Array, ""]:
    return networks.mean_of(jnp.square(error).mean(axis=1), valid)


def dataset(
    policy: FlowPolicy, obs: Float[np.ndarray, "n o"], last: np.ndarray, label: np.ndarray | None, config: HeadTraining
) -> Dataset:
    """Draws the chunks; without labels the right actions are the policy's own first ones, see `HeadTraining.labels`."""
    chunk = _chunks(policy, obs, config)
    if label is None:
        label = chunk[:, :, 0]
        label = label.mean(axis=1, keepdims=True) if config.labels == "mean" else label
    else:
        label = label[:, None]
    label = np.broadcast_to(label, (len(obs), config.draws, label.shape[-1]))
    return Dataset(jnp.asarray(obs), jnp.asarray(label), jnp.asarray(chunk), jnp.asarray(last, jnp.int32))


def _chunks(policy: FlowPolicy, obs: Float[np.ndarray, "n o"], config: HeadTraining) -> Float[np.ndarray, "n k h a"]:
    """Chunks of the policy at every tick."""
    starts = range(0, len(obs), BLOCK)
    noise = (_noise_of_chunks if config.labels == "mean" else _noise_of_ticks)(policy, len(starts), config)
    rows = [
        np.asarray(_draw(policy, jnp.asarray(_padded(obs, start)), one, config.num_flow_steps))
        for start, one in zip(starts, noise, strict=True)
    ]
    return np.concatenate(rows)[: len(obs)]


def _noise_of_chunks(policy: FlowPolicy, blocks: int, config: HeadTraining) -> Iterator[Float[Array, "k b h a"]]:
    """Block by block, noise of which every chunk has its own."""
    shape = (BLOCK, policy.action_chunk_size, policy.action_dim)
    for key in jax.random.split(jax.random.key(config.seed), blocks):
        yield jnp.stack([jax.random.normal(one, shape) for one in jax.random.split(key, config.draws)])


def _noise_of_ticks(policy: FlowPolicy, blocks: int, config: HeadTraining) -> Iterator[Float[Array, "k b h a"]]:
    """Block by block, noise of which every tick has its own, the same in all chunks that reach it."""
    size = policy.action_chunk_size
    shape = (config.draws, blocks * BLOCK + size - 1, policy.action_dim)
    ticks = jax.random.normal(jax.random.key(config.seed), shape)
    reached = np.arange(BLOCK)[:, None] + np.arange(size)
    for block in range(blocks):
        yield ticks[:, block * BLOCK + reached]


def _padded(obs: Float[np.ndarray, "n o"], start: int) -> Float[np.ndarray, "b o"]:
    rows = obs[start : start + BLOCK]
    return np.pad(rows, ((0, BLOCK - len(rows)), (0, 0)), mode="edge")


@partial(runtime.jit, static_argnums=3)
def _draw(
    policy: FlowPolicy, obs: Float[Array, "b o"], noise: Float[Array, "k b h a"], num_steps: int
) -> Float[Array, "b k h a"]:
    chunks = [policy.action(None, obs, num_steps, noise=one) for one in noise]
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
    _, base, _, label, valid = _planned(data, ticks, key)
    uncorrected = _mean_square(base - label, valid)
    return {"held_out_loss": float(objective(net, data, ticks, key)[0]), "uncorrected_loss": float(uncorrected)}
