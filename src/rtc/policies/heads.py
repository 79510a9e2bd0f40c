"""Correction heads: small networks that change an action just before it is executed."""

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
class HeadConfig:
    """Size of a correction head.

    Attributes:
        widths: of the hidden layers.
        reads_base: the planned action is among the inputs; without it the head is a policy of its own.
    """

    widths: tuple[int, ...] = (256, 512)
    reads_base: bool = True


class Mlp(nnx.Module):
    """Linear layers with ReLUs in between."""

    def __init__(self, widths: Sequence[int], rngs: nnx.Rngs):
        self.layers = mlp(widths, rngs)

    def __call__(self, x: Float[Array, "b i"]) -> Float[Array, "b k"]:
        for layer in list(self.layers)[:-1]:
            x = jax.nn.relu(layer(x))
        return self.layers[-1](x)


def features(
    obs: Float[Array, "b o"], action: Float[Array, "b a"], phase: Float[Array, " b"], config: HeadConfig
) -> Float[Array, "b i"]:
    """What a head reads, see `CorrectionHead`."""
    angle = 2 * jnp.pi * phase[:, None]
    base = (action,) if config.reads_base else ()
    return jnp.concatenate([obs, *base, jnp.cos(angle), jnp.sin(angle)], axis=1)


class CorrectionHead(Network):
    """The correction of A2C2 (arXiv 2509.23224), from the newest observation, the planned action and its place.

    An MLP with ReLUs whose output is added to the planned action.

    Args:
        entries: observation entries that it reads.
        action_dim: numbers per action.
        config: its size.
        rngs: source of the initial weights.
    """

    kind = "correction"

    def __init__(
        self,
        *,
        entries: Sequence[int] | Int[np.ndarray, " v"],
        action_dim: int,
        config: HeadConfig,
        rngs: nnx.Rngs,
    ):
        self.config, self.action_dim = config, action_dim
        self.entries = as_variable(entries, jnp.int32)
        inputs = len(entries) + (action_dim if config.reads_base else 0) + 2
        self.net = Mlp((inputs, *config.widths, action_dim), rngs)

    def __call__(
        self, obs: Float[Array, "b o"], action: Float[Array, "b a"], phase: Float[Array, " b"]
    ) -> Float[Array, "b a"]:
        """The correction.

        Args:
            obs: the newest observation.
            action: the planned action.
            phase: its index in its chunk over the chunk's size.
        """
        return self.net(features(obs, action, phase, self.config))

    def sizes(self) -> dict[str, Any]:
        return {"action_dim": self.action_dim, "config": dataclasses.asdict(self.config)}

    @classmethod
    def of_sizes(cls, sizes: Mapping[str, Any], entries: Sequence[int] | Int[np.ndarray, " v"]) -> Self:
        config = sizes["config"]
        config = HeadConfig(**{**config, "widths": tuple(config["widths"])})
        return cls(entries=entries, action_dim=sizes["action_dim"], config=config, rngs=nnx.Rngs(0))


class HeadOnly(CorrectionHead):
    """A head whose output is the action itself: it was trained without the planned one (`HeadConfig.reads_base`)."""

    kind = "head_only"
