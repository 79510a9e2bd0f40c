"""Layers of the flow policy: MLP-mixer blocks (arXiv 2105.01601) modulated by the flow time."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

# Periods of the flow-time embedding, in units of flow time.
_MIN_PERIOD, _MAX_PERIOD = 4e-3, 4.0


def zero_linear(in_features: int, out_features: int, rngs: nnx.Rngs) -> nnx.Linear:
    """A layer that is zero at first (adaLN-Zero), so that every block starts as the identity."""
    return nnx.Linear(in_features, out_features, kernel_init=nnx.initializers.zeros_init(), rngs=rngs)


def modulated_norm(x: Float[Array, "*n c"], scale: Array, shift: Array) -> Float[Array, "*n c"]:
    """Layer norm whose scale and shift come from outside."""
    return jax.nn.standardize(x, epsilon=1e-6) * (1 + scale) + shift


def embed_time(time: Float[Array, "*n"], dim: int) -> Float[Array, "*n dim"]:
    """Sines and cosines of the flow time, with geometrically spaced periods."""
    # Phases reach 1600 rad, so the rounding of these constants shows; NumPy's is the same in every program.
    frequencies = 2 * np.pi / np.geomspace(_MIN_PERIOD, _MAX_PERIOD, dim // 2)
    phase = time[..., None] * frequencies.astype(np.float32)
    return jnp.concatenate([jnp.sin(phase), jnp.cos(phase)], axis=-1)


class MixerBlock(nnx.Module):
    """Token mixing, then channel mixing, gated and modulated by the flow time (adaLN, arXiv 2212.09748).

    Args:
        tokens: number of tokens.
        token_hidden: hidden width of the token mixing.
        channels: width of a token.
        channel_hidden: hidden width of the channel mixing.
        rngs: source of the initial weights.
    """

    def __init__(self, *, tokens: int, token_hidden: int, channels: int, channel_hidden: int, rngs: nnx.Rngs):
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
        tokens = modulated_norm(x, scale, shift).swapaxes(1, 2)
        tokens = self.token_mix_out(nnx.gelu(self.token_mix_in(tokens)))
        x = x + gate * tokens.swapaxes(1, 2)
        scale, shift, gate = jnp.split(modulation[1], 3, axis=-1)
        channels = modulated_norm(x, scale, shift)
        return x + gate * self.channel_mix_out(nnx.gelu(self.channel_mix_in(channels)))
