"""Where a control tick's time goes: the closed loop as a whole, and programs that leave parts of it out.

All programs run the same episodes of a fixed length on every device, so that their times per tick can be subtracted:
physics alone and with observations (replaying the actions of the closed loop), the policy alone, physics and policy
in a plain loop, and the executor with them. They alternate in one process; medians count.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from rtc import methods
from rtc.bench import timing
from rtc.control import executor
from rtc.control.blocks import in_blocks
from rtc.control.controller import Controller, ExecutionConfig, make_controller
from rtc.control.environment import Environment, State, Transition, Wrapped, start_keys
from rtc.control.records import Records
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.delay.sampling import make_process
from rtc.methods import FlowMethod, Policy, Query
from rtc.shared import runtime
from rtc.shared.chunks import shift_chunk
from rtc.shared.devices import on_all_devices


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FixedLength(Wrapped):
    """An environment whose episodes all last `ticks` control ticks, whatever happens in them."""

    ticks: int = field(metadata={"static": True})

    @property
    def max_timesteps(self) -> int:
        return self.ticks

    def reset(self, keys: Key[Array, " b"]) -> tuple[State, Float[Array, "b o"]]:
        state, obs = self.env.reset(keys)
        return (state, jnp.zeros(len(keys), jnp.int32)), obs

    def step(self, state: State, action: Float[Array, "b a"]) -> tuple[State, Transition]:
        inner, outcome = self.env.step(state[0], action)
        return (inner, state[1] + 1), outcome._replace(done=state[1] + 1 >= self.ticks)

    def select(self, mask: Bool[Array, " b"], on_true: State, on_false: State) -> State:
        return self.env.select(mask, on_true[0], on_false[0]), jnp.where(mask, on_true[1], on_false[1])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NoPhysics:
    """An environment in which nothing moves."""

    obs_dim: int = field(metadata={"static": True})
    action_dim: int = field(metadata={"static": True})

    def reset(self, keys: Key[Array, " b"]) -> tuple[Float[Array, " b"], Float[Array, "b o"]]:
        return jnp.zeros(len(keys)), jnp.zeros((len(keys), self.obs_dim))

    def step(self, state: Float[Array, " b"], action: Float[Array, "b a"]) -> tuple[State, Transition]:
        no = jnp.zeros(state.shape, bool)
        obs = jnp.broadcast_to(action[:, :1], (*state.shape, self.obs_dim))
        return state, Transition(obs, state, no, no, ~no, state)

    def select(self, mask: Bool[Array, " b"], on_true: State, on_false: State) -> State:
        return jnp.where(mask, on_true, on_false)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NoMethod(FlowMethod):
    """Goes on with the old chunk; reads the observation and calls no network."""

    noise_scale: Float[Array, ""]

    def next_chunk(self, policy: Policy, query: Query, num_steps: int) -> Float[Array, "b h a"]:
        return query.leftover + query.obs.sum(axis=1)[:, None, None]


@dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes:
        env: the level, observing what the policy reads.
        policy: the policy.
        num_steps: flow steps per query.
        num_slots: episodes at a time, per device.
        ticks: control ticks per run.
        query_block: queries that the policy answers at a time.
    """

    env: Environment
    policy: Policy
    num_steps: int
    num_slots: int
    ticks: int
    query_block: int

    @property
    def episodes(self) -> Int[np.ndarray, " n"]:
        return np.arange(self.num_slots * jax.local_device_count())


def controller(method: Any, execute_horizon: int = 1) -> Controller:
    """A method without delay and without action noise."""
    rules = ExecutionConfig(execute_horizon=execute_horizon, action_noise=0.0)
    return make_controller(method, make_process(DelayProfileConfig()), EstimatorConfig().make(), rules)


def closed_loop(setting: Setting, env: Environment, method: Any, execute_horizon: int = 1) -> Callable[[], Records]:
    """The executor with this environment and method."""
    return partial(
        executor.rollout,
        FixedLength(env, setting.ticks),
        setting.policy,
        controller(method, execute_horizon),
        seed=0,
        episodes=setting.episodes,
        num_steps=setting.num_steps,
        num_slots=setting.num_slots,
        query_block=setting.query_block,
    )


def _next_chunk(setting: Setting, policy: Policy, method: Any, obs: Array, chunk: Array, key: Key[Array, ""]) -> Array:
    """The method's chunks for all slots, block by block as the executor asks for them."""
    slot = jnp.arange(setting.num_slots)
    query = Query(
        key=jax.vmap(jax.random.fold_in, (None, 0))(key, slot),
        obs=obs,
        leftover=shift_chunk(chunk, jnp.ones_like(slot)),
        planned_delay=jnp.ones_like(slot),
        overlap_end=jnp.full_like(slot, chunk.shape[1] - 1),
        predictions=jnp.zeros(chunk.shape[:2], jnp.int32),
        flow_steps=jnp.full_like(slot, setting.num_steps),
        execute_horizon=jnp.ones_like(slot),
        upcoming=chunk,
        known=jnp.ones(chunk.shape[:2], bool),
    )
    ask = partial(method.next_chunk, policy, num_steps=setting.num_steps)
    return in_blocks(ask, slot >= 0, query, chunk, setting.query_block)


def _replay(setting: Setting, observe: bool, actions: Float[Array, "1 t b a"]) -> Array:
    """Physics alone: nothing reads the observation, so the compiler drops it, unless `observe`."""

    def tick(state: State, action: Array) -> tuple[State, Array]:
        state, outcome = setting.env.step(state, action)
        read = outcome.obs.sum(axis=1) if observe else jnp.zeros(())
        return state, (outcome.reward + outcome.distance + outcome.done + read).sum()

    return jax.lax.scan(tick, setting.env.reset(start_keys(setting.num_slots))[0], actions[0])[1][None]


def _policy_alone(setting: Setting, policy: Policy, method: Any, keys: Key[Array, " 1"]) -> Array:
    """A query of every slot at every tick, on observations that change."""
    obs = setting.env.reset(start_keys(setting.num_slots))[1]

    def tick(i: Array, chunk: Array) -> Array:
        return _next_chunk(setting, policy, method, obs + 1e-3 * i, chunk, jax.random.fold_in(keys[0], i))

    shape = (setting.num_slots, policy.action_chunk_size, policy.action_dim)
    return jax.lax.fori_loop(0, setting.ticks, tick, jnp.zeros(shape))[None]


def _plain_loop(setting: Setting, policy: Policy, method: Any, keys: Key[Array, " 1"]) -> Array:
    """Observe, ask the policy, step: the closed loop without an executor."""

    def tick(carry: tuple, i: Array) -> tuple[tuple, Array]:
        state, obs, chunk = carry
        chunk = _next_chunk(setting, policy, method, obs, chunk, jax.random.fold_in(keys[0], i))
        state, outcome = setting.env.step(state, chunk[:, 0])
        return (state, outcome.obs, chunk), (outcome.reward + outcome.distance + outcome.done).sum()

    chunk = jnp.zeros((setting.num_slots, policy.action_chunk_size, policy.action_dim))
    start = (*setting.env.reset(start_keys(setting.num_slots)), chunk)
    return jax.lax.scan(tick, start, jnp.arange(setting.ticks))[1][None]


def _everywhere(function: Callable, replicated: int) -> Callable:
    """The program on every device; its last argument is divided among them."""
    return runtime.jit(on_all_devices(function, replicated=replicated))


def programs(setting: Setting, names: tuple[str, ...], long_horizon: int) -> dict[str, Callable[[], Any]]:
    """The programs to time, by name; those of a method start with "<method>: "."""
    devices = jax.local_device_count()
    keys = jax.random.split(jax.random.key(0), devices)
    driver = methods.make(names[0])
    actions = closed_loop(setting, setting.env, driver)().actions
    actions = jnp.asarray(actions.reshape(setting.num_slots, devices, setting.ticks, -1).transpose(1, 2, 0, 3))
    still = NoPhysics(setting.env.obs_dim, setting.env.action_dim)
    found = {
        "physics": partial(_everywhere(partial(_replay, setting, False), 0), actions),
        "observed": partial(_everywhere(partial(_replay, setting, True), 0), actions),
        "executor": closed_loop(setting, still, NoMethod(jnp.float32(1))),
    }
    alone, plain = (_everywhere(partial(part, setting), 2) for part in (_policy_alone, _plain_loop))
    for name in names:
        method = methods.make(name)
        found |= {
            f"{name}: policy": partial(alone, setting.policy, method, keys),
            f"{name}: plain": partial(plain, setting.policy, method, keys),
            f"{name}: loop": closed_loop(setting, setting.env, method),
            f"{name}: long": closed_loop(setting, setting.env, method, long_horizon),
        }
    return found


def tick_table(setting: Setting, names: tuple[str, ...], long_horizon: int, repeats: int) -> list[dict[str, Any]]:
    """One row per method: microseconds per slot and control tick of one device.

    Args:
        setting: what is measured.
        names: execution methods.
        long_horizon: the execute horizon that is compared with 1.
        repeats: runs of each program.
    """
    per_tick = 1e3 / (setting.num_slots * setting.ticks)
    spent = timing.in_turn(programs(setting, names, long_horizon), repeats)
    rows = []
    for name in names:
        part = {key.removeprefix(f"{name}: "): values * per_tick for key, values in spent.items()}
        queries = part["long"] - part["loop"] + part["policy"]
        row = {
            "physics (µs)": part["physics"],
            "observation (µs)": part["observed"] - part["physics"],
            "policy (µs)": part["policy"],
            "executor (µs)": part["executor"],
            "plain loop (µs)": part["plain"],
            "closed loop (µs)": part["loop"],
            "overhead": part["loop"] / part["plain"] - 1,
            f"s = {long_horizon} (µs)": part["long"],
            f"policy at s = {long_horizon} / at s = 1": queries / part["policy"],
        }
        rows.append({"method": name} | {key: float(np.median(values)) for key, values in row.items()})
    return rows
