"""One control tick of a batch of episodes: launch queries, choose actions, step, record.

`rtc.control.executor` states the rules; this is their vectorised form.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rtc.control import blocks
from rtc.control.blocks import in_blocks, pick, stream_keys
from rtc.control.controller import Controller
from rtc.control.environment import Environment, State, noisy_action
from rtc.control.queries import launch_due
from rtc.control.records import NEVER, PER_QUERY
from rtc.control.slots import ACT, ACTION_NOISE, Carry, Slots, observation
from rtc.methods import Act, Now, Policy


class Choice(NamedTuple):
    """The planned action of a tick.

    Attributes:
        action: it, or the fallback where the tick is starved.
        age: ticks since the observation behind it; NEVER where starved.
        entry: its index in its chunk; NEVER where starved.
        starved: no chunk has an action for this tick.
    """

    action: Float[Array, "w a"]
    age: Int[Array, " w"]
    entry: Int[Array, " w"]
    starved: Bool[Array, " w"]


def choose(slots: Slots, controller: Controller) -> Choice:
    """What the newest chunk, or else the plan, has for this tick."""
    since, plan = slots.tick - slots.launch, slots.previous
    origin = 0 if slots.origin is None else slots.origin
    arrived = since >= (slots.delay if slots.origin is None else jnp.maximum(slots.delay, origin))
    first = slots.delay if controller.method.waits else origin
    planned = jnp.where(since < plan.launch.shape[1], pick(plan.launch, since), NEVER)
    starved = ~arrived & (planned == NEVER)
    action = blocks.where(arrived, pick(slots.chunk, since - first), pick(plan.action, since))
    fallback = jnp.where(controller.hold, slots.last_action, 0.0)
    source = jnp.where(arrived, slots.launch, planned)
    seen = jnp.maximum(source - controller.observation_lag, 0) if controller.observation_lag else source
    begun = source if plan.origin is None else source + pick(plan.origin, since)
    return Choice(
        action=blocks.where(starved, fallback, action),
        age=jnp.where(starved, NEVER, slots.tick - seen),
        entry=jnp.where(starved, NEVER, jnp.where(arrived, since - first, slots.tick - begun)),
        starved=starved,
    )


def _act(
    policy: Policy, controller: Controller, slots: Slots, busy: Bool[Array, " w"], choice: Choice, block: int
) -> tuple[Act, Any]:
    """What the method makes of the planned actions, and its states after that."""
    lag = controller.observation_lag + controller.correction_delay
    now = Now(
        key=jax.vmap(jax.random.fold_in)(stream_keys(slots.key, ACT), slots.tick),
        obs=observation(slots, lag),
        obs_age=jnp.minimum(slots.tick, lag),
        last_action=slots.last_action,
        tick=slots.tick,
        **choice._asdict(),
    )

    def correct(inputs: tuple[Now, Any]) -> tuple[Act, Any]:
        act, state = controller.method.act(policy, *inputs)
        evaluations = jnp.broadcast_to(jnp.asarray(act.evaluations, jnp.int32), act.age.shape)
        return act._replace(evaluations=evaluations), state

    otherwise = Act(choice.action, choice.age, jnp.zeros_like(choice.age)), slots.state
    act, state = in_blocks(correct, busy, (now, slots.state), otherwise, block)
    return act._replace(age=jnp.where(choice.starved, NEVER, act.age)), state


def _record_poses(recorded: Any, env: Environment, state: State, at: tuple[Array, Array]) -> Any:
    if not jax.tree.leaves(recorded):
        return recorded
    return jax.tree.map(lambda rows, pose: rows.at[at].set(pose, mode="drop"), recorded, env.poses(state))


def tick(env: Environment, policy: Policy, controller: Controller, carry: Carry, num_steps: int, block: int) -> Carry:
    """One control tick of every busy slot: launch what is due, act, step, record."""
    rows = carry.records.length.shape[0]
    busy = carry.slots.row < rows
    due = busy & (carry.slots.tick == carry.slots.launch + carry.slots.length)
    slots, launch = launch_due(env, policy, controller, carry.slots, due, num_steps, block)
    choice = choose(slots, controller)
    act = Act(choice.action, choice.age)
    if controller.method.acts:
        act, state = _act(policy, controller, slots, busy, choice, block)
        slots = slots._replace(state=state)
    action, lag = act.action, controller.actuation_lag
    age = jnp.where(act.age == NEVER, NEVER, act.age + lag) if lag else act.age
    noise_key = jax.vmap(jax.random.fold_in)(stream_keys(slots.key, ACTION_NOISE), slots.tick)
    acting = slots.pending[:, 0] if lag else action
    executed = jax.vmap(noisy_action, (0, 0, None))(noise_key, acting, controller.action_noise)
    state, outcome = env.step(slots.env, executed)

    at = slots.row, slots.tick
    old = carry.records
    names = PER_QUERY if launch.origin is None else (*PER_QUERY, "origin")
    per_query = {name: jnp.where(due, getattr(launch, name), NEVER) for name in names}
    per_tick = {"actions": action, "age": age, **per_query}
    if old.evaluations is not None:
        per_tick["evaluations"] = act.evaluations
    bad = busy & ~(outcome.finite & jnp.isfinite(action).all(axis=1))
    records = old._replace(
        **{name: getattr(old, name).at[at].set(value, mode="drop") for name, value in per_tick.items()},
        returned=old.returned.at[slots.row].add(outcome.reward, mode="drop"),
        length=old.length.at[slots.row].add(1, mode="drop"),
        solved=old.solved.at[slots.row].set(outcome.solved, mode="drop"),
        bad_tick=old.bad_tick.at[jnp.where(bad, slots.row, rows)].set(slots.tick, mode="drop"),
        slot_ticks=old.slot_ticks + slots.row.shape[0],
        poses=_record_poses(old.poses, env, state, at),
    )
    ended = outcome.done | bad
    return carry._replace(
        slots=_after(slots, ended, rows, action, state, outcome.obs), now=carry.now + 1, records=records
    )


def _after(
    slots: Slots,
    ended: Bool[Array, " w"],
    rows: int,
    action: Float[Array, "w a"],
    state: State,
    obs: Float[Array, "w o"],
) -> Slots:
    """The slots at the next tick; those whose episode ended are idle."""
    past, pending = slots.past, slots.pending
    return slots._replace(
        row=jnp.where(ended, rows, slots.row),
        tick=slots.tick + 1,
        env=state,
        obs=obs,
        past=None if past is None else jnp.concatenate([slots.obs[:, None], past[:, :-1]], axis=1),
        pending=None if pending is None else jnp.concatenate([pending[:, 1:], action[:, None]], axis=1),
        last_action=action,
    )
