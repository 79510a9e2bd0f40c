"""Training of latent predictors on a policy's own rollouts (after FutureRTC, arXiv 2607.24008)."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rtc.policies import networks as files
from rtc.policies.flow import FlowPolicy
from rtc.policies.latents import LatentConfig, LatentModel, LatentNet
from rtc.shared import runtime
from rtc.training import networks, runs, trainer
from rtc.training.networks import Job
from rtc.training.trainer import FitConfig
from rtc.training.trajectories import Trajectories

SMALL = LatentConfig()


@dataclasses.dataclass(frozen=True)
class LatentTraining(FitConfig):
    """One training run; the fields of `FitConfig`, and

    Attributes:
        model: size of the network.
    """

    num_epochs: int = 4
    batch_size: int = 256
    learning_rate: float = 3e-4
    weight_decay: float = 1e-4
    warmup_steps: int = 200
    max_grad_norm: float = 1.0
    ema_decay: float = 0.99
    model: LatentConfig = SMALL


class Dataset(NamedTuple):
    """Standardised latents, executed actions, and for every tick the index of its episode's last one.

    Attributes:
        entries: indices within a chunk.
    """

    z: Float[Array, "n c"]
    action: Float[Array, "n a"]
    last: Int[Array, " n"]
    entries: Int[Array, " h"]


def objective(
    net: LatentNet, data: Dataset, batch: Int[Array, " b"], key: PRNGKeyArray
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Mean squared error of the latents 1 … H ticks ahead, a length drawn for each; as far as the episodes go."""
    ticks = jax.random.randint(key, batch.shape, 1, len(data.entries) + 1)
    error, valid = _errors(net, data, batch, ticks)
    return networks.mean_of(jnp.square(error).mean(axis=1), valid), {}


def _errors(
    net: LatentNet, data: Dataset, start: Int[Array, " b"], ticks: Int[Array, " b"]
) -> tuple[Float[Array, "b c"], Bool[Array, " b"]]:
    """What predictions from these ticks on are off by, and whether they end within the episode."""
    last = data.last[start]
    actions = data.action[jnp.minimum(start[:, None] + data.entries, last[:, None])]
    following = data.z[jnp.minimum(start + ticks, last)]
    predicted = data.z[start] + net(data.z[start], actions, ticks)
    return predicted - following, start + ticks <= last


def dataset(model: LatentModel, latents: Float[np.ndarray, "n c"], data: Trajectories) -> Dataset:
    """The data as the objective reads them."""
    return Dataset(
        z=(jnp.asarray(latents) - model.mean[...]) / model.std[...],
        action=jnp.asarray(data.action),
        last=jnp.asarray(data.last, jnp.int32),
        entries=jnp.arange(model.chunk_size),
    )


def train(policy: FlowPolicy, data: Trajectories, config: LatentTraining, job: Job) -> dict[str, Any]:
    """Trains a latent predictor and writes it; returns its facts, with errors on held-out episodes.

    Args:
        policy: whose latent is predicted, observing the entries of the data.
        data: the policy's rollouts.
        config: hyper-parameters.
        job: where and for what.

    Raises:
        ValueError: the episodes are too few.
    """
    shown, held_out = data.split(networks.SHARE)
    latents = [np.asarray(policy.condition(jnp.asarray(part.obs))) for part in (shown, held_out)]
    model = LatentModel(
        entries=data.entries,
        channels=latents[0].shape[1],
        action_dim=data.action.shape[1],
        chunk_size=policy.action_chunk_size,
        config=config.model,
        rngs=nnx.Rngs(config.seed),
    )
    model.mean[...] = jnp.asarray(latents[0].mean(axis=0))
    model.std[...] = jnp.asarray(np.maximum(latents[0].std(axis=0), 1e-3))
    inputs = dataset(model, latents[0], shown)
    stats = networks.fit(model, objective, inputs, len(shown.done), config, job, trainer.cosine)
    found = errors(model, dataset(model, latents[1], held_out))
    facts = {**job.facts, "training": runs.as_dict(config), **stats, "errors": found}
    files.save(job.path, model, facts)
    return facts


def errors(model: LatentModel, data: Dataset) -> list[dict[str, float]]:
    """How far predictions are off, by their length in ticks: the root mean square over ticks and channels, in standard
    deviations; `nothing` predicts that nothing changes."""
    rows = []
    for ticks in range(1, model.chunk_size + 1):
        found = _mean_squares(model.net, data, jnp.int32(ticks))
        rows.append({"ticks": ticks} | {name: float(value) ** 0.5 for name, value in found.items()})
    return rows


@runtime.jit
def _mean_squares(net: LatentNet, data: Dataset, ticks: Int[Array, ""]) -> dict[str, Float[Array, ""]]:
    start = jnp.arange(len(data.last))
    error, valid = _errors(net, data, start, jnp.full(start.shape, ticks))
    still = data.z - data.z[jnp.minimum(start + ticks, data.last)]
    found = {"model": error, "nothing": still}
    return {name: networks.mean_of(jnp.square(e).mean(axis=1), valid) for name, e in found.items()}
