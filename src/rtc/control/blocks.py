"""Arrays with a row per slot: choosing, keys of streams, and computing in blocks of rows."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key, PyTree, Shaped


def where(mask: Bool[Array, "*w"], on_true: Any, on_false: Any) -> Any:
    """Per-slot choice between two pytrees whose arrays lead with the slot axis."""
    return jax.tree.map(
        lambda a, b: jnp.where(mask.reshape(mask.shape + (1,) * (b.ndim - mask.ndim)), a, b),
        on_true,
        on_false,
    )


def stream_keys(key: Key[Array, " w"], stream: int) -> Key[Array, " w"]:
    """The keys of one stream of each slot's randomness."""
    return jax.vmap(partial(jax.random.fold_in, data=stream))(key)


def pick(chunk: Shaped[Array, "w h *a"], entry: Int[Array, " w"]) -> Shaped[Array, "w ..."]:
    """One entry of each chunk, the nearest one that there is."""
    index = jnp.clip(entry, 0, chunk.shape[1] - 1).reshape(-1, *(1,) * (chunk.ndim - 1))
    return jnp.take_along_axis(chunk, index, axis=1)[:, 0]


def in_blocks(
    compute: Callable[[PyTree], PyTree],
    due: Bool[Array, " w"],
    inputs: PyTree,
    otherwise: PyTree,
    size: int,
) -> PyTree:
    """`compute(inputs)` in the rows that are due, `size` of them at a time, and `otherwise` in the rest.

    Args:
        compute: maps the inputs of `size` rows to their outputs, each row for itself.
        due: rows to compute.
        inputs: arrays that lead with the row axis.
        otherwise: output of the rows that are not due, arrays that lead with the row axis.
        size: rows per call.
    """
    width = due.shape[0]
    # At least two blocks: XLA would hoist the computation of a single one out of the loop and never skip it.
    padding = max(-width % size, 2 * size - width)
    rows = jnp.nonzero(due, size=width + padding, fill_value=width)[0].reshape(-1, size)

    def block(i: Int[Array, ""], outputs: PyTree) -> PyTree:
        gathered = jax.tree.map(lambda x: x[jnp.minimum(rows[i], width - 1)], inputs)
        return jax.tree.map(lambda old, new: old.at[rows[i]].set(new, mode="drop"), outputs, compute(gathered))

    return jax.lax.fori_loop(0, (due.sum() + size - 1) // size, block, otherwise)
