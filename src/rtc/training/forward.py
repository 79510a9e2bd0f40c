"""Training of forward models on a policy's own rollouts."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rtc.policies import networks as files
from rtc.policies.forward import ForwardConfig, ForwardModel, Residual
from rtc.shared import runtime
from rtc.shared.validation import require_int
from rtc.training import networks, runs, trainer
from rtc.training.networks import Job
from rtc.training.trainer import FitConfig
from rtc.training.trajectories import Trajectories

LONGEST = 8
SMALL = ForwardConfig()


@dataclasses.dataclass(frozen=True)
class ForwardTraining(FitConfig):
    """One training run; the fields of `FitConfig`, and

    Attributes:
        ticks: length of the predictions in the loss, each made from the one before it.
        model: size of the network.
    """

    num_epochs: int = 4
    batch_size: int = 256
    warmup_steps: int = 200
    weight_decay: float = 1e-4
    max_grad_norm: float = 1.0
    ema_decay: float = 0.99
    ticks: int = 4
    model: ForwardConfig = SMALL

    def __post_init__(self):
        super().__post_init__()
        require_int("ticks", self.ticks, low=1)


class Dataset(NamedTuple):
    """Standardised observations, actions, and for every tick the index of its episode's last one.

    Attributes:
        ratio: standard deviation of an entry's change over its own.
        steps: indices of the predictions in the loss.
    """

    x: Float[Array, "n o"]
    action: Float[Array, "n a"]
    last: Int[Array, " n"]
    ratio: Float[Array, " o"]
    steps: Int[Array, " k"]


def objective(
    net: Residual, data: Dataset, batch: Int[Array, " b"], key: PRNGKeyArray
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Mean absolute error of predictions that are each made from the one before, in units of the changes' deviations.

    Predictions beyond an episode's end do not count.
    """
    error, valid = _errors(net, data, batch)
    return networks.mean_of((error / data.ratio).mean(axis=2), valid), {}


def _errors(net: Residual, data: Dataset, start: Int[Array, " b"]) -> tuple[Float[Array, "k b o"], Bool[Array, "k b"]]:
    """Absolute errors of the predictions from these ticks on, standardised, and which of them lie in the episode."""

    def step(x: Float[Array, "b o"], k: Int[Array, ""]) -> tuple[Array, tuple[Array, Array]]:
        tick = jnp.minimum(start + k, data.last[start])
        x = x + net(x, data.action[tick]) * data.ratio
        following = jnp.minimum(tick + 1, data.last[start])
        return x, (jnp.abs(x - data.x[following]), start + k + 1 <= data.last[start])

    return jax.lax.scan(step, data.x[start], data.steps)[1]


def fresh(data: Trajectories, config: ForwardTraining) -> ForwardModel:
    """An untrained model with the statistics of the data."""
    sizes = {"entries": data.entries, "action_dim": data.action.shape[1]}
    model = ForwardModel(**sizes, config=config.model, rngs=nnx.Rngs(config.seed))
    change = np.diff(data.obs, axis=0)[~data.done[:-1]]
    # An entry that hardly varies in the data must not be divided by nothing.
    floor = 1e-3
    model.robot[...] = jnp.asarray(data.robot)
    model.mean[...] = jnp.asarray(data.obs.mean(axis=0))
    model.std[...] = jnp.asarray(np.maximum(data.obs.std(axis=0), floor))
    model.change[...] = jnp.asarray(np.maximum(change.std(axis=0), floor))
    return model


def dataset(model: ForwardModel, data: Trajectories, ticks: int) -> Dataset:
    """The data as the objective reads them."""
    return Dataset(
        x=(jnp.asarray(data.obs) - model.mean[...]) / model.std[...],
        action=jnp.asarray(data.action),
        last=jnp.asarray(data.last, jnp.int32),
        ratio=model.change[...] / model.std[...],
        steps=jnp.arange(ticks),
    )


def train(data: Trajectories, config: ForwardTraining, job: Job) -> dict[str, Any]:
    """Trains a forward model on a policy's rollouts and writes it; returns its facts, with errors on held-out episodes.

    Raises:
        ValueError: the episodes are too few.
    """
    shown, held_out = data.split(networks.SHARE)
    model = fresh(shown, config)
    inputs = dataset(model, shown, config.ticks)
    stats = networks.fit(model, objective, inputs, len(shown.done), config, job, trainer.cosine)
    facts = {**job.facts, "training": runs.as_dict(config), **stats, "errors": errors(model, held_out)}
    files.save(job.path, model, facts)
    return facts


def errors(model: ForwardModel, data: Trajectories) -> list[dict[str, float]]:
    """How far predictions are off, by their length in ticks: the root mean square over ticks and entries, in standard
    deviations; `nothing` predicts that nothing changes."""
    inputs = dataset(model, data, LONGEST)
    model_error, nothing = _square_errors(model.net, inputs)
    return [
        {"ticks": k + 1, "model": float(model_error[k]) ** 0.5, "nothing": float(nothing[k]) ** 0.5}
        for k in range(LONGEST)
    ]


@runtime.jit
def _square_errors(net: Residual, data: Dataset) -> tuple[Float[Array, " k"], Float[Array, " k"]]:
    start = jnp.arange(len(data.last))
    error, valid = _errors(net, data, start)
    still = data.x[jnp.minimum(start + data.steps[:, None] + 1, data.last)] - data.x
    return tuple(jax.vmap(networks.mean_of)(jnp.square(e).mean(axis=2), valid) for e in (error, still))
