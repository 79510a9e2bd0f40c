"""Policies that act at every tick on an observation from some control ticks ago and the commands given since."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from rtc.policies.networks import Network, as_variable, mlp
from rtc.shared.validation import require_int


def features(
    observations: Float[Array, "b n o"],
    commands: Float[Array, "b m a"],
    delay: Int[Array, " b"],
    reach: int,
) -> Float[Array, "b f"]:
    """What there is to act on in the delayed decision process, as one vector.

    With the observation of d ticks ago, the commands of the ticks since make the state. An observation without delay
    comes with the last command.

    Args:
        observations: of the last n ticks, oldest first; at most n - reach of them are in the features, the newest of
            these being `delay` ticks old.
        commands: of the last max(reach, 1) ticks, oldest first.
        delay: age of the newest observation that may be seen, 0 to `reach` ticks.
        reach: largest delay.
    """
    batch, shown = len(delay), observations.shape[1] - reach
    if not reach:
        return jnp.concatenate([observations.reshape(batch, -1), commands[:, -1]], axis=1)
    rows = reach - delay[:, None] + jnp.arange(shown)
    seen = jnp.take_along_axis(observations, rows[..., None], axis=1).reshape(batch, -1)
    age = jnp.arange(commands.shape[1], 0, -1)
    since = commands * (age <= jnp.maximum(delay, 1)[:, None])[..., None]
    return jnp.concatenate([seen, since.reshape(batch, -1), jax.nn.one_hot(delay, reach + 1)], axis=1)


@dataclasses.dataclass(frozen=True)
class DelayedConfig:
    """Shape of a policy for the delayed decision process.

    Attributes:
        reach: largest delay, in ticks.
        width: units in each of the two hidden layers.
        num_motors: actions in [-1, 1] (tanh); the remaining ones are thrusters in [0, 1] (sigmoid).
        history: observations that it sees.
    """

    reach: int
    width: int = 128
    num_motors: int = 4
    history: int = 1

    def __post_init__(self):
        for name in ("reach", "width", "history"):
            require_int(name, getattr(self, name), low=1)
        require_int("num_motors", self.num_motors, low=0)

    def inputs(self, entries: int, action_dim: int) -> int:
        """Size of the features."""
        return entries * self.history + action_dim * self.reach + self.reach + 1


class DelayedActor(Network):
    """The most probable action of an expert that was trained with delays, from `features`.

    Args:
        entries: observation entries that it reads.
        action_dim: numbers per action.
        config: its shape.
        rngs: source of the initial weights.
    """

    kind = "delay_expert"

    def __init__(
        self,
        *,
        entries: Sequence[int] | Int[np.ndarray, " v"],
        action_dim: int,
        config: DelayedConfig,
        rngs: nnx.Rngs,
    ):
        self.config, self.action_dim = config, action_dim
        self.entries = as_variable(entries, jnp.int32)
        self.net = mlp((config.inputs(len(entries), action_dim), config.width, config.width, action_dim), rngs)

    def __call__(
        self, observations: Float[Array, "b n o"], commands: Float[Array, "b m a"], delay: Int[Array, " b"]
    ) -> Float[Array, "b a"]:
        """The action of this tick; arguments as of `features`."""
        *hidden, last = list(self.net)
        x = features(observations, commands, delay, self.config.reach)
        for layer in hidden:
            x = jnp.tanh(layer(x))
        return squash(last(x), self.config.num_motors)

    def sizes(self) -> dict[str, Any]:
        return {"action_dim": self.action_dim, "config": dataclasses.asdict(self.config)}

    @classmethod
    def of_sizes(cls, sizes: Mapping[str, Any], entries: Sequence[int] | Int[np.ndarray, " v"]) -> Self:
        config = DelayedConfig(**sizes["config"])
        return cls(entries=entries, action_dim=sizes["action_dim"], config=config, rngs=nnx.Rngs(0))


def squash(raw_action: Float[Array, "... a"], num_motors: int) -> Float[Array, "... a"]:
    """Raw action to action bounds: tanh for the motors, sigmoid for the thrusters behind them."""
    motors, thrusters = raw_action[..., :num_motors], raw_action[..., num_motors:]
    return jnp.concatenate([jnp.tanh(motors), jax.nn.sigmoid(thrusters)], axis=-1)
