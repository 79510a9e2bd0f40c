"""The asynchronous executor: episodes under random inference delay, batched and exact to the control tick.

Query k of an environment is launched at tick τ_k, on the observation of that tick, and returns d_k ticks later; one
query is in flight at a time. Its chunk has an origin g_k, 0 unless the method plans ahead, and covers ticks τ_k+g_k …
τ_k+g_k+H-1. The next query is launched L_k = max(s_k, d_k) ticks later, s_k being the execute horizon. At tick τ_k+j
the robot executes

    chunk k, entry j-g_k          once it has arrived and begun (j ≥ d_k and j ≥ g_k),
    what it had before query k    before that, where that reaches: with g = 0 chunk k-1, entry L_{k-1}+j,
    the fallback                  else: the tick is *starved*.

A method that acts may change the action of every tick. Observations reach the controller b ticks late, and commands act
m ticks late (`observation_lag`, `actuation_lag`); both are 0 unless given.

Before query 0 a chunk sampled from the first observation is current, as in the simulation of Real-Time Chunking
(arXiv 2506.07339); with a constant delay d ≤ s this executor reproduces that protocol.

Episodes wait in a queue and run in a fixed number of slots; a slot whose episode ends takes the next one. What
happens in an episode depends on the seed and the episode's number alone.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from rtc.control import slots, ticks
from rtc.control.controller import Controller
from rtc.control.environment import Environment
from rtc.control.records import NEVER, Records, empty_records
from rtc.control.slots import Carry
from rtc.methods import Method, Policy
from rtc.shared import runtime
from rtc.shared.devices import on_all_devices
from rtc.shared.validation import require_int

# Per device, at least. With a single slot or episode XLA simplifies the program, and it rounds differently.
MIN_SLOTS = 2
# Queries that the policy answers at a time on a CPU, whose caches that many fill. Accelerators take all slots at once.
QUERY_BLOCK = 16


def _run_queue(
    env: Environment,
    policy: Policy,
    controller: Controller,
    seed_key: Key[Array, ""],
    episodes: Int[Array, "1 n"],
    num_slots: int,
    num_steps: int,
    query_block: int,
    record_poses: bool,
) -> Records:
    """Runs one device's queue of episodes; NEVER in the queue is padding."""
    queue = slots.make_queue(env, policy, controller, seed_key, episodes[0], num_steps, query_block)
    rows = queue.episode.shape[0]
    idle = slots.new_slots(env, policy, controller, queue, jnp.full(num_slots, rows, jnp.int32))
    pose = jax.eval_shape(env.poses, idle.env) if record_poses else ()
    zero = jnp.zeros((), jnp.int32)
    ahead, acts = idle.origin is not None, controller.method.acts
    records = empty_records(rows, env.max_timesteps, policy.action_dim, pose, ahead=ahead, acts=acts)
    start = Carry(idle, zero, zero, records)
    last_row = (queue.episode >= 0).sum()

    def unfinished(carry: Carry) -> Bool[Array, ""]:
        return (carry.next_row < last_row) | (carry.slots.row < rows).any()

    def body(carry: Carry) -> Carry:
        carry = slots.refill(env, policy, controller, carry, queue)
        return ticks.tick(env, policy, controller, carry, num_steps, query_block)

    records = jax.lax.while_loop(unfinished, body, start).records
    return jax.tree.map(lambda x: x[None], records)


def _run(env, policy, controller, seed_key, queues, **sizes) -> Records:
    """One queue of episodes per device, each with its own loop: devices never wait for each other."""
    return on_all_devices(partial(_run_queue, **sizes), replicated=4)(env, policy, controller, seed_key, queues)


def _compiled() -> Callable:
    return runtime.jit(_run, static_argnames=("num_slots", "num_steps", "query_block", "record_poses"))


_run_sharded = _compiled()


def rollout(
    env: Environment,
    policy: Policy,
    controller: Controller,
    *,
    seed: int,
    episodes: Int[np.ndarray, " n"],
    num_steps: int = 5,
    num_slots: int = 64,
    query_block: int | None = None,
    record_poses: bool = False,
) -> Records:
    """Runs episodes to their ends.

    Args:
        env: the level.
        policy: the chunk policy.
        controller: method, delays, estimator and execution rules.
        seed: seed of all randomness; with the episode's number it determines what happens in an episode.
        episodes: episode numbers, at least 0, in any order.
        num_steps: flow steps per query.
        num_slots: episodes simulated at a time, per device. Results do not depend on it.
        query_block: queries that the policy answers at a time; by default what suits the device.
        record_poses: keep what pictures need after every tick; for a few episodes only.

    Returns:
        Records whose row i belongs to `episodes[i]`, as numpy arrays.

    Raises:
        ValueError: an argument is out of range, the method does not work with this policy, or it has planned farther
            ahead than it said that it would.
    """
    require_int("num_steps", num_steps, low=1)
    require_int("num_slots", num_slots, low=1)
    horizon = int(controller.execute_horizon)
    if horizon > policy.action_chunk_size:
        raise ValueError(
            f"execute_horizon={horizon} exceeds the chunk size {policy.action_chunk_size}: choose at most that"
        )
    _check_method(controller.method, policy)
    episodes = np.asarray(episodes, np.int32)
    if episodes.ndim != 1 or episodes.size == 0 or episodes.min() < 0:
        raise ValueError("episodes must be a non-empty vector of numbers of at least 0")
    devices = jax.local_devices()
    per_device = max(MIN_SLOTS, -(-episodes.size // len(devices)))
    padded = np.pad(episodes, (0, per_device * len(devices) - episodes.size), constant_values=NEVER)
    queues = padded.reshape(per_device, len(devices)).T
    num_slots = max(MIN_SLOTS, min(per_device, num_slots))
    if query_block is None:
        query_block = QUERY_BLOCK if devices[0].platform == "cpu" else num_slots
    records = _run_sharded(
        env,
        policy,
        controller,
        jax.random.key(seed),
        queues,
        num_slots=num_slots,
        num_steps=num_steps,
        query_block=query_block,
        record_poses=record_poses,
    )
    in_order = jax.tree.map(lambda x: np.asarray(x).swapaxes(0, 1).reshape(-1, *x.shape[2:]), records)
    found = jax.tree.map(lambda x: x[: episodes.size], in_order)
    _check_origins(controller.method, policy.action_chunk_size, found)
    return found


def slot_ticks(records: Records) -> int:
    """Slot-ticks that all devices simulated for these records, idle ones included; `rollout` deals rows in turn."""
    return int(records.slot_ticks[: len(jax.local_devices())].sum())


def _check_method(method: Method, policy: Policy) -> None:
    name = type(method).__name__
    if problem := method.problem(policy):
        raise ValueError(f"method {name} {problem}")
    if method.waits and method.max_origin(policy.action_chunk_size):
        raise ValueError(f"method {name} waits for its chunks, so they begin when they arrive: let max_origin be 0")


def _check_origins(method: Method, chunk_size: int, records: Records) -> None:
    """Raises ValueError where a chunk began later than the method's `max_origin`, beyond what a slot keeps."""
    if records.origin is None:
        return
    largest, limit = int(records.origin.max(initial=0)), method.max_origin(chunk_size)
    if largest > limit:
        raise ValueError(
            f"method {type(method).__name__} gave a chunk the origin {largest}, but its max_origin is {limit}: "
            "let that be the largest, or plan less far ahead"
        )
