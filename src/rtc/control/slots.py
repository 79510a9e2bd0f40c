"""The episodes in progress, one per slot, and the queue that they come from."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree

from rtc.control import blocks
from rtc.control.blocks import in_blocks, stream_keys
from rtc.control.controller import Controller
from rtc.control.environment import Environment, State
from rtc.control.records import NEVER, Records
from rtc.delay import sampling
from rtc.delay.sampling import DelayStream
from rtc.methods import Policy

# Independent streams of one episode's randomness.
DELAY, POLICY, ACTION_NOISE, BOOTSTRAP, START, ACT = range(6)


class Plan(NamedTuple):
    """What is executed until the newest chunk takes over; entry j belongs to the j-th tick after the newest launch.

    Attributes:
        action: the actions.
        launch: tick of the launch behind each of them; NEVER where there is no action.
        origin: origin of the chunk behind each of them; None where all chunks begin at their launch.
    """

    action: Float[Array, "w p a"]
    launch: Int[Array, "w p"]
    origin: Int[Array, "w p"] | None


class Slots(NamedTuple):
    """The episodes in progress, one per slot. What a controller has no use for is None.

    Attributes:
        row: the episode's row in the records and the queue; the number of rows where the slot is idle.
        tick: control ticks executed so far.
        key: the episode's own random key.
        env, obs: environment state and observation.
        past: the observations of the last ticks, newest first.
        pending: commands that do not act yet, oldest first.
        last_action: action of the previous tick (zeros before the first).
        state: the method's.
        chunk: chunk of the newest query; `previous`: what is executed until it takes over.
        predictions: chunks so far with an action for each tick after the newest launch, that query's included and the
            bootstrap chunk not.
        launch: tick of the newest launch.
        delay, length, origin: d_k, L_k and g_k of the newest query.
        shift: actions of a chunk that were due before the newest launch: those of the chunk that ends `previous`.
        stream: the episode's delays; its index is k.
        history: the estimator's state.
    """

    row: Int[Array, " w"]
    tick: Int[Array, " w"]
    key: Key[Array, " w"]
    env: State
    obs: Float[Array, "w o"]
    past: Float[Array, "w r o"] | None
    pending: Float[Array, "w m a"] | None
    last_action: Float[Array, "w a"]
    state: PyTree
    chunk: Float[Array, "w h a"]
    previous: Plan
    predictions: Int[Array, "w p"]
    launch: Int[Array, " w"]
    delay: Int[Array, " w"]
    length: Int[Array, " w"]
    origin: Int[Array, " w"] | None
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
        return controller.method.first_chunk(policy, stream_keys(key, BOOTSTRAP), start_obs, num_steps)

    key = jax.vmap(jax.random.fold_in, (None, 0))(seed_key, episode)
    nothing = jnp.zeros((*episode.shape, policy.action_chunk_size, policy.action_dim))
    return Queue(episode, key, in_blocks(sample, episode >= 0, key, nothing, block))


def new_slots(env: Environment, policy: Policy, controller: Controller, queue: Queue, row: Int[Array, " w"]) -> Slots:
    """Slots at the start of the episodes in these rows of the queue; beyond its end, idle ones."""
    width = row.shape[0]
    zeros = jnp.zeros(width, jnp.int32)
    known = jnp.minimum(row, queue.episode.shape[0] - 1)
    key, chunk = queue.key[known], queue.bootstrap[known]
    state, obs = env.reset(stream_keys(key, START))
    size, action_dim = chunk.shape[1:]
    ahead = controller.method.max_origin(size)
    nothing = jnp.zeros((width, size + ahead), jnp.int32)
    seen, lag = controller.observation_lag + controller.correction_delay, controller.actuation_lag
    history = controller.estimator.init()
    return Slots(
        row=row,
        tick=zeros,
        key=key,
        env=state,
        obs=obs,
        past=jnp.repeat(obs[:, None], seen, axis=1) if seen else None,
        pending=jnp.zeros((width, lag, action_dim)) if lag else None,
        last_action=jnp.zeros((width, action_dim)),
        state=controller.method.init(policy, width),
        chunk=chunk,
        previous=Plan(jnp.zeros((*nothing.shape, action_dim)), nothing + NEVER, nothing if ahead else None),
        predictions=nothing,
        launch=zeros,
        delay=zeros,
        length=zeros,
        origin=zeros if ahead else None,
        shift=zeros,
        stream=jax.vmap(sampling.init)(stream_keys(key, DELAY)),
        history=jax.tree.map(lambda x: jnp.broadcast_to(x, (width, *x.shape)), history),
    )


def refill(env: Environment, policy: Policy, controller: Controller, carry: Carry, queue: Queue) -> Carry:
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
        new = new_slots(env, policy, controller, queue, jnp.where(fresh, candidate, rows))
        merged = blocks.where(fresh, new._replace(env=()), slots._replace(env=()))
        return merged._replace(env=env.select(fresh, new.env, slots.env))

    slots = jax.lax.cond(fresh.any(), take, lambda slots: slots, slots)
    return carry._replace(slots=slots, next_row=carry.next_row + fresh.sum())


def observation(slots: Slots, lag: int) -> Float[Array, "w o"]:
    """The observation of `lag` ticks ago; at an episode's start, its first one."""
    return slots.obs if lag == 0 else slots.past[:, lag - 1]
