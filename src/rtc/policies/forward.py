"""Learned forward models: the observation some control ticks ahead, from the actions in between."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from rtc.policies.networks import Network, as_variable, mlp


@dataclasses.dataclass(frozen=True)
class ForwardConfig:
    """Size of a forward model.

    Attributes:
        width: of the hidden layers.
        layers: residual layers.
    """

    width: int = 256
    layers: int = 2


class Residual(nnx.Module):
    """A residual MLP with SiLUs from observation and action to changes; it starts as "nothing changes"."""

    def __init__(self, obs_dim: int, action_dim: int, config: ForwardConfig, rngs: nnx.Rngs):
        self.inputs = nnx.Linear(obs_dim + action_dim, config.width, rngs=rngs)
        self.hidden = mlp([config.width] * (config.layers + 1), rngs)
        self.outputs = nnx.Linear(config.width, obs_dim, kernel_init=nnx.initializers.zeros_init(), rngs=rngs)

    def __call__(self, x: Float[Array, "b o"], action: Float[Array, "b a"]) -> Float[Array, "b o"]:
        y = jax.nn.silu(self.inputs(jnp.concatenate([x, jnp.clip(action, -1, 1)], axis=1)))
        for layer in self.hidden:
            y = y + jax.nn.silu(layer(y))
        return self.outputs(y)


class ForwardModel(Network):
    """Predicts by how much every entry changes in one control tick, in units of that change's standard deviation.

    Args:
        entries: observation entries that it reads and predicts.
        action_dim: numbers per action.
        config: its size.
        rngs: source of the initial weights.

    Attributes:
        robot: which of the entries are those of the robot's own bodies.
        mean, std: of the entries, whose standardised values the network reads.
        change: standard deviation of the entries' changes in a tick.
    """

    kind = "forward"

    def __init__(
        self,
        *,
        entries: Sequence[int] | Int[np.ndarray, " v"],
        action_dim: int,
        config: ForwardConfig,
        rngs: nnx.Rngs,
    ):
        self.config, self.action_dim, size = config, action_dim, len(entries)
        self.entries = as_variable(entries, jnp.int32)
        self.robot = as_variable(np.zeros(size), bool)
        self.mean, self.std, self.change = (as_variable(fill(size)) for fill in (np.zeros, np.ones, np.ones))
        self.net = Residual(size, action_dim, config, rngs)

    def step(self, x: Float[Array, "b o"], action: Float[Array, "b a"]) -> Float[Array, "b o"]:
        """The standardised observation of the next tick; actions are clipped to [-1, 1]."""
        return x + self.net(x, action) * (self.change[...] / self.std[...])

    def ahead(
        self, obs: Float[Array, "b o"], actions: Float[Array, "b h a"], ticks: Int[Array, " b"]
    ) -> Float[Array, "b o"]:
        """The observations after `ticks` of the actions, at most all of them."""

        def step(carry: tuple[Array, Array]) -> tuple[Array, Array]:
            i, x = carry
            return i + 1, jnp.where((i < ticks)[:, None], self.step(x, actions[:, i]), x)

        start = jnp.zeros((), jnp.int32), (obs - self.mean[...]) / self.std[...]
        x = jax.lax.while_loop(lambda carry: carry[0] < ticks.max(), step, start)[1]
        predicted = x * self.std[...] + self.mean[...]
        return jnp.where((ticks > 0)[:, None], predicted, obs)

    def sizes(self) -> dict[str, Any]:
        return {"action_dim": self.action_dim, "config": dataclasses.asdict(self.config)}

    @classmethod
    def of_sizes(cls, sizes: Mapping[str, Any], entries: Sequence[int] | Int[np.ndarray, " v"]) -> Self:
        config = ForwardConfig(**sizes["config"])
        return cls(entries=entries, action_dim=sizes["action_dim"], config=config, rngs=nnx.Rngs(0))
