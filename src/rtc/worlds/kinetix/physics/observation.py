"""The flat symbolic observation: a constant vector in which only the moving bodies' entries change.

The stock engine lists, per polygon (all walls but the floor left out), circle, joint and thruster, a fixed number of
features, then gravity. Of a body, seven features change: position, velocity, spin, sine and cosine of its angle.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

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
        robot: entries of the robot's own bodies.
    """

    constant: np.ndarray
    entries: np.ndarray
    robot: np.ndarray


def layout(start_obs: np.ndarray, moving: np.ndarray, own: np.ndarray, static_params: Any) -> Layout:
    """Finds the varying entries.

    Args:
        start_obs: observation of the start state.
        moving: body numbers of the moving bodies.
        own: those of the robot's bodies.
        static_params: sizes of the stock scene.
    """
    bodies = np.arange(static_params.num_polygons + static_params.num_circles)
    robot = robot_mask(np.isin(bodies, own), static_params, len(start_obs))
    return Layout(np.asarray(start_obs, np.float32), entries_of(moving, static_params).reshape(-1), np.asarray(robot))


def entries_of(bodies: Sequence[int] | np.ndarray, static_params: Any) -> np.ndarray:
    """The entries of some bodies that can vary, [bodies, 7]. Walls but the floor have none: leave them out."""
    polygons, walls = static_params.num_polygons, static_params.num_static_fixated_polys
    shown = [body for body in range(polygons) if not 1 <= body < walls]
    first_circle = POLYGON_FEATURES * len(shown)

    def offset(body: int) -> int:
        if body < polygons:
            return POLYGON_FEATURES * shown.index(body)
        return first_circle + CIRCLE_FEATURES * (body - polygons)

    return np.array([[offset(int(body)) + feature for feature in VARYING_FEATURES] for body in bodies], int)


def robot_mask(own: Bool[Array | np.ndarray, " bodies"], static_params: Any, size: int) -> Bool[Array, " o"]:
    """Which entries of the full observation, of this size, are those of the robot's own bodies."""
    walls = static_params.num_static_fixated_polys
    shown = np.array([body for body in range(len(own)) if not 1 <= body < walls])
    mask = jnp.zeros(size, bool)
    return mask.at[entries_of(shown, static_params)].set(own[shown][:, None])


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
