"""What the executor notes down of every episode."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

NEVER = -1
# Fields of Records with an entry per query, at the tick of its launch.
PER_QUERY = ("delay", "planned", "execute_horizon", "interval", "shift", "flow_steps", "abandoned")


class Records(NamedTuple):
    """What happened, one row per episode; entries past the end of an episode keep their initial value.

    Attributes:
        actions: commanded actions (before noise); NaN where no tick was executed.
        age: ticks between the observation behind the executed action and its execution; NEVER where starved.
        delay: delay of the query launched at this tick (its deadline if it was abandoned); NEVER where none was
            launched, as in the next six.
        planned: the delay planned for that query.
        execute_horizon: s_k of that query.
        interval: L_k, ticks until the next launch.
        shift: actions of the chunk before it that were due before its launch.
        flow_steps: flow steps that it had time for.
        abandoned: 1 if it was abandoned, else 0.
        returned: sum of rewards.
        length: control ticks of the episode.
        solved: the goal was reached.
        bad_tick: first tick at which the policy or the physics produced a non-finite number, or NEVER.
        slot_ticks: slot-ticks that the program simulated, idle ones included (per device, repeated per row).
        poses: after each tick, what a picture of the environment needs; empty unless asked for.
    """

    actions: Float[Array, "n t a"]
    age: Int[Array, "n t"]
    delay: Int[Array, "n t"]
    planned: Int[Array, "n t"]
    execute_horizon: Int[Array, "n t"]
    interval: Int[Array, "n t"]
    shift: Int[Array, "n t"]
    flow_steps: Int[Array, "n t"]
    abandoned: Int[Array, "n t"]
    returned: Float[Array, " n"]
    length: Int[Array, " n"]
    solved: Bool[Array, " n"]
    bad_tick: Int[Array, " n"]
    slot_ticks: Int[Array, " n"]
    poses: Any


def empty_records(rows: int, ticks: int, action_dim: int, pose: Any) -> Records:
    """Records of nothing yet; `pose` holds the shapes of the environment's poses, or is empty not to record them."""
    return Records(
        actions=jnp.full((rows, ticks, action_dim), jnp.nan),
        **{name: jnp.full((rows, ticks), NEVER, jnp.int32) for name in ("age", *PER_QUERY)},
        returned=jnp.zeros(rows),
        length=jnp.zeros(rows, jnp.int32),
        solved=jnp.zeros(rows, bool),
        bad_tick=jnp.full(rows, NEVER, jnp.int32),
        slot_ticks=jnp.zeros(rows, jnp.int32),
        poses=jax.tree.map(lambda leaf: jnp.zeros((rows, ticks, *leaf.shape[1:]), leaf.dtype), pose),
    )
