"""The expert: a small actor-critic over the observation history, with a squashed Gaussian policy."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import distrax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from rtc.policies import weights
from rtc.policies.delayed import squash
from rtc.shared.validation import require_float, require_int

RELIABLE_SOLVE_RATE = 0.65  # experts below this are not imitated


@dataclasses.dataclass(frozen=True)
class ExpertConfig:
    """Shape of an expert and of its input.

    Attributes:
        obs_entries: indices of the observation entries that the expert looks at.
        action_dim: number of actions, motors first.
        num_motors: actions in [-1, 1] (tanh); the remaining ones are thrusters in [0, 1] (sigmoid).
        history: observations in the input.
        width: units in each of the two hidden layers.
        initial_std: standard deviation of the raw actions before training.
        delay: largest age, in ticks, of the newest observation in the input (`policies.delayed.features`).
    """

    obs_entries: tuple[int, ...]
    action_dim: int = 6
    num_motors: int = 4
    history: int = 1
    width: int = 128
    initial_std: float = 1.0
    delay: int = 0

    def __post_init__(self):
        require_int("delay", self.delay, low=0)
        require_float("initial_std", self.initial_std, low=1e-3)
        for name in ("action_dim", "history", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if not 0 <= self.num_motors <= self.action_dim:
            raise ValueError(f"num_motors={self.num_motors} must lie between 0 and action_dim={self.action_dim}")
        if not self.obs_entries:
            raise ValueError("obs_entries is empty: the expert needs at least one observation entry")

    @property
    def feature_dim(self) -> int:
        delays = self.delay + 1 if self.delay else 0
        return len(self.obs_entries) * self.history + self.action_dim * max(self.delay, 1) + delays


class Expert(nnx.Module):
    """Separate actor and critic, two tanh layers each; the Gaussian's spread does not depend on the state."""

    def __init__(self, config: ExpertConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.actor = _mlp(config.feature_dim, config.width, config.action_dim, 0.01, rngs)
        self.critic = _mlp(config.feature_dim, config.width, 1, 1.0, rngs)
        self.log_std = nnx.Param(jnp.full(config.action_dim, jnp.log(config.initial_std)))

    def __call__(self, features: Float[Array, "b f"]) -> tuple[distrax.MultivariateNormalDiag, Float[Array, " b"]]:
        """Distribution of the raw (unsquashed) action, and the state's value."""
        raw_action = gaussian(self.actor(features), self.log_std[...])
        return raw_action, self.critic(features)[:, 0]

    def sample(self, key: PRNGKeyArray, features: Float[Array, "b f"]) -> Float[Array, "b a"]:
        """Actions drawn from the policy, within the action bounds."""
        raw_action = gaussian(self.actor(features), self.log_std[...]).sample(seed=key)
        return squash(raw_action, self.config.num_motors)

    def mode(self, features: Float[Array, "b f"]) -> Float[Array, "b a"]:
        """The action without exploration: the squashed mean."""
        return squash(self.actor(features), self.config.num_motors)


def _mlp(inputs: int, width: int, outputs: int, output_scale: float, rngs: nnx.Rngs) -> nnx.Sequential:
    def linear(n_in: int, n_out: int, scale: float) -> nnx.Linear:
        return nnx.Linear(n_in, n_out, kernel_init=nnx.initializers.orthogonal(scale), rngs=rngs)

    hidden_scale = 2**0.5
    return nnx.Sequential(
        linear(inputs, width, hidden_scale),
        jnp.tanh,
        linear(width, width, hidden_scale),
        jnp.tanh,
        linear(width, outputs, output_scale),
    )


def gaussian(mean: Float[Array, "... a"], log_std: Float[Array, " a"]) -> distrax.MultivariateNormalDiag:
    """Independent normal distributions over the raw action."""
    return distrax.MultivariateNormalDiag(mean, jnp.broadcast_to(jnp.exp(log_std), mean.shape))


def save_expert(path: Path, expert: Expert, metadata: dict[str, Any]) -> None:
    """Writes `<path>.safetensors` (weights) and `<path>.json` (shape and training facts), each atomically."""
    config = {"expert": dataclasses.asdict(expert.config), **metadata}
    weights.save_tree(weights.with_suffix(path, weights.WEIGHTS), nnx.state(expert, nnx.Param))
    weights.write_json(weights.with_suffix(path, weights.HEADER), config)


def load_expert(path: Path) -> tuple[Expert, dict[str, Any]]:
    """Reads what `save_expert` wrote.

    Raises:
        FileNotFoundError: if either file is missing.
        ValueError: if the weights do not fit the stored shape.
    """
    metadata = json.loads(weights.with_suffix(path, weights.HEADER).read_text())
    config = dict(metadata["expert"])
    config["obs_entries"] = tuple(config["obs_entries"])
    expert = Expert(ExpertConfig(**config), rngs=nnx.Rngs(0))
    nnx.update(expert, weights.load_tree(weights.with_suffix(path, weights.WEIGHTS), nnx.state(expert, nnx.Param)))
    return expert, metadata


def newest_experts(run_path: Path, level: str) -> list[Path]:
    """The newest checkpoint of each seed's expert, without suffix.

    Raises:
        FileNotFoundError: if the run holds no expert for the level.
    """
    newest: dict[str, Path] = {}
    for path in sorted(run_path.glob(f"[0-9]*/policies/{level}_seed_*.json"), key=lambda p: int(p.parts[-3])):
        newest[path.stem] = path.with_suffix("")
    if not newest:
        raise FileNotFoundError(f"no expert for {level} in {run_path}; train one with src/train_expert.py first")
    return sorted(newest.values(), key=lambda path: int(path.name.rpartition("_")[2]))
