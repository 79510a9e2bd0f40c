"""The flat symbolic observation: a constant vector in which only the moving bodies' entries change.

The stock engine lists, per polygon (all walls but the floor left out), circle, joint and thruster, a fixed number of
features, then gravity. Of a body, seven features change: position, velocity, spin, sine and cosine of its angle.
"""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

POLYGON_FEATURES = 26
CIRCLE_FEATURES = 18
# Of a body's features: x, y, vx, vy, spin, sine, cosine.
VARYING_FEATURES = (0, 1, 2, 3, 7, 12, 13)
CLIP = 10.0


@dataclass(frozen=True)
class Layout:
    """Where the varying entries are.

    Attributes:
        constant: the observation of the start state.
        entries: index of each varying entry, by body row and then by feature, [moving bodies * 7].
    """

    constant: np.ndarray
    entries: np.ndarray


def layout(start_obs: np.ndarray, moving: np.ndarray, static_params: Any) -> Layout:
    """Finds the varying entries.

    Args:
        start_obs: observation of the start state.
        moving: body numbers of the moving bodies.
        static_params: sizes of the stock scene.
    """
    polygons, walls = static_params.num_polygons, static_params.num_static_fixated_polys
    shown = [body for body in range(polygons) if not 1 <= body < walls]
    first_circle = POLYGON_FEATURES * len(shown)

    def offset(body: int) -> int:
        if body < polygons:
            return POLYGON_FEATURES * shown.index(body)
        return first_circle + CIRCLE_FEATURES * (body - polygons)

    entries = [offset(int(body)) + feature for body in moving for feature in VARYING_FEATURES]
    return Layout(np.asarray(start_obs, np.float32), np.array(entries, int))


def varying(
    x: Float[Array, "n b"],
    y: Float[Array, "n b"],
    vx: Float[Array, "n b"],
    vy: Float[Array, "n b"],
    spin: Float[Array, "n b"],
    cos: Float[Array, "n b"],
    sin: Float[Array, "n b"],
) -> Float[Array, "n*7 b"]:
    """The varying entries, in the order of `Layout.entries`."""
    features = jnp.stack([x, y, vx, vy, jnp.tanh(spin / 10), sin, cos], axis=1)
    return jnp.nan_to_num(jnp.clip(features, -CLIP, CLIP)).reshape(-1, x.shape[-1])


def assemble(values: Float[Array, "v b"], layout: Layout, wanted: tuple[int, ...] | None) -> Float[Array, "b o"]:
    """The observation: all of its entries, or the wanted ones.

    Args:
        values: from `varying`.
        layout: where they go.
        wanted: entries of the full observation in the order asked for; None for all of them.
    """
    columns = np.arange(len(layout.constant)) if wanted is None else np.asarray(wanted, int)
    source = np.full(len(layout.constant), -1)
    source[layout.entries] = np.arange(len(layout.entries))
    source = source[columns]
    constant = source < 0
    # Runs of neighbouring entries that are all constant, or that follow each other in `values`.
    breaks = np.flatnonzero((constant[1:] != constant[:-1]) | (~constant[1:] & (np.diff(source) != 1))) + 1
    parts = []
    for run in np.split(np.arange(len(source)), breaks):
        if constant[run[0]]:
            column = jnp.asarray(layout.constant[columns[run]])[:, None]
            parts.append(jnp.broadcast_to(column, (len(run), values.shape[-1])))
        else:
            parts.append(values[source[run[0]] : source[run[-1]] + 1])
    return jnp.concatenate(parts).T
