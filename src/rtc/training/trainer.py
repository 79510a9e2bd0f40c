"""The trainer of every supervised model: AdamW, a moving average of the weights, resumable epoch by epoch.

What is trained is named by an objective, the data that it reads, and the order in which it reads them. The data stay
on one device; a compiled call gathers the batches of many updates and takes the gradient steps. On a CPU its matrix
products use all cores. Runs of one structure, objective and configuration share their compiled program.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from rtc.policies import weights
from rtc.shared import runtime
from rtc.shared.validation import require_float, require_int
from rtc.training import progress, runs

# (model, data, examples of a batch, key) to the loss and further statistics; a function of a module, not a closure.
Objective = Callable[[Any, Any, Int[Array, " b"], PRNGKeyArray], tuple[Float[Array, ""], dict[str, Array]]]
UPDATES_PER_CALL = 100


@dataclasses.dataclass(frozen=True)
class FitConfig:
    """Length and optimiser of one training run.

    Attributes:
        num_epochs: passes over the data.
        batch_size: examples per update.
        parts: equal parts of a batch whose gradients are computed one after the other and averaged: what a small part
            needs stays in a CPU's cache. An accelerator wants 1. Each part has its own random numbers, and an objective
            that is a mean over part of the tokens is one within each part.
        learning_rate: AdamW's largest step size.
        weight_decay: AdamW's weight decay.
        warmup_steps: updates over which the step size rises from 0.
        max_grad_norm: bound on the gradient's global norm.
        ema_decay: decay per update of the moving average of the weights, which is what is kept; 0 keeps the last
            weights.
        seed: seed of initial weights, batches and whatever else is random.

    Raises:
        ValueError: a field is out of range.
    """

    num_epochs: int = 6
    batch_size: int = 512
    parts: int = 1
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup_steps: int = 500
    max_grad_norm: float = 10.0
    ema_decay: float = 0.999
    seed: int = 0

    def __post_init__(self):
        for name in ("seed", "warmup_steps"):
            require_int(name, getattr(self, name), low=0)
        for name in ("num_epochs", "batch_size", "parts"):
            require_int(name, getattr(self, name), low=1)
        if self.batch_size % self.parts:
            raise ValueError(f"parts={self.parts} must divide batch_size={self.batch_size}")
        for name in ("learning_rate", "weight_decay", "max_grad_norm"):
            require_float(name, getattr(self, name), low=0.0)
        require_float("ema_decay", self.ema_decay, low=0.0, high=0.999999)


# --- step sizes ---------------------------------------------------------------------------------------------

Schedule = Callable[[FitConfig, int], optax.Schedule]


def constant(config: FitConfig, num_updates: int) -> optax.Schedule:
    """Rises over `warmup_steps`, then stays: a run can be made longer later."""
    return optax.linear_schedule(0.0, config.learning_rate, config.warmup_steps)


def cosine(config: FitConfig, num_updates: int) -> optax.Schedule:
    """Rises over `warmup_steps`, at most half of the run, then falls to 0 along a cosine."""
    warmup = min(config.warmup_steps, num_updates // 2)
    return optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, warmup, num_updates)


# --- order of the data --------------------------------------------------------------------------------------


class Order(Protocol):
    """Which examples every update of an epoch gets."""

    @property
    def updates(self) -> int:
        """Gradient steps per epoch."""
        ...

    def calls(self, epoch: int) -> Iterable[tuple[Int[Array, "u b"], PRNGKeyArray]]:
        """The epoch's compiled calls: the examples of their updates, and a key for what is random in them."""
        ...


@dataclasses.dataclass(frozen=True)
class Shuffled:
    """All examples once per epoch, in full batches, less a few batches that would not fill a compiled call.

    Args:
        count: number of examples.
        batch_size: examples per update.
        key: of the whole run; every epoch has its own.

    Raises:
        ValueError: the examples are fewer than one batch.
    """

    count: int
    batch_size: int
    key: PRNGKeyArray

    def __post_init__(self):
        require_batch(self.count, self.batch_size)

    @property
    def updates(self) -> int:
        batches = self.count // self.batch_size
        return batches // self._num_calls * self._num_calls

    @property
    def _num_calls(self) -> int:
        return -(-(self.count // self.batch_size) // UPDATES_PER_CALL)

    def calls(self, epoch: int) -> Iterator[tuple[Int[Array, "u b"], PRNGKeyArray]]:
        order_key, noise_key = jax.random.split(jax.random.fold_in(self.key, epoch))
        order = jax.random.permutation(order_key, self.count)[: self.updates * self.batch_size]
        for call, batches in enumerate(order.reshape(self._num_calls, -1, self.batch_size)):
            yield batches, jax.random.fold_in(noise_key, call)


def require_batch(count: int, batch_size: int) -> None:
    """Raises ValueError unless there is at least one full batch."""
    if count < batch_size:
        raise ValueError(f"batch_size={batch_size} exceeds the {count} transitions; record more or lower it")


# --- updates ------------------------------------------------------------------------------------------------


class Learner(NamedTuple):
    """Everything that changes during training; `average` belongs to the moving average of `params`."""

    params: Any
    average: optax.EmaState
    optimizer: Any


@dataclasses.dataclass(frozen=True)
class Trainer:
    """Updates of one model.

    Attributes:
        structure: the model without its weights.
        objective: what is minimised.
        config: hyper-parameters.
        num_updates: updates of the whole run, for the schedule.
        schedule: step size by update.
    """

    structure: nnx.GraphDef
    objective: Objective
    config: FitConfig
    num_updates: int
    schedule: Schedule = constant

    @property
    def average(self) -> optax.GradientTransformation:
        return optax.ema(self.config.ema_decay)

    @property
    def optimizer(self) -> optax.GradientTransformation:
        config = self.config
        return optax.chain(
            optax.clip_by_global_norm(config.max_grad_norm),
            optax.adamw(self.schedule(config, self.num_updates), weight_decay=config.weight_decay),
        )

    def init(self, params: Any) -> Learner:
        """A fresh optimiser for these weights."""
        return Learner(params, self.average.init(params), self.optimizer.init(params))

    def model(self, learner: Learner) -> Any:
        """The model that a learner holds: that of its averaged weights."""
        total, count = learner.average.ema, learner.average.count
        return nnx.merge(self.structure, optax.tree.bias_correction(total, self.config.ema_decay, count))

    def last(self, learner: Learner) -> Any:
        """The model of a learner's last weights."""
        return nnx.merge(self.structure, learner.params)

    def epoch(
        self, learner: Learner, data: Any, calls: Iterable[tuple[Int[Array, "u b"], PRNGKeyArray]]
    ) -> tuple[Learner, dict[str, float]]:
        """One pass over the data, with its mean statistics. `learner` is consumed."""
        stats = []
        for batches, key in calls:
            learner, of_call = _updates(self, learner, data, batches, key)
            stats.append(of_call)
        return learner, {name: float(np.mean([of_call[name] for of_call in stats])) for name in stats[0]}


@partial(runtime.jit, static_argnums=0, donate_argnums=1)
def _updates(
    trainer: Trainer, learner: Learner, data: Any, batches: Int[Array, "u b"], key: PRNGKeyArray
) -> tuple[Learner, dict[str, Array]]:
    optimizer, average = trainer.optimizer, trainer.average

    def step(learner: Learner, inputs: tuple[Array, PRNGKeyArray]) -> tuple[Learner, dict[str, Array]]:
        (loss, stats), grads = _gradient(trainer, learner.params, data, *inputs)
        updates, state = optimizer.update(grads, learner.optimizer, learner.params)
        params = optax.apply_updates(learner.params, updates)
        _, averaged = average.update(params, learner.average)
        return Learner(params, averaged, state), {"loss": loss, "grad_norm": optax.tree.norm(grads), **stats}

    learner, stats = jax.lax.scan(step, learner, (batches, jax.random.split(key, len(batches))))
    return learner, {**jax.tree.map(jnp.mean, stats), "param_norm": optax.tree.norm(learner.params)}


def _gradient(
    trainer: Trainer, params: Any, data: Any, batch: Int[Array, " b"], key: PRNGKeyArray
) -> tuple[tuple[Float[Array, ""], dict[str, Array]], Any]:
    """Loss with further statistics, and the gradient, of a batch; means over its parts."""
    parts = trainer.config.parts

    def of_part(batch: Int[Array, " b"], key: PRNGKeyArray) -> tuple[tuple[Array, dict[str, Array]], Any]:
        def objective(params: Any) -> tuple[Array, dict[str, Array]]:
            return trainer.objective(nnx.merge(trainer.structure, params), data, batch, key)

        return jax.value_and_grad(objective, has_aux=True)(params)

    if parts == 1:
        return of_part(batch, key)
    inputs = batch.reshape(parts, -1), jax.random.split(key, parts)
    zeros = jax.tree.map(jnp.zeros_like, jax.eval_shape(of_part, *jax.tree.map(lambda leaf: leaf[0], inputs)))
    total = jax.lax.scan(lambda total, part: (jax.tree.map(jnp.add, total, of_part(*part)), None), zeros, inputs)[0]
    return jax.tree.map(lambda leaf: leaf / parts, total)


# --- a whole run --------------------------------------------------------------------------------------------


class Epoch(NamedTuple):
    """What an epoch ended with.

    Attributes:
        done: epochs that are done, this one included.
        row: its statistics.
        seconds: wall time of the run so far.
        model: gives the model of the averaged weights.
        last: gives that of the last ones.
    """

    done: int
    row: Mapping[str, float]
    seconds: float
    model: Callable[[], Any]
    last: Callable[[], Any]


def fit(
    model: nnx.Module,
    objective: Objective,
    data: Any,
    order: Order,
    config: FitConfig,
    *,
    folder: Path,
    name: str,
    schedule: Schedule = constant,
    resume: bool = True,
    label: str | None = None,
    after_epoch: Callable[[Epoch], None] = lambda epoch: None,
    wandb_config: Mapping[str, Any] | None = None,
) -> tuple[Any, dict[str, float]]:
    """Trains a model, continuing from what `folder` holds; returns it with the statistics of its last epoch.

    The complete state is saved at the end of every epoch, and all random numbers derive from the seed and the epoch: a
    killed and resumed run ends with the same model as an uninterrupted one.

    Args:
        model: the model with its initial weights.
        objective: what is minimised.
        data: pytree that the objective reads.
        order: the examples of every update.
        config: hyper-parameters.
        folder: statistics go to stats/, the state to resume from to resume/.
        name: names both files.
        schedule: step size by update.
        resume: continue from the saved state if there is one.
        label: names the run in messages; `name` by default.
        after_epoch: called before the state is saved; writes checkpoints.
        wandb_config: configuration to log to Weights & Biases; None leaves it off.

    Raises:
        FloatingPointError: the loss or a parameter is no longer finite.
        ValueError: the saved state is of another model.
    """
    structure, params = nnx.split(model)
    trainer = Trainer(structure, objective, config, order.updates * config.num_epochs, schedule)
    if not resume:
        forget(folder, name)
    state_path = _state_path(folder, name)
    saved = runs.restore(state_path, {"learner": trainer.init(params), "epoch": 0}, resume)
    learner, first = saved["learner"], int(saved["epoch"])
    stats_path = folder / "stats" / f"{name}.csv"
    with progress.Recorder(stats_path, "epoch", first, config.num_epochs, name, wandb_config) as recorder:
        for epoch in range(first, config.num_epochs):
            learner, stats = trainer.epoch(learner, data, order.calls(epoch))
            where = f"training, epoch {epoch}, {label or name}, seed {config.seed}"
            progress.require_finite(stats, where, recorder.rows)
            done = epoch + 1
            row = {"epoch": epoch, "updates": done * order.updates, **stats}
            recorder.log(row, {"loss": f"{stats['loss']:.4f}"})
            after_epoch(
                Epoch(done, row, recorder.seconds, partial(trainer.model, learner), partial(trainer.last, learner))
            )
            # Last, so that a run killed in between writes its checkpoint again.
            weights.save_tree(state_path, {"learner": learner, "epoch": done})
        return trainer.model(learner), dict(recorder.rows[-1]) if recorder.rows else {}


def forget(folder: Path, name: str) -> None:
    """Deletes the state that `fit` would go on from."""
    _state_path(folder, name).unlink(missing_ok=True)


def _state_path(folder: Path, name: str) -> Path:
    return folder / "resume" / f"{name}.safetensors"
