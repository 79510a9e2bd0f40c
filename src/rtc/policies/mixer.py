"""Sizes and layers of the flow policy: MLP-mixer blocks (arXiv 2105.01601) modulated by the flow time."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from rtc.shared.validation import require_int

# Control ticks: a Python int, a traced scalar or one traced value per environment.
Ticks = int | Int[Array, "*#b"]  # one, or one per environment

# Periods of the flow-time embedding, in units of flow time.
_MIN_PERIOD, _MAX_PERIOD = 4e-3, 4.0
_FEW = 8  # tokens that are mixed one by one
_GELU_SLOPE, _GELU_CUBIC = 2 * (2 / np.pi) ** 0.5, 0.044715


# How a policy is trained; these do not change its weights' shapes.
TRAINING_FIELDS = ("simulated_delay", "robot_ahead")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Size of a FlowPolicy.

    Attributes:
        channel_dim: width of a token; even.
        channel_hidden_dim: hidden width of the channel-mixing MLPs.
        token_hidden_dim: hidden width of the token-mixing MLPs.
        num_layers: number of mixer blocks.
        action_chunk_size: H, the control ticks that one chunk covers.
        simulated_delay: train with a ground-truth prefix of 0 … simulated_delay - 1 ticks (training-time
            RTC), at most H; None trains without.
        robot_ahead: train with the robot's own entries of the observation up to so many ticks ahead of the rest
            (VLASH); None trains on observations as they are.

    Raises:
        ValueError: a field is out of range.
    """

    channel_dim: int = 256
    channel_hidden_dim: int = 512
    token_hidden_dim: int = 64
    num_layers: int = 4
    action_chunk_size: int = 8
    simulated_delay: int | None = None
    robot_ahead: int | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.name not in TRAINING_FIELDS:
                require_int(f"ModelConfig.{field.name}", getattr(self, field.name), low=1)
        if self.channel_dim % 2:
            raise ValueError(
                f"ModelConfig.channel_dim={self.channel_dim} must be even, for as many sines as cosines of "
                f"the flow time; use {self.channel_dim + 1}"
            )
        if self.simulated_delay is not None:
            # A longer prefix would leave no action of the chunk to learn.
            limit = self.action_chunk_size
            require_int("ModelConfig.simulated_delay", self.simulated_delay, low=1, high=limit)
        if self.robot_ahead is not None:
            require_int("ModelConfig.robot_ahead", self.robot_ahead, low=1)


class Modulation(NamedTuple):
    """Adaptive layer-norm parameters of the whole network at given flow times, each [b or 1, h or 1, k·c]."""

    blocks: tuple[tuple[Array, Array], ...]
    final: Array


def zero_linear(in_features: int, out_features: int, rngs: nnx.Rngs) -> nnx.Linear:
    """A layer that is zero at first (adaLN-Zero), so that every block starts as the identity."""
    return nnx.Linear(in_features, out_features, kernel_init=nnx.initializers.zeros_init(), rngs=rngs)


@jax.custom_vjp
def _mean(x: Float[Array, "*n c"]) -> Float[Array, "*n 1"]:
    """Mean over the last axis. Halves are added as whole vectors, where a CPU would add number by number."""
    total = x
    while total.shape[-1] > 16 and total.shape[-1] % 2 == 0:
        half = total.shape[-1] // 2
        total = total[..., :half] + total[..., half:]
    return jnp.sum(total, axis=-1, keepdims=True) / x.shape[-1]


def _mean_backward(like: Float[Array, " c"], change: Float[Array, "*n 1"]) -> tuple[Float[Array, "*n c"]]:
    return (jnp.broadcast_to(change / len(like), (*change.shape[:-1], len(like))),)


_mean.defvjp(lambda x: (_mean(x), jnp.zeros(x.shape[-1])), _mean_backward)


def modulated_norm(x: Float[Array, "*n c"], scale: Array, shift: Array) -> Float[Array, "*n c"]:
    """Layer norm whose scale and shift come from outside."""
    mean = _mean(x)
    variance = _mean(x * x) - mean * mean
    return (x - mean) * (jax.lax.rsqrt(variance + 1e-6) * (1 + scale)) + shift


@jax.custom_vjp
def gelu(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """GELU in its approximation by tanh (arXiv 1606.08415), written with a logistic function, which is faster."""
    return x * jax.nn.sigmoid(_GELU_SLOPE * (x + _GELU_CUBIC * x**3))


def _gelu_backward(x: Float[Array, "*n"], change: Float[Array, "*n"]) -> tuple[Float[Array, "*n"]]:
    # Computed again from x: less to keep than its parts.
    gate = jax.nn.sigmoid(_GELU_SLOPE * (x + _GELU_CUBIC * x**3))
    return (change * gate * (1 + x * (1 - gate) * _GELU_SLOPE * (1 + 3 * _GELU_CUBIC * x**2)),)


gelu.defvjp(lambda x: (gelu(x), x), _gelu_backward)


def _by_token(x: Float[Array, "b n c"], kernel: Float[Array, "n m"]) -> Float[Array, "b m c"]:
    """Mixes few tokens one by one: they would make a slow matrix product, and what follows is computed on the way."""
    if x.shape[1] > _FEW:
        return _by_sample(x, kernel)
    return sum(x[:, token, None] * kernel[token][:, None] for token in range(x.shape[1]))


def _by_sample(x: Float[Array, "b n c"], kernel: Float[Array, "n m"]) -> Float[Array, "b m c"]:
    """Mixes the tokens of one sample after the other, which needs no transposed copies."""
    return jnp.broadcast_to(kernel.T, (len(x), *kernel.T.shape)) @ x


def _mixing(mix: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    def derivative(saved: tuple[Array, Array], change: Array) -> tuple[Array, Array]:
        # The barriers keep what is large from being computed again, or transposed, for all that is small.
        (x, kernel), change = jax.lax.optimization_barrier((saved, change))
        of_kernel = jnp.einsum("bnc,bmc->bnm", x, change).sum(axis=0)
        return jax.lax.optimization_barrier(_by_sample(change, kernel.T)), of_kernel

    mixing = jax.custom_vjp(mix)
    mixing.defvjp(lambda x, kernel: (mix(x, kernel), (x, kernel)), derivative)
    return mixing


_mix_in, _mix_out = _mixing(_by_token), _mixing(_by_sample)


@jax.custom_vjp
def _dense(x: Float[Array, "b h n"], kernel: Float[Array, "n m"]) -> Float[Array, "b h m"]:
    """A layer without bias."""
    return x @ kernel


def _dense_backward(
    saved: tuple[Array, Array], change: Float[Array, "b h m"]
) -> tuple[Float[Array, "b h n"], Float[Array, "n m"]]:
    x, kernel = saved
    # As it lies in memory: without the barrier it is computed once more, number by number, in the other order.
    flat = jax.lax.optimization_barrier(x).reshape(-1, x.shape[-1])
    return change @ kernel.T, flat.T @ change.reshape(-1, change.shape[-1])


_dense.defvjp(lambda x, kernel: (_dense(x, kernel), (x, kernel)), _dense_backward)


def embed_time(time: Float[Array, "*n"], dim: int) -> Float[Array, "*n dim"]:
    """Sines and cosines of the flow time, with geometrically spaced periods."""
    # Phases reach 1600 rad, so the rounding of these constants shows; NumPy's is the same in every program.
    frequencies = 2 * np.pi / np.geomspace(_MIN_PERIOD, _MAX_PERIOD, dim // 2)
    phase = time[..., None] * frequencies.astype(np.float32)
    return jnp.concatenate([jnp.sin(phase), jnp.cos(phase)], axis=-1)


def prefix_mask(length: Ticks, chunk_size: int) -> Bool[Array, "#b h 1"]:
    """True for the first `length` actions."""
    return (jnp.arange(chunk_size) < jnp.asarray(length).reshape(-1, 1))[..., None]


def select(is_prefix: Bool[Array, "b h 1"], at_1: Modulation, at_t: Modulation) -> Modulation:
    """Modulation with the prefix tokens at flow time 1: per token a select, not a network evaluation."""
    return jax.tree.map(partial(jnp.where, is_prefix), at_1, at_t)


class MixerBlock(nnx.Module):
    """Token mixing, then channel mixing, gated and modulated by the flow time (adaLN, arXiv 2212.09748).

    Args:
        config: size of the network.
        rngs: source of the initial weights.
    """

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        tokens, token_hidden = config.action_chunk_size, config.token_hidden_dim
        channels, channel_hidden = config.channel_dim, config.channel_hidden_dim
        self.token_mix_in = nnx.Linear(tokens, token_hidden, use_bias=False, rngs=rngs)
        self.token_mix_out = nnx.Linear(token_hidden, tokens, use_bias=False, rngs=rngs)
        self.channel_mix_in = nnx.Linear(channels, channel_hidden, use_bias=False, rngs=rngs)
        self.channel_mix_out = nnx.Linear(channel_hidden, channels, use_bias=False, rngs=rngs)
        self.adaln_1 = zero_linear(channels, 3 * channels, rngs)
        self.adaln_2 = zero_linear(channels, 3 * channels, rngs)

    def modulation(self, condition: Float[Array, "*n c"]) -> tuple[Array, Array]:
        """Scale, shift and gate, concatenated to [*n, 3c], of token mixing and of channel mixing."""
        return self.adaln_1(condition), self.adaln_2(condition)

    def __call__(self, x: Float[Array, "b h c"], modulation: tuple[Array, Array]) -> Float[Array, "b h c"]:
        scale, shift, gate = jnp.split(modulation[0], 3, axis=-1)
        tokens = jax.lax.optimization_barrier(modulated_norm(x, scale, shift))
        hidden = jax.lax.optimization_barrier(gelu(_mix_in(tokens, self.token_mix_in.kernel[...])))
        x = x + gate * _mix_out(hidden, self.token_mix_out.kernel[...])
        scale, shift, gate = jnp.split(modulation[1], 3, axis=-1)
        channels = modulated_norm(x, scale, shift)
        hidden = gelu(_dense(channels, self.channel_mix_in.kernel[...]))
        return x + gate * _dense(hidden, self.channel_mix_out.kernel[...])
