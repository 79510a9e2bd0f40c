"""One control tick of a batch of episodes: launch queries, choose actions, step, record, refill.

`rtc.execution` states the rules; this module is their vectorised form. The policy is asked in blocks of a fixed
number of queries, and only for the slots that launch one. So a tick costs in proportion to its queries, and a query
goes through the same program whatever else is due.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from rtc import delays, methods
from rtc.controller import Controller
from rtc.delays import DelayStream
from rtc.environment import Environment, State
from rtc.estimators import History
from rtc.methods import Policy, Query
from rtc.wrappers import noisy_action

NEVER = -1
# Independent streams of one episode's randomness.
DELAY, POLICY, ACTION_NOISE, BOOTSTRAP = range(4)


class Records(NamedTuple):
    """What happened, one row per episode; entries past the end of an episode keep their initial value.

    Attributes:
        actions: commanded actions (before noise); NaN where no tick was executed.
        age: ticks between the observation behind the executed action and its execution; NEVER where starved.
        delay: delay of the query launched at this tick; NEVER where none was launched.
        planned: the delay planned for that query.
        execute_horizon: s_k of that query.
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
    returned: Float[Array, " n"]
    length: Int[Array, " n"]
    solved: Bool[Array, " n"]
    bad_tick: Int[Array, " n"]
    slot_ticks: Int[Array, " n"]
    poses: Any


class Slots(NamedTuple):
    """The episodes in progress, one per slot.

    Attributes:
        row: the episode's row in the records and the queue; the number of rows where the slot is idle.
        tick: control ticks executed so far.
        key: the episode's own random key.
        env, obs: environment state and observation.
        last_action: action of the previous tick (zeros before the first).
        chunk: chunk of the newest query; `previous`: the one before it, shifted so that entry j belongs to the j-th
            tick after the newest launch.
        launch, previous_launch: ticks at which these two were launched.
        delay, length: d_k and L_k of the newest query. `previous_length`: L_{k-1}.
        stream: the episode's delays; its index is k.
        history: the estimator's state.
    """

    row: Int[Array, " w"]
    tick: Int[Array, " w"]
    key: Key[Array, " w"]
    env: State
    obs: Float[Array, "w o"]
    last_action: Float[Array, "w a"]
    chunk: Float[Array, "w h a"]
    previous: Float[Array, "w h a"]
    launch: Int[Array, " w"]
    previous_launch: Int[Array, " w"]
    delay: Int[Array, " w"]
    length: Int[Array, " w"]
    previous_length: Int[Array, " w"]
    stream: DelayStream
    history: History


class Queue(NamedTuple):
    """The episodes to run, one per row.

    Attributes:
        episode: number of the episode; NEVER in the padding at the end.
        key: the episode's random key.
        bootstrap: the chunk before its first query.
    """

    episode: Int[Array, " n"]
    key: Key[Array, " n"]
    bootstrap: Float[Array, "n h a"]


class Carry(NamedTuple):
    """Loop state: the slots, the number of ticks so far, the next row of the queue, and the records so far."""

    slots: Slots
    now: Int[Array, ""]
    next_row: Int[Array, ""]
    records: Records


def _where(mask: Bool[Array, " w"], on_true: Any, on_false: Any) -> Any:
    """Per-slot choice between two pytrees whose arrays lead with the slot axis."""
    return jax.tree.map(
        lambda a, b: jnp.where(mask.reshape(mask.shape + (1,) * (b.ndim - mask.ndim)), a, b),
        on_true,
        on_false,
    )


def stream_keys(key: Key[Array, " w"], stream: int) -> Key[Array, " w"]:
    return jax.vmap(partial(jax.random.fold_in, data=stream))(key)


def shift_chunk(chunk: Float[Array, "w h a"], by: Int[Array, " w"]) -> Float[Array, "w h a"]:
    """Drops the first `by` actions of each chunk; the freed tail is zero."""
    size = chunk.shape[1]
    index = jnp.arange(size) + by[:, None]
    moved = jnp.take_along_axis(chunk, jnp.minimum(index, size - 1)[..., None], axis=1)
    return jnp.where((index < size)[..., None], moved, 0.0)


def empty_records(rows: int, ticks: int, action_dim: int, pose: Any) -> Records:
    """Records of nothing yet; `pose` holds the shapes of the environment's poses, or is empty not to record them."""
    return Records(
        actions=jnp.full((rows, ticks, action_dim), jnp.nan),
        age=jnp.full((rows, ticks), NEVER, jnp.int32),
        delay=jnp.full((rows, ticks), NEVER, jnp.int32),
        planned=jnp.full((rows, ticks), NEVER, jnp.int32),
        execute_horizon=jnp.full((rows, ticks), NEVER, jnp.int32),
        returned=jnp.zeros(rows),
        length=jnp.zeros(rows, jnp.int32),
        solved=jnp.zeros(rows, bool),
        bad_tick=jnp.full(rows, NEVER, jnp.int32),
        slot_ticks=jnp.zeros(rows, jnp.int32),
        poses=jax.tree.map(lambda leaf: jnp.zeros((rows, ticks, *leaf.shape[1:]), leaf.dtype), pose),
    )


def in_blocks(
    compute: Callable[[PyTree], Float[Array, "k h a"]],
    due: Bool[Array, " w"],
    inputs: PyTree,
    otherwise: Float[Array, "w h a"],
    size: int,
) -> Float[Array, "w h a"]:
    """`compute(inputs)` in the rows that are due, `size` of them at a time, and `otherwise` in the rest.

    Args:
        compute: maps the inputs of `size` rows to their outputs, each row for itself.
        due: rows to compute.
        inputs: arrays that lead with the row axis.
        otherwise: output of the rows that are not due.
        size: rows per call.
    """
    width = due.shape[0]
    # At least two blocks: XLA would hoist the computation of a single one out of the loop and never skip it.
    padding = max(-width % size, 2 * size - width)
    rows = jnp.nonzero(due, size=width + padding, fill_value=width)[0].reshape(-1, size)

    def block(i: Int[Array, ""], outputs: Float[Array, "w h a"]) -> Float[Array, "w h a"]:
        gathered = jax.tree.map(lambda x: x[jnp.minimum(rows[i], width - 1)], inputs)
        return outputs.at[rows[i]].set(compute(gathered), mode="drop")

    return jax.lax.fori_loop(0, (due.sum() + size - 1) // size, block, otherwise)


def make_queue(
    env: Environment,
    policy: Policy,
    controller: Controller,
    seed_key: Key[Array, ""],
    episode: Int[Array, " n"],
    num_steps: int,
    block: int,
) -> Queue:
    """The queue with every episode's bootstrap chunk: a level has one start state, so they are known beforehand."""
    start_obs = env.reset(block)[1]

    def sample(key: Key[Array, " k"]) -> Float[Array, "k h a"]:
        noise = methods.initial_noise(stream_keys(key, BOOTSTRAP), policy, controller.method.noise_scale)
        return policy.action(None, start_obs, num_steps, noise=noise)

    key = jax.vmap(jax.random.fold_in, (None, 0))(seed_key, episode)
    nothing = jnp.zeros((*episode.shape, policy.action_chunk_size, policy.action_dim))
    return Queue(episode, key, in_blocks(sample, episode >= 0, key, nothing, block))


def new_slots(env: Environment, controller: Controller, queue: Queue, row: Int[Array, " w"]) -> Slots:
    """Slots at the start of the episodes in these rows of the queue; beyond its end, idle ones."""
    width = row.shape[0]
    state, obs = env.reset(width)
    zeros = jnp.zeros(width, jnp.int32)
    known = jnp.minimum(row, queue.episode.shape[0] - 1)
    key, chunk = queue.key[known], queue.bootstrap[known]
    history = controller.estimator.init()
    return Slots(
        row=row,
        tick=zeros,
        key=key,
        env=state,
        obs=obs,
        last_action=jnp.zeros((width, chunk.shape[-1])),
        chunk=chunk,
        previous=jnp.zeros_like(chunk),
        launch=zeros,
        previous_launch=zeros,
        delay=zeros,
        length=zeros,
        previous_length=zeros,
        stream=jax.vmap(delays.init)(stream_keys(key, DELAY)),
        history=jnp.broadcast_to(history, (width, *history.shape)),
    )


def refill(env: Environment, controller: Controller, carry: Carry, queue: Queue) -> Carry:
    """Gives idle slots the next episodes of the queue.

    Episodes start at multiples of the execute horizon, so that those on schedule query at the same ticks and fill
    the policy's blocks.
    """
    slots, rows = carry.slots, queue.episode.shape[0]
    idle = (slots.row == rows) & (carry.now % controller.execute_horizon == 0)
    candidate = carry.next_row + jnp.cumsum(idle) - 1
    fresh = idle & (candidate < rows)
    fresh &= queue.episode[jnp.minimum(candidate, rows - 1)] >= 0

    def take(slots: Slots) -> Slots:
        new = new_slots(env, controller, queue, jnp.where(fresh, candidate, rows))
        merged = _where(fresh, new._replace(env=()), slots._replace(env=()))
        return merged._replace(env=env.select(fresh, new.env, slots.env))

    slots = jax.lax.cond(fresh.any(), take, lambda slots: slots, slots)
    return carry._replace(slots=slots, next_row=carry.next_row + fresh.sum())


def _launch(
    policy: Policy, controller: Controller, slots: Slots, due: Bool[Array, " w"], num_steps: int, block: int
) -> tuple[Slots, Int[Array, " w"], Int[Array, " w"]]:
    """Launches a query in every slot that is due.

    Returns:
        The slots with the new query as their newest, and per slot the planned delay and s_k (read where due).
    """
    size = policy.action_chunk_size
    delay, stream = jax.vmap(delays.sample, (None, 0))(controller.process, slots.stream)
    planned = jax.vmap(controller.estimator.estimate)(slots.history, delay)
    adaptive = jnp.clip(planned, controller.execute_horizon, size)
    horizon = jnp.where(controller.adaptive, adaptive, controller.execute_horizon)
    leftover = shift_chunk(slots.chunk, slots.length)
    query_key = jax.vmap(jax.random.fold_in)(stream_keys(slots.key, POLICY), slots.stream.index)
    query = Query(
        key=query_key,
        obs=slots.obs,
        leftover=leftover,
        planned_delay=planned,
        overlap_end=jnp.maximum(size - jnp.maximum(horizon, slots.length), 0),
    )
    method = partial(controller.method.next_chunk, policy, num_steps=num_steps)
    launched = slots._replace(
        chunk=in_blocks(method, due, query, slots.chunk, block),
        previous=leftover,
        launch=slots.tick,
        previous_launch=slots.launch,
        delay=delay,
        length=jnp.maximum(horizon, delay),
        previous_length=slots.length,
        stream=stream,
        history=jax.vmap(controller.estimator.update)(slots.history, delay),
    )
    kept = {"env": (), "obs": (), "key": ()}
    merged = _where(due, launched._replace(**kept), slots._replace(**kept))
    return merged._replace(env=slots.env, obs=slots.obs, key=slots.key), planned, horizon


def _choose_action(slots: Slots, hold: Bool[Array, ""]) -> tuple[Float[Array, "w a"], Int[Array, " w"]]:
    """The commanded action of this tick and the age of the observation behind it (NEVER where starved)."""
    size = slots.chunk.shape[1]
    entry = slots.tick - slots.launch
    arrived = entry >= slots.delay
    starved = ~arrived & (slots.previous_length + entry >= size)

    def pick(chunk):
        index = jnp.minimum(entry, size - 1)[:, None, None]
        return jnp.take_along_axis(chunk, index, axis=1)[:, 0]

    action = _where(arrived, pick(slots.chunk), pick(slots.previous))
    fallback = jnp.where(hold, slots.last_action, 0.0)
    source = jnp.where(arrived, slots.launch, slots.previous_launch)
    return _where(starved, fallback, action), jnp.where(starved, NEVER, slots.tick - source)


def _record_poses(recorded: Any, env: Environment, state: State, at: tuple[Array, Array]) -> Any:
    if not jax.tree.leaves(recorded):
        return recorded
    return jax.tree.map(lambda rows, pose: rows.at[at].set(pose, mode="drop"), recorded, env.poses(state))


def tick(env: Environment, policy: Policy, controller: Controller, carry: Carry, num_steps: int, block: int) -> Carry:
    """One control tick of every busy slot: launch what is due, act, step, record."""
    rows = carry.records.length.shape[0]
    busy = carry.slots.row < rows
    due = busy & (carry.slots.tick == carry.slots.launch + carry.slots.length)
    slots, planned, horizon = _launch(policy, controller, carry.slots, due, num_steps, block)
    action, age = _choose_action(slots, controller.hold)
    noise_key = jax.vmap(jax.random.fold_in)(stream_keys(slots.key, ACTION_NOISE), slots.tick)
    executed = jax.vmap(noisy_action, (0, 0, None))(noise_key, action, controller.action_noise)
    state, outcome = env.step(slots.env, executed)

    at = slots.row, slots.tick
    old = carry.records
    bad = busy & ~(outcome.finite & jnp.isfinite(action).all(axis=1))
    records = Records(
        actions=old.actions.at[at].set(action, mode="drop"),
        age=old.age.at[at].set(age, mode="drop"),
        delay=old.delay.at[at].set(jnp.where(due, slots.delay, NEVER), mode="drop"),
        planned=old.planned.at[at].set(jnp.where(due, planned, NEVER), mode="drop"),
        execute_horizon=old.execute_horizon.at[at].set(jnp.where(due, horizon, NEVER), mode="drop"),
        returned=old.returned.at[slots.row].add(outcome.reward, mode="drop"),
        length=old.length.at[slots.row].add(1, mode="drop"),
        solved=old.solved.at[slots.row].set(outcome.solved, mode="drop"),
        bad_tick=old.bad_tick.at[jnp.where(bad, slots.row, rows)].set(slots.tick, mode="drop"),
        slot_ticks=old.slot_ticks + slots.row.shape[0],
        poses=_record_poses(old.poses, env, state, at),
    )
    ended = outcome.done | bad
    slots = slots._replace(
        row=jnp.where(ended, rows, slots.row),
        tick=slots.tick + 1,
        env=state,
        obs=outcome.obs,
        last_action=action,
    )
    return carry._replace(slots=slots, now=carry.now + 1, records=records)
