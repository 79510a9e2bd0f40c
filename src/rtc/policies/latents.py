"""Latent predictors: what a policy will make of the observation some control ticks ahead."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from rtc.policies.networks import Network, as_variable
from rtc.shared.validation import require_int


@dataclasses.dataclass(frozen=True)
class LatentConfig:
    """Size of a latent predictor.

    Attributes:
        width: of its tokens.
        heads: of its attention.
        blocks: attention blocks, and residual blocks after them.

    Raises:
        ValueError: the heads do not divide the width.
    """

    width: int = 128
    heads: int = 4
    blocks: int = 2

    def __post_init__(self):
        for name in ("width", "heads", "blocks"):
            require_int(name, getattr(self, name), low=1)
        if self.width % self.heads:
            raise ValueError(f"heads={self.heads} must divide width={self.width}")


class AttentionBlock(nnx.Module):
    """Self-attention over the committed actions, and an MLP, both residual."""

    def __init__(self, config: LatentConfig, rngs: nnx.Rngs):
        width = config.width
        self.norms = nnx.List([nnx.LayerNorm(width, rngs=rngs) for _ in range(2)])
        self.attention = nnx.MultiHeadAttention(config.heads, width, decode=False, rngs=rngs)
        self.mlp = nnx.Sequential(
            nnx.Linear(width, 2 * width, rngs=rngs), jax.nn.silu, nnx.Linear(2 * width, width, rngs=rngs)
        )

    def __call__(self, x: Float[Array, "b h w"], mask: Bool[Array, "b 1 1 h"]) -> Float[Array, "b h w"]:
        x = x + self.attention(self.norms[0](x), mask=mask)
        return x + self.mlp(self.norms[1](x))


class LatentNet(nnx.Module):
    """The trained part of a `LatentModel`: the change of a standardised latent; nothing at first."""

    def __init__(self, channels: int, action_dim: int, chunk_size: int, config: LatentConfig, rngs: nnx.Rngs):
        width = config.width
        self.actions = nnx.Linear(4 * action_dim + 2, width, rngs=rngs)
        self.attention = nnx.List([AttentionBlock(config, rngs) for _ in range(config.blocks)])
        self.delay = nnx.Embed(chunk_size + 1, width, rngs=rngs)
        self.latent = nnx.Linear(channels, width, rngs=rngs)
        self.merge = nnx.Linear(4 * width, width, rngs=rngs)
        self.residual = nnx.List([nnx.Linear(width, width, rngs=rngs) for _ in range(config.blocks)])
        zeros = nnx.initializers.zeros_init()
        self.gain = nnx.Linear(width, channels, kernel_init=zeros, rngs=rngs)
        self.change = nnx.Linear(width, channels, kernel_init=zeros, rngs=rngs)

    def __call__(
        self, z: Float[Array, "b c"], actions: Float[Array, "b h a"], ticks: Int[Array, " b"]
    ) -> Float[Array, "b c"]:
        entry, length = jnp.arange(actions.shape[1]), jnp.maximum(ticks, 1)[:, None]
        committed = entry < ticks[:, None]
        x = jax.nn.silu(self.actions(_features(actions, committed, (entry + 1) / length)))
        for block in self.attention:
            x = block(x, committed[:, None, None])
        weights = committed[..., None] / length[..., None]
        newest = jnp.take_along_axis(x, (length - 1)[..., None], axis=1)[:, 0]
        y = jnp.concatenate([jnp.sum(x * weights, axis=1), newest, self.delay(ticks), self.latent(z)], axis=1)
        y = self.merge(jax.nn.silu(y))
        for layer in self.residual:
            y = y + layer(jax.nn.silu(y))
        y = jax.nn.silu(y)
        return self.gain(y) * z + self.change(y)


def _features(
    actions: Float[Array, "b h a"], committed: Bool[Array, "b h"], progress: Float[Array, "b h"]
) -> Float[Array, "b h f"]:
    """Of every committed action: itself, the sum so far, its change, the sum of sizes so far, its place."""
    mask = committed[..., None]
    actions = jnp.clip(actions, -1, 1) * mask
    change = jnp.diff(actions, axis=1, prepend=actions[:, :1])
    parts = [actions, jnp.cumsum(actions, axis=1), change, jnp.cumsum(jnp.abs(actions), axis=1), progress[..., None]]
    return jnp.concatenate([*parts, mask], axis=-1) * mask


class LatentModel(Network):
    """Predicts a policy's linear observation term, after FutureRTC (arXiv 2607.24008).

    From the term of the observation now, the committed actions and their number: tokens of the actions with
    self-attention, their mean and the last of them, an embedding of the number, and residual layers. It starts as
    "nothing changes". The published one has 3.7 million parameters, and the simulator gives it the robot's own entries.

    Args:
        entries: observation entries that the policy reads.
        channels: size of the latent.
        action_dim: numbers per action.
        chunk_size: H, the most actions that can be committed.
        config: its size.
        rngs: source of the initial weights.

    Attributes:
        mean, std: of the latent, whose standardised values the network reads.
    """

    kind = "latent"

    def __init__(
        self,
        *,
        entries: Sequence[int] | Int[np.ndarray, " v"],
        channels: int,
        action_dim: int,
        chunk_size: int,
        config: LatentConfig,
        rngs: nnx.Rngs,
    ):
        self.config, self.channels, self.action_dim, self.chunk_size = config, channels, action_dim, chunk_size
        self.entries = as_variable(entries, jnp.int32)
        self.mean, self.std = as_variable(np.zeros(channels)), as_variable(np.ones(channels))
        self.net = LatentNet(channels, action_dim, chunk_size, config, rngs)

    def ahead(
        self, latent: Float[Array, "b c"], actions: Float[Array, "b h a"], ticks: Int[Array, " b"]
    ) -> Float[Array, "b c"]:
        """The latent after `ticks` of the actions, at most all of them."""
        z = (latent - self.mean[...]) / self.std[...]
        predicted = (z + self.net(z, actions, ticks)) * self.std[...] + self.mean[...]
        return jnp.where((ticks > 0)[:, None], predicted, latent)

    def sizes(self) -> dict[str, Any]:
        names = ("channels", "action_dim", "chunk_size")
        return {**{name: getattr(self, name) for name in names}, "config": dataclasses.asdict(self.config)}

    @classmethod
    def of_sizes(cls, sizes: Mapping[str, Any], entries: Sequence[int] | Int[np.ndarray, " v"]) -> Self:
        sizes = {**sizes, "config": LatentConfig(**sizes["config"])}
        return cls(entries=entries, **sizes, rngs=nnx.Rngs(0))
