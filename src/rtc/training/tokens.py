"""Training of tokenizers and token policies: AdamW, a moving average of the weights, resumable epoch by epoch."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from rtc.policies import weights
from rtc.policies.tokens import checkpoints
from rtc.policies.tokens.policy import TokenModelConfig, TokenPolicy
from rtc.policies.tokens.rfsq import Tokenizer, TokenizerConfig
from rtc.shared import provenance
from rtc.shared.validation import require_float, require_int
from rtc.training import runs, token_data
from rtc.training.demonstrations import Demonstrations
from rtc.training.token_data import Chunks

# Objective of a model: (model, chunks' first transitions, key) to the loss and further statistics.
Objective = Callable[[Any, Int[Array, " b"], PRNGKeyArray], tuple[Float[Array, ""], dict[str, Array]]]
_UPDATES_PER_CALL = 100


@dataclasses.dataclass(frozen=True)
class FitConfig:
    """One training run.

    Attributes:
        num_epochs: passes over the chunks.
        batch_size: chunks per update.
        learning_rate: AdamW's largest step size; it rises over `warmup_steps` and falls to 0 along a cosine.
        weight_decay: AdamW's weight decay.
        warmup_steps: updates until the largest step size.
        max_grad_norm: bound on the gradient's global norm.
        ema_decay: decay per update of the moving average of the weights, which is what is kept.
        seed: seed of initial weights and batches.
    """

    num_epochs: int = 6
    batch_size: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup_steps: int = 500
    max_grad_norm: float = 10.0
    ema_decay: float = 0.999
    seed: int = 0

    def __post_init__(self):
        for name in ("num_epochs", "batch_size"):
            require_int(name, getattr(self, name), low=1)
        for name in ("warmup_steps", "seed"):
            require_int(name, getattr(self, name), low=0)
        for name in ("learning_rate", "weight_decay", "max_grad_norm"):
            require_float(name, getattr(self, name), low=0.0)
        require_float("ema_decay", self.ema_decay, low=0.0, high=0.999999)


class Learner(NamedTuple):
    """Everything that changes during training."""

    params: Any
    average: optax.EmaState
    optimizer: Any


class Fit:
    """Compiled updates of one model.

    Args:
        model: the model with its initial weights.
        objective: what is minimised.
        config: hyper-parameters.
        num_updates: updates of the whole run, for the schedule.
    """

    def __init__(self, model: nnx.Module, objective: Objective, config: FitConfig, num_updates: int):
        self.config = config
        schedule = optax.warmup_cosine_decay_schedule(
            0.0, config.learning_rate, min(config.warmup_steps, num_updates // 2), num_updates
        )
        self.optimizer = optax.chain(
            optax.clip_by_global_norm(config.max_grad_norm), optax.adamw(schedule, weight_decay=config.weight_decay)
        )
        self.average, self.objective = optax.ema(config.ema_decay), objective
        self.graphdef, params = nnx.split(model)
        self.fresh = Learner(params, self.average.init(params), self.optimizer.init(params))
        self.updates = jax.jit(self._updates, donate_argnums=0)

    def model(self, learner: Learner) -> Any:
        """The model with the averaged weights."""
        total, count = learner.average.ema, learner.average.count
        return nnx.merge(self.graphdef, optax.tree.bias_correction(total, self.config.ema_decay, count))

    def _updates(self, learner: Learner, batches: Int[Array, "u b"], key: PRNGKeyArray) -> tuple[Learner, dict]:
        def step(learner: Learner, inputs: tuple[Array, PRNGKeyArray]) -> tuple[Learner, dict]:
            def objective(params: Any) -> tuple[Array, dict]:
                return self.objective(nnx.merge(self.graphdef, params), *inputs)

            (loss, stats), grads = jax.value_and_grad(objective, has_aux=True)(learner.params)
            updates, optimizer = self.optimizer.update(grads, learner.optimizer, learner.params)
            params = optax.apply_updates(learner.params, updates)
            _, average = self.average.update(params, learner.average)
            return Learner(params, average, optimizer), {"loss": loss, "grad_norm": optax.tree.norm(grads), **stats}

        learner, stats = jax.lax.scan(step, learner, (batches, jax.random.split(key, len(batches))))
        return learner, {**jax.tree.map(jnp.mean, stats), "param_norm": optax.tree.norm(learner.params)}


def fit(
    model: nnx.Module, objective: Objective, starts: Int[np.ndarray, " n"], config: FitConfig, name: str, folder: Path
) -> tuple[Any, dict[str, float]]:
    """Trains a model, continuing from what `folder` holds; returns it with the statistics of its last epoch.

    Args:
        model: the model with its initial weights.
        objective: what is minimised.
        starts: first transitions of the training chunks.
        config: hyper-parameters.
        name: names the statistics and the state.
        folder: statistics go to stats/, the state to resume from to resume/.

    Raises:
        FloatingPointError: the loss or a parameter is no longer finite.
        ValueError: too few chunks, or the saved state is of another model.
    """
    per_epoch = len(starts) // config.batch_size
    learner_of = Fit(model, objective, config, per_epoch * config.num_epochs)
    state_path = folder / "resume" / f"{name}.safetensors"
    saved = runs.restore(state_path, {"learner": learner_of.fresh, "epoch": 0}, resume=True)
    learner, first = saved["learner"], int(saved["epoch"])
    key = jax.random.key(config.seed)
    with runs.Recorder(folder / "stats" / f"{name}.csv", "epoch", first, config.num_epochs, name) as recorder:
        for epoch in range(first, config.num_epochs):
            order = token_data.batches(starts, config.batch_size, (config.seed, epoch))
            stats = []
            for call in range(0, len(order), _UPDATES_PER_CALL):
                call_key = jax.random.fold_in(jax.random.fold_in(key, epoch), call)
                learner, of_call = learner_of.updates(learner, order[call : call + _UPDATES_PER_CALL], call_key)
                stats.append(of_call)
            row = {"epoch": epoch, **{k: float(np.mean([s[k] for s in stats])) for k in stats[0]}}
            runs.require_finite(row, f"training of {name}, epoch {epoch}", recorder.rows)
            recorder.log(row, {"loss": f"{row['loss']:.4f}"})
            weights.save_tree(state_path, {"learner": learner, "epoch": epoch + 1})
        return learner_of.model(learner), dict(recorder.rows[-1])


def train_tokenizer(chunks: Chunks, sizes: TokenizerConfig, config: FitConfig, path: Path, facts: Mapping) -> Tokenizer:
    """Trains a tokenizer and writes it to `<path>.safetensors` (+ `.json`), unless it is there already."""
    if checkpoints.exists(path):
        return checkpoints.load_tokenizer(path)
    tokenizer = Tokenizer(sizes, nnx.Rngs(config.seed))

    def objective(model: Tokenizer, start: Array, key: PRNGKeyArray) -> tuple[Array, dict]:
        return model.loss(key, chunks.at(start, sizes.action_chunk_size)), {}

    origin = provenance.origin()
    tokenizer, stats = fit(tokenizer, objective, chunks.training, config, path.name, path.parents[1])
    checkpoints.save(path, tokenizer, {**facts, "training": runs.as_dict(config), **stats, **origin})
    return tokenizer


def train_policy(
    demos: Demonstrations,
    chunks: Chunks,
    tokenizer_path: Path,
    sizes: TokenModelConfig,
    config: FitConfig,
    path: Path,
    facts: Mapping,
) -> TokenPolicy:
    """Trains a token policy of one level and writes it, unless it is there already.

    Args:
        demos: the level's demonstrations.
        chunks: their chunks.
        tokenizer_path: checkpoint of the tokenizer, which gives the tokens to predict.
        sizes: size of the policy.
        config: hyper-parameters.
        path: checkpoint, without suffix.
        facts: what to note in it besides the training.

    Raises:
        ValueError: the policy that is there was trained with another tokenizer.
    """
    if checkpoints.exists(path):
        checkpoints.check_tokenizer(path, tokenizer_path)
        return checkpoints.load_policy(path)
    tokenizer = checkpoints.load_tokenizer(tokenizer_path)
    obs = jnp.asarray(demos.obs, jnp.float32)
    rngs = nnx.Rngs(config.seed)
    policy = TokenPolicy(obs_dim=obs.shape[1], tokens=tokenizer.config, config=sizes, rngs=rngs)
    encode = jax.jit(partial(_encode, tokenizer, chunks))

    def objective(model: TokenPolicy, start: Array, key: PRNGKeyArray) -> tuple[Array, dict]:
        chunk, tokens = encode(start)
        loss, accuracy = model.loss(key, obs[start], chunk, tokens)
        return loss, {f"accuracy_{layer}": accuracy[layer] for layer in range(len(accuracy))}

    origin = provenance.origin()
    policy, stats = fit(policy, objective, chunks.training, config, path.name, path.parents[1])
    inputs = {"entries": np.asarray(demos.entries).tolist(), "tokenizer_sha256": checkpoints.sha256(tokenizer_path)}
    checkpoints.save(path, policy, {**facts, **inputs, "training": runs.as_dict(config), **stats, **origin})
    return policy


def _encode(tokenizer: Tokenizer, chunks: Chunks, start: Int[Array, " b"]) -> tuple[Array, Array]:
    chunk = chunks.at(start, tokenizer.config.action_chunk_size)
    return chunk, tokenizer.encode(chunk)
