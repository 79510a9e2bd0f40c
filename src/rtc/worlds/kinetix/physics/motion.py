"""Positions and velocities of the moving bodies, one row per body, the environment axis last."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Motion(NamedTuple):
    """What the solver changes: positions (m), velocities (m/s) and angular velocities (rad/s)."""

    x: Float[Array, "n b"]
    y: Float[Array, "n b"]
    vx: Float[Array, "n b"]
    vy: Float[Array, "n b"]
    spin: Float[Array, "n b"]


def nonzero(value: Float[Array, "..."]) -> Float[Array, "..."]:
    """The value, or 1 in place of 0, to divide by."""
    return jnp.where(value == 0, 1.0, value)
