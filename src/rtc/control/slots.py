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
from jaxtyping import Array, Bool, Float, Int, Key, PyTree, Shaped

from rtc import methods
from rtc.control.controller import Controller
from rtc.control.environment import Environment, State, noisy_action
from rtc.control.records import NEVER, PER_QUERY, Records
from rtc.delay import sampling
from rtc.delay.sampling import DelayStream
from rtc.methods import Answer, Policy, Query

# Independent streams of one episode's randomness.
DELAY, POLICY, ACTION_NOISE, BOOTSTRAP, START = range(5)


class Slots(NamedTuple):
    """The episodes in progress, one per slot.

    Attributes:
        row: the episode's row in the records and the queue; the number of rows where the slot is idle.
        tick: control ticks executed so far.
        key: the episode's own random key.
        env, obs: environment state and observation.
        last_action: action of the previous tick (zeros before the first).
        chunk: chunk of the newest query; `previous`: the one that is executed until it arrives, shifted so that entry
            j belongs to the j-th tick after the newest launch.
        predictions: chunks so far with an action for each tick of `chunk`, itself included and the bootstrap chunk
            not.
        launch, previous_launch: ticks at which these two were launched.
        delay, length: d_k and L_k of the newest query.
        shift: actions of `previous` that were due before the newest launch: L_{k-1}, unless query k-1 was abandoned.
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
    predictions: Int[Array, "w h"]
    launch: Int[Array, " w"]
    previous_launch: Int[Array, " w"]
    delay: Int[Array, " w"]
    length: Int[Array, " w"]
    shift: Int[Array, " w"]
    stream: DelayStream
    history: PyTree


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


def shift_chunk(chunk: Shaped[Array, "w h *a"], by: Int[Array, " w"]) -> Shaped[Array, "w h *a"]:
    """Drops the first `by` actions of each chunk; the freed tail is zero."""
    size = chunk.shape[1]
    index = (jnp.arange(size) + by[:, None]).reshape(len(chunk), size, *(1,) * (chunk.ndim - 2))
    moved = jnp.take_along_axis(chunk, jnp.minimum(index, size - 1), axis=1)
    return jnp.where(index < size, moved, 0)


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


def make_queue(
    env: Environment,
    policy: Policy,
    controller: Controller,
    seed_key: Key[Array, ""],
    episode: Int[Array, " n"],
    num_steps: int,
    block: int,
) -> Queue:
    """The queue with every episode's bootstrap chunk, from its own first observation."""

    def sample(key: Key[Array, " k"]) -> Float[Array, "k h a"]:
        start_obs = env.reset(stream_keys(key, START))[1]
        noise = methods.initial_noise(stream_keys(key, BOOTSTRAP), policy, controller.method.noise_scale)
        return policy.action(None, start_obs, num_steps, noise=noise)

    key = jax.vmap(jax.random.fold_in, (None, 0))(seed_key, episode)
    nothing = jnp.zeros((*episode.shape, policy.action_chunk_size, policy.action_dim))
    return Queue(episode, key, in_blocks(sample, episode >= 0, key, nothing, block))


def new_slots(env: Environment, controller: Controller, queue: Queue, row: Int[Array, " w"]) -> Slots:
    """Slots at the start of the episodes in these rows of the queue; beyond its end, idle ones."""
    width = row.shape[0]
    zeros = jnp.zeros(width, jnp.int32)
    known = jnp.minimum(row, queue.episode.shape[0] - 1)
    key, chunk = queue.key[known], queue.bootstrap[known]
    state, obs = env.reset(stream_keys(key, START))
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
        predictions=jnp.zeros(chunk.shape[:2], jnp.int32),
        launch=zeros,
        previous_launch=zeros,
        delay=zeros,
        length=zeros,
        shift=zeros,
        stream=jax.vmap(sampling.init)(stream_keys(key, DELAY)),
        history=jax.tree.map(lambda x: jnp.broadcast_to(x, (width, *x.shape)), history),
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


class Launch(NamedTuple):
    """The next query of every slot; the fields that `Records` has too are explained there.

    Attributes:
        reuse: the query before was abandoned: the chunk before that one is executed on.
    """

    delay: Int[Array, " w"]
    planned: Int[Array, " w"]
    execute_horizon: Int[Array, " w"]
    interval: Int[Array, " w"]
    shift: Int[Array, " w"]
    flow_steps: Int[Array, " w"]
    abandoned: Int[Array, " w"]
    reuse: Bool[Array, " w"]


def _plan(controller: Controller, slots: Slots, num_steps: int, size: int) -> tuple[Launch, DelayStream]:
    """The next query of each slot, with the delay that was drawn; `_answered` completes it."""
    draw, stream = jax.vmap(sampling.sample, (None, 0))(controller.process, slots.stream)
    planned = jax.vmap(controller.estimator.estimate)(slots.history, draw.delay)
    adaptive = jnp.clip(planned, controller.execute_horizon, size)
    horizon = jnp.where(controller.adaptive, adaptive, controller.execute_horizon)
    reuse = slots.delay > controller.process.deadline
    used = slots.length + jnp.where(reuse, slots.shift, 0)
    launch = Launch(
        delay=draw.delay,
        planned=planned,
        execute_horizon=horizon,
        interval=draw.delay,
        shift=jnp.full_like(used, size) if controller.method.waits else used,
        flow_steps=jax.vmap(sampling.flow_steps, (0, None))(draw, num_steps),
        abandoned=jnp.zeros_like(used),
        reuse=reuse,
    )
    return launch, stream


def _answered(controller: Controller, launch: Launch, answer: Answer) -> Launch:
    """The launch with what its answer took: its delay, and what follows from it."""
    deadline, delay, horizon = controller.process.deadline, answer.delay, launch.execute_horizon
    interval = delay + horizon if controller.method.waits else jnp.maximum(horizon, delay)
    return launch._replace(
        delay=delay,
        interval=jnp.where(delay > deadline, deadline, interval),
        flow_steps=answer.flow_steps,
        abandoned=(delay > deadline).astype(jnp.int32),
    )


def _launch(
    policy: Policy, controller: Controller, slots: Slots, due: Bool[Array, " w"], num_steps: int, block: int
) -> tuple[Slots, Launch]:
    """Launches a query in every slot that is due: the slots with it as their newest, and the query (read where due)."""
    size = policy.action_chunk_size
    launch, stream = _plan(controller, slots, num_steps, size)
    by = jnp.full_like(slots.length, size) if controller.method.waits else slots.length
    leftover = shift_chunk(_where(launch.reuse, slots.previous, slots.chunk), by)
    predictions = shift_chunk(slots.predictions - launch.reuse[:, None], by)
    query = Query(
        key=jax.vmap(jax.random.fold_in)(stream_keys(slots.key, POLICY), slots.stream.index),
        obs=slots.obs,
        leftover=leftover,
        planned_delay=launch.planned,
        overlap_end=jnp.maximum(size - jnp.maximum(launch.execute_horizon, launch.shift), 0),
        predictions=predictions,
        flow_steps=launch.flow_steps,
    )

    def ask(inputs: tuple[Query, Int[Array, " k"]]) -> Answer:
        return controller.method.answer(policy, *inputs, num_steps)

    unasked = Answer(slots.chunk, launch.delay, launch.flow_steps)
    answer = in_blocks(ask, due, (query, launch.delay), unasked, block)
    launch = _answered(controller, launch, answer)
    observed = jnp.minimum(launch.delay, controller.process.deadline)
    launched = slots._replace(
        chunk=answer.chunk,
        previous=leftover,
        predictions=predictions + 1,
        launch=slots.tick,
        previous_launch=jnp.where(launch.reuse, slots.previous_launch, slots.launch),
        delay=launch.delay,
        length=launch.interval,
        shift=launch.shift,
        stream=stream,
        history=jax.vmap(controller.estimator.update)(slots.history, observed),
    )
    kept = {"env": (), "obs": (), "key": ()}
    merged = _where(due, launched._replace(**kept), slots._replace(**kept))
    return merged._replace(env=slots.env, obs=slots.obs, key=slots.key), launch._replace(delay=observed)


def _choose_action(slots: Slots, controller: Controller) -> tuple[Float[Array, "w a"], Int[Array, " w"]]:
    """The commanded action of this tick and the age of the observation behind it (NEVER where starved)."""
    size = slots.chunk.shape[1]
    entry = slots.tick - slots.launch
    arrived = entry >= slots.delay
    starved = ~arrived & (slots.shift + entry >= size)

    def pick(chunk: Float[Array, "w h a"], entry: Int[Array, " w"]) -> Float[Array, "w a"]:
        index = jnp.clip(entry, 0, size - 1)[:, None, None]
        return jnp.take_along_axis(chunk, index, axis=1)[:, 0]

    first = slots.delay if controller.method.waits else 0
    action = _where(arrived, pick(slots.chunk, entry - first), pick(slots.previous, entry))
    fallback = jnp.where(controller.hold, slots.last_action, 0.0)
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
    slots, launch = _launch(policy, controller, carry.slots, due, num_steps, block)
    action, age = _choose_action(slots, controller)
    noise_key = jax.vmap(jax.random.fold_in)(stream_keys(slots.key, ACTION_NOISE), slots.tick)
    executed = jax.vmap(noisy_action, (0, 0, None))(noise_key, action, controller.action_noise)
    state, outcome = env.step(slots.env, executed)

    at = slots.row, slots.tick
    old = carry.records
    per_query = {name: jnp.where(due, getattr(launch, name), NEVER) for name in PER_QUERY}
    bad = busy & ~(outcome.finite & jnp.isfinite(action).all(axis=1))
    records = Records(
        actions=old.actions.at[at].set(action, mode="drop"),
        age=old.age.at[at].set(age, mode="drop"),
        **{name: getattr(old, name).at[at].set(value, mode="drop") for name, value in per_query.items()},
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
