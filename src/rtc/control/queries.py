"""Launching queries: what a method is told, and what becomes of the plan.

The policy is asked in blocks of a fixed number of queries, and only for the slots that launch one. So a tick costs in
proportion to its queries, and a query goes through the same program whatever else is due.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rtc.control import blocks
from rtc.control.blocks import in_blocks, stream_keys
from rtc.control.controller import Controller
from rtc.control.environment import Environment
from rtc.control.records import NEVER
from rtc.control.slots import POLICY, Plan, Slots, observation
from rtc.delay import sampling
from rtc.delay.sampling import DelayStream
from rtc.methods import Answer, Policy, Query
from rtc.methods.base import State, World
from rtc.shared.chunks import shift_chunk


class Launch(NamedTuple):
    """The next query of every slot; the fields that `Records` has too are explained there.

    Attributes:
        reuse: the query before was abandoned: what was executed before is executed on.
    """

    delay: Int[Array, " w"]
    planned: Int[Array, " w"]
    execute_horizon: Int[Array, " w"]
    interval: Int[Array, " w"]
    shift: Int[Array, " w"]
    steps: Int[Array, " w"]
    abandoned: Int[Array, " w"]
    origin: Int[Array, " w"] | None
    reuse: Bool[Array, " w"]


def _drawn(controller: Controller, slots: Slots, num_steps: int, size: int) -> tuple[Launch, DelayStream]:
    """The next query of each slot, with the delay that was drawn; `_answered` completes it."""
    draw, stream = jax.vmap(sampling.sample, (None, 0))(controller.process, slots.stream)
    planned = jax.vmap(controller.estimator.estimate)(slots.history, draw.delay)
    adaptive = jnp.clip(planned, controller.execute_horizon, size)
    horizon = jnp.where(controller.adaptive, adaptive, controller.execute_horizon)
    reuse = slots.delay > controller.process.deadline
    used = slots.length + jnp.where(reuse, slots.shift, 0 if slots.origin is None else -slots.origin)
    launch = Launch(
        delay=draw.delay,
        planned=planned,
        execute_horizon=horizon,
        interval=draw.delay,
        shift=jnp.full_like(used, size) if controller.method.waits else used,
        steps=jax.vmap(sampling.flow_steps, (0, None))(draw, num_steps),
        abandoned=jnp.zeros_like(used),
        origin=slots.origin,
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
        steps=answer.steps,
        abandoned=(delay > deadline).astype(jnp.int32),
        origin=answer.origin,
    )


def _covered(slots: Slots) -> Bool[Array, "w p"] | bool:
    """The ticks after the newest launch that its chunk has an action for."""
    if slots.origin is None:
        return True
    entry = jnp.arange(slots.previous.launch.shape[1]) - slots.origin[:, None]
    return (entry >= 0) & (entry < slots.chunk.shape[1])


def _with_chunk(slots: Slots) -> Plan:
    """What is executed from the newest chunk's arrival on, as seen from its launch."""
    if slots.origin is None:
        return Plan(slots.chunk, jnp.broadcast_to(slots.launch[:, None], slots.chunk.shape[:2]), None)
    window = jnp.arange(slots.previous.launch.shape[1])
    entry, covered = window - slots.origin[:, None], _covered(slots)
    index = jnp.clip(entry, 0, slots.chunk.shape[1] - 1)[..., None]
    action = jnp.where(covered[..., None], jnp.take_along_axis(slots.chunk, index, axis=1), 0.0)
    launch = jnp.where(covered, slots.launch[:, None], NEVER)
    chunk = Plan(action, launch, jnp.broadcast_to(slots.origin[:, None], launch.shape))
    # The chunk before goes on until the new one begins; what it has for later is dropped.
    return blocks.where(entry >= 0, chunk, slots.previous)


def _advance(plan: Plan, by: Int[Array, " w"]) -> Plan:
    """The plan as seen `by` ticks later."""
    origin = None if plan.origin is None else shift_chunk(plan.origin, by)
    return Plan(shift_chunk(plan.action, by), shift_chunk(plan.launch, by, fill=NEVER), origin)


def _upcoming(slots: Slots, controller: Controller, plan: Plan) -> Float[Array, "w p a"]:
    """What is planned from this tick on while the query is in flight, the fallback of starved ticks included."""
    there = plan.launch != NEVER
    known = jax.lax.cummax(jnp.where(there, jnp.arange(there.shape[1]), NEVER), axis=1)
    held = jnp.take_along_axis(plan.action, jnp.maximum(known, 0)[..., None], axis=1)
    held = jnp.where((known == NEVER)[..., None], slots.last_action[:, None], held)
    return jnp.where((there | controller.hold)[..., None], held, 0.0)


def _ask(
    policy: Policy,
    controller: Controller,
    slots: Slots,
    due: Bool[Array, " w"],
    query: Query,
    launch: Launch,
    num_steps: int,
    block: int,
) -> tuple[Answer, State]:
    """The answers of the queries that are due, and the method's states after them."""
    method = controller.method

    def ask(inputs: tuple[Query, State, Int[Array, " k"]]) -> tuple[Answer, State]:
        query, state, drawn = inputs
        answer, state = method.answer(policy, query, state, drawn, num_steps)
        if slots.origin is not None:
            origin = jnp.broadcast_to(jnp.asarray(answer.origin, jnp.int32), drawn.shape)
        elif isinstance(answer.origin, int) and answer.origin == 0:
            origin = None
        else:
            raise ValueError(
                f"{type(method).__name__} gives chunks an origin: let its max_origin say how large it can be"
            )
        return answer._replace(origin=origin), state

    unasked = Answer(slots.chunk, launch.delay, launch.steps, slots.origin)
    return in_blocks(ask, due, (query, slots.state, launch.delay), (unasked, slots.state), block)


def launch_due(
    env: Environment,
    policy: Policy,
    controller: Controller,
    slots: Slots,
    due: Bool[Array, " w"],
    num_steps: int,
    block: int,
) -> tuple[Slots, Launch]:
    """Launches a query in every slot that is due: the slots with it as their newest, and the query (read where due)."""
    size = policy.action_chunk_size
    launch, stream = _drawn(controller, slots, num_steps, size)
    by = jnp.full_like(slots.length, size) if controller.method.waits else slots.length
    plan = _advance(blocks.where(launch.reuse, slots.previous, _with_chunk(slots)), by)
    predictions = shift_chunk(slots.predictions - (launch.reuse[:, None] & _covered(slots)), by)
    query = Query(
        key=jax.vmap(jax.random.fold_in)(stream_keys(slots.key, POLICY), slots.stream.index),
        obs=observation(slots, controller.observation_lag),
        leftover=plan.action[:, :size],
        planned_delay=launch.planned,
        overlap_end=jnp.maximum(size - jnp.maximum(launch.execute_horizon, launch.shift), 0),
        predictions=predictions[:, :size],
        flow_steps=launch.steps,
        execute_horizon=launch.execute_horizon,
        upcoming=_upcoming(slots, controller, plan),
        known=plan.launch != NEVER,
    )
    if controller.method.privileged:
        # Here and not in blocks: a step of the simulator hardly costs more for all slots than for a few.
        asked = query._replace(planned_delay=jnp.where(due, query.planned_delay, 0))
        query = query._replace(looked=controller.method.look(policy, asked, World(env, slots.env)))
    answer, state = _ask(policy, controller, slots, due, query, launch, num_steps, block)
    launch = _answered(controller, launch, answer)
    observed = jnp.minimum(launch.delay, controller.process.deadline)
    launched = slots._replace(
        chunk=answer.chunk,
        previous=plan,
        launch=slots.tick,
        delay=launch.delay,
        length=launch.interval,
        origin=launch.origin,
        shift=launch.shift,
        stream=stream,
        history=jax.vmap(controller.estimator.update)(slots.history, observed),
    )
    launched = launched._replace(predictions=predictions + jnp.asarray(_covered(launched), jnp.int32))
    untouched = ("env", "obs", "key", "past", "pending", "state")
    nothing = dict.fromkeys(untouched, ())
    merged = blocks.where(due, launched._replace(**nothing), slots._replace(**nothing))
    kept = {name: getattr(slots, name) for name in untouched} | {"state": state}
    return merged._replace(**kept), launch._replace(delay=observed)
