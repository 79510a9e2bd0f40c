"""What the executor notes down of every episode."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

NEVER = -1
# Fields of Records with an entry per query, at the tick of its launch.
PER_QUERY = ("delay", "planned", "execute_horizon", "interval", "shift", "steps", "abandoned")


class Records(NamedTuple):
    """What happened, one row per episode; entries past the end of an episode keep their initial value.

    Attributes:
        actions: commanded actions (before noise); NaN where no tick was executed.
        age: ticks between the newest observation behind the commanded action and its execution; NEVER where starved.
        delay: delay of the query launched at this tick (its deadline if it was abandoned); NEVER where none was
            launched, as in the next six and `origin`.
        planned: the delay planned for that query.
        execute_horizon: s_k of that query.
        interval: L_k, ticks until the next launch.
        shift: actions of the chunk before it that were due before its launch; negative where that chunk began later.
        steps: flow steps that it had time for, or passes that it took to decode tokens.
        abandoned: 1 if it was abandoned, else 0.
        returned: sum of rewards.
        length: control ticks of the episode.
        solved: the goal was reached.
        bad_tick: first tick at which the policy or the physics produced a non-finite number, or NEVER.
        slot_ticks: slot-ticks that the program simulated, idle ones included (per device, repeated per row).
        poses: after each tick, what a picture of the environment needs; empty unless asked for.
        origin: tick of the first entry of that query's chunk, counted from the launch; None where it is always 0.
        evaluations: network evaluations of the method's `act` at this tick; None for a method that does not act.
    """

    actions: Float[Array, "n t a"]
    age: Int[Array, "n t"]
    delay: Int[Array, "n t"]
    planned: Int[Array, "n t"]
    execute_horizon: Int[Array, "n t"]
    interval: Int[Array, "n t"]
    shift: Int[Array, "n t"]
    steps: Int[Array, "n t"]
    abandoned: Int[Array, "n t"]
    returned: Float[Array, " n"]
    length: Int[Array, " n"]
    solved: Bool[Array, " n"]
    bad_tick: Int[Array, " n"]
    slot_ticks: Int[Array, " n"]
    poses: Any
    origin: Int[Array, "n t"] | None = None
    evaluations: Int[Array, "n t"] | None = None


def empty_records(rows: int, ticks: int, action_dim: int, pose: Any, *, ahead: bool, acts: bool) -> Records:
    """Records of nothing yet.

    Args:
        rows: episodes.
        ticks: control ticks of the longest episode.
        action_dim: numbers per action.
        pose: shapes of the environment's poses, or nothing not to record them.
        ahead: chunks have an origin.
        acts: the method acts.
    """
    never = jnp.full((rows, ticks), NEVER, jnp.int32)
    return Records(
        actions=jnp.full((rows, ticks, action_dim), jnp.nan),
        **dict.fromkeys(("age", *PER_QUERY), never),
        returned=jnp.zeros(rows),
        length=jnp.zeros(rows, jnp.int32),
        solved=jnp.zeros(rows, bool),
        bad_tick=jnp.full(rows, NEVER, jnp.int32),
        slot_ticks=jnp.zeros(rows, jnp.int32),
        poses=jax.tree.map(lambda leaf: jnp.zeros((rows, ticks, *leaf.shape[1:]), leaf.dtype), pose),
        origin=never if ahead else None,
        evaluations=jnp.zeros_like(never) if acts else None,
    )
