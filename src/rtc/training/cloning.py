"""Behaviour cloning of flow policies: chunks of demonstrated actions, flow matching, AdamW.

The data stay on one device; a compiled call gathers the batches of many updates and takes the gradient steps. On a
CPU its matrix products use all cores.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rtc.policies import checkpoints, weights
from rtc.policies.flow import FlowPolicy
from rtc.policies.mixer import ModelConfig
from rtc.shared import provenance
from rtc.shared.validation import require_float, require_int
from rtc.training import runs
from rtc.training.demonstrations import Demonstrations

SMALL_MODEL = ModelConfig(
    channel_dim=64, channel_hidden_dim=128, token_hidden_dim=32, num_layers=2, action_chunk_size=4
)
_UPDATES_PER_CALL = 100


@dataclasses.dataclass(frozen=True)
class CloningConfig:
    """One training run. The defaults fit a CPU; `PUBLISHED` holds the published sizes.

    Attributes:
        run_path: the experts' run, whose demonstrations are learned.
        load_dir: flow-policy run to start from (for fine-tuning, for instance with `model.simulated_delay`).
        num_epochs: passes over the demonstrations.
        batch_size: chunks per update.
        learning_rate: AdamW's step size after the warm-up.
        weight_decay: AdamW's weight decay.
        warmup_steps: updates over which the step size rises from 0.
        max_grad_norm: bound on the gradient's global norm.
        ema_decay: decay per update of the moving average of the weights, which is the policy that is kept; 0 keeps
            the last weights.
        seed: seed of initial weights, batches and flow noise.
        save_every: epochs between two policy checkpoints (the last epoch is always kept).
        also_save: further epochs whose checkpoints are kept, for instance an early, weak policy for BID.
        wandb: log to Weights & Biases too; needs WANDB_MODE=online or offline, as it is disabled by default.
        model: size of the policy.
    """

    run_path: Path = Path("logs-expert/default")
    load_dir: Path | None = None
    num_epochs: int = 16
    batch_size: int = 512
    learning_rate: float = 3e-4
    weight_decay: float = 1e-2
    warmup_steps: int = 1000
    max_grad_norm: float = 10.0
    ema_decay: float = 0.999
    seed: int = 0
    save_every: int = 8
    also_save: tuple[int, ...] = ()
    wandb: bool = False
    model: ModelConfig = SMALL_MODEL

    def __post_init__(self):
        for name in ("seed", "warmup_steps"):
            require_int(name, getattr(self, name), low=0)
        for name in ("num_epochs", "batch_size", "save_every"):
            require_int(name, getattr(self, name), low=1)
        for epoch in self.also_save:
            require_int("also_save", epoch, low=1)
        for name in ("learning_rate", "weight_decay", "max_grad_norm"):
            require_float(name, getattr(self, name), low=0.0)
        require_float("ema_decay", self.ema_decay, low=0.0, high=0.999999)


PUBLISHED = CloningConfig(run_path=Path("logs-expert/published"), num_epochs=32, ema_decay=0.0, model=ModelConfig())
# Fields that may change between a run and its continuation.
FREE_FIELDS = ("num_epochs", "save_every", "also_save", "wandb")


class Dataset(NamedTuple):
    """Demonstrations on the device; `last[i]` is the index of the last transition of i's episode."""

    obs: Float[Array, "n k"]
    action: Float[Array, "n a"]
    last: Int[Array, " n"]
    template: Float[Array, " o"]
    entries: Int[Array, " k"]


class Learner(NamedTuple):
    """Everything that changes during training; `average` belongs to the moving average of `params`."""

    params: Any
    average: optax.EmaState
    optimizer: Any


def make_dataset(data: Demonstrations) -> Dataset:
    """Arrays for `chunks`; the data must hold whole episodes."""
    return Dataset(
        obs=jnp.asarray(data.obs, jnp.float32),
        action=jnp.asarray(data.action, jnp.float32),
        last=jnp.asarray(episode_ends(data.done), jnp.int32),
        template=jnp.asarray(data.template, jnp.float32),
        entries=jnp.asarray(data.entries, jnp.int32),
    )


def episode_ends(done: Bool[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """For every transition, the index of its episode's last one.

    Raises:
        ValueError: if the data are empty or end within an episode.
    """
    if len(done) == 0 or not done[-1]:
        raise ValueError(f"the demonstrations ({len(done)} transitions) must end with the end of an episode")
    ends = np.flatnonzero(done)
    return ends[np.searchsorted(ends, np.arange(len(done)))]


def chunks(
    data: Dataset, start: Int[Array, " b"], chunk_size: int
) -> tuple[Float[Array, "b o"], Float[Array, "b h a"]]:
    """Full observations at `start` and the `chunk_size` actions from there; zeros after the episode's end."""
    index = start[:, None] + jnp.arange(chunk_size)
    last = data.last[start][:, None]
    action = jnp.where((index <= last)[..., None], data.action[jnp.minimum(index, last)], 0.0)
    obs = jnp.broadcast_to(data.template, (len(start), len(data.template)))
    return obs.at[:, data.entries].set(data.obs[start]), action


class Trainer:
    """Compiled training steps for one model.

    Args:
        config: hyper-parameters.
        obs_dim: size of the full observation.
        action_dim: size of an action.
    """

    def __init__(self, config: CloningConfig, obs_dim: int, action_dim: int):
        self.config, self.obs_dim, self.action_dim = config, obs_dim, action_dim
        schedule = optax.linear_schedule(0.0, config.learning_rate, config.warmup_steps)
        self.optimizer = optax.chain(
            optax.clip_by_global_norm(config.max_grad_norm),
            optax.adamw(schedule, weight_decay=config.weight_decay),
        )
        self.average = optax.ema(config.ema_decay)
        self.graphdef, _ = nnx.split(self._policy(jax.random.key(0)))
        self._compiled_updates = jax.jit(self._updates, donate_argnums=0)

    def init(self, key: PRNGKeyArray, policy: FlowPolicy | None = None) -> Learner:
        """A fresh optimiser and `policy`'s weights, or new ones."""
        _, params = nnx.split(self._policy(key) if policy is None else policy)
        return Learner(params, self.average.init(params), self.optimizer.init(params))

    def updates_per_epoch(self, data: Dataset) -> int:
        """Gradient steps of an epoch: all full batches, less a few that would not fill a compiled call.

        Raises:
            ValueError: if the data are fewer than one batch.
        """
        batches = len(data.last) // self.config.batch_size
        if batches == 0:
            size = self.config.batch_size
            raise ValueError(f"batch_size={size} exceeds the {len(data.last)} transitions; record more or lower it")
        calls = -(-batches // _UPDATES_PER_CALL)
        return batches // calls * calls

    def epoch(self, data: Dataset, learner: Learner, key: PRNGKeyArray) -> tuple[Learner, dict[str, float]]:
        """One pass over the shuffled data, with its mean statistics. `learner` is consumed."""
        updates = self.updates_per_epoch(data)
        calls = -(-updates // _UPDATES_PER_CALL)
        order_key, noise_key = jax.random.split(key)
        order = jax.random.permutation(order_key, len(data.last))[: updates * self.config.batch_size]
        stats = []
        for call, batches in enumerate(order.reshape(calls, updates // calls, self.config.batch_size)):
            learner, of_call = self._compiled_updates(learner, data, batches, jax.random.fold_in(noise_key, call))
            stats.append(of_call)
        return learner, {name: float(np.mean([of_call[name] for of_call in stats])) for name in stats[0]}

    def policy(self, learner: Learner) -> FlowPolicy:
        """The policy that a learner holds: that of its averaged weights."""
        total, count = learner.average.ema, learner.average.count
        return nnx.merge(self.graphdef, optax.tree.bias_correction(total, self.config.ema_decay, count))

    def _policy(self, key: PRNGKeyArray) -> FlowPolicy:
        return FlowPolicy(
            obs_dim=self.obs_dim, action_dim=self.action_dim, config=self.config.model, rngs=nnx.Rngs(key)
        )

    def _updates(
        self, learner: Learner, data: Dataset, batches: Int[Array, "u b"], key: PRNGKeyArray
    ) -> tuple[Learner, dict[str, Float[Array, ""]]]:
        def step(learner: Learner, inputs: tuple[Array, PRNGKeyArray]):
            batch, key = inputs
            obs, action = chunks(data, batch, self.config.model.action_chunk_size)

            def objective(params):
                return nnx.merge(self.graphdef, params).loss(key, obs, action)

            loss, grads = jax.value_and_grad(objective)(learner.params)
            updates, optimizer = self.optimizer.update(grads, learner.optimizer, learner.params)
            stats = {"loss": loss, "grad_norm": optax.tree.norm(grads)}
            params = optax.apply_updates(learner.params, updates)
            _, average = self.average.update(params, learner.average)
            return Learner(params, average, optimizer), stats

        learner, stats = jax.lax.scan(step, learner, (batches, jax.random.split(key, len(batches))))
        return learner, {**jax.tree.map(jnp.mean, stats), "param_norm": optax.tree.norm(learner.params)}


def train(
    data: Demonstrations,
    config: CloningConfig,
    *,
    level: str,
    output_path: Path,
    facts: Mapping[str, Any],
    resume: bool,
) -> Path:
    """Trains one policy and writes `<output_path>/<epoch>/policies/<level>.safetensors` (+ `.json`).

    The complete state is saved at the end of every epoch, and all random numbers derive from (seed, epoch): a
    killed and resumed run ends with the same policy as an uninterrupted one.

    Args:
        data: demonstrations of whole episodes.
        config: hyper-parameters.
        level: slug of the level, for file names.
        output_path: folder of the run.
        facts: what to note in each checkpoint besides the training itself.
        resume: continue from the saved state if there is one.

    Returns:
        The last checkpoint, without suffix.

    Raises:
        FloatingPointError: if the loss or a parameter is no longer finite.
        ValueError: if the data are too few, or the saved state does not fit the configuration.
    """
    state_path = output_path / "resume" / f"{level}.safetensors"
    if not resume:
        runs.discard(output_path, level)
    init_key, epoch_key = jax.random.split(jax.random.key(config.seed))
    trainer = Trainer(config, len(data.template), data.action.shape[1])
    fresh = trainer.init(init_key, _starting_policy(config, level, data))
    saved = runs.restore(state_path, {"learner": fresh, "epoch": 0}, resume)
    learner, first = saved["learner"], int(saved["epoch"])

    dataset = make_dataset(data)
    updates = trainer.updates_per_epoch(dataset)
    wandb_config, origin = runs.as_dict(config) if config.wandb else None, provenance.origin()
    stats_path = output_path / "stats" / f"{level}.csv"
    with runs.Recorder(stats_path, "epoch", first, config.num_epochs, level, wandb_config) as recorder:
        for epoch in range(first, config.num_epochs):
            learner, stats = trainer.epoch(dataset, learner, jax.random.fold_in(epoch_key, epoch))
            where = f"flow training, epoch {epoch}, level {level}, seed {config.seed}"
            runs.require_finite(stats, where, recorder.rows)
            done = epoch + 1
            row = {"epoch": epoch, "updates": done * updates, **stats}
            recorder.log(row, {"loss": f"{stats['loss']:.4f}"})
            if done == config.num_epochs or done % config.save_every == 0 or done in config.also_save:
                progress = {**row, "epoch": done, "seconds": recorder.seconds, **origin}
                metadata = {**facts, "training": runs.as_dict(config), **progress}
                checkpoints.save_policy(policy_path(output_path, done, level), trainer.policy(learner), metadata)
            # Last, so that a run killed in between writes its checkpoint again.
            weights.save_tree(state_path, {"learner": learner, "epoch": done})
    return policy_path(output_path, config.num_epochs, level)


def policy_path(output_path: Path, epoch: int, level: str) -> Path:
    """Where `train` puts a checkpoint (without suffix)."""
    return output_path / str(epoch) / "policies" / level


def _starting_policy(config: CloningConfig, level: str, data: Demonstrations) -> FlowPolicy | None:
    if config.load_dir is None:
        return None
    epoch = checkpoints.list_epochs(config.load_dir)[-1]
    path = policy_path(config.load_dir, epoch, level)
    sizes = {"obs_dim": len(data.template), "action_dim": data.action.shape[1]}
    return checkpoints.load_policy(path, config.model, **sizes)[0]


def data_facts(path: Path, data: Demonstrations) -> dict[str, Any]:
    """Where a policy's training data came from, for its checkpoint."""
    recorded = ("experts", "masked_experts", "transitions", "episodes", "solve_rate")
    names = (*recorded, "seed", "sample_actions", "record_mode", "action_noise_std")
    facts = {f"data_{name}": data.facts[name] for name in names}
    return {"data_path": str(path), "data_sha256": hashlib.sha256(path.read_bytes()).hexdigest(), **facts}
