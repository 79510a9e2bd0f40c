"""Arrays of chunks, a row per environment and an entry per control tick."""

import jax.numpy as jnp
from jaxtyping import Array, Int, Shaped


def shift_chunk(chunk: Shaped[Array, "w h *a"], by: Int[Array, " w"], fill: int = 0) -> Shaped[Array, "w h *a"]:
    """Drops the first `by` entries of each chunk; the freed tail is `fill`."""
    size = chunk.shape[1]
    index = (jnp.arange(size) + by[:, None]).reshape(len(chunk), size, *(1,) * (chunk.ndim - 2))
    moved = jnp.take_along_axis(chunk, jnp.minimum(index, size - 1), axis=1)
    return jnp.where(index < size, moved, fill)
