"""How closely the specialised physics follows Kinetix's own step: the same states, the same actions, side by side.

A system with contacts is chaotic: rounding errors grow until two runs have nothing in common but their statistics. So
trajectories are judged against the stock engine's own divergence when velocities are nudged by 1e-7 m/s, and besides,
the two engines are compared tick by tick from the same states, taken from whole episodes of the stock engine. Where a
single tick differs by more than a tolerance, the same tick of the stock engine is repeated from states displaced by
1e-6 m: if that moves a body as far, the state stands on an edge from which rounding decides where it falls.
"""

import dataclasses
import functools
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float

from rtc.control.environment import Environment, Transition, start_keys
from rtc.policies.flow import FlowPolicy
from rtc.shared import runtime
from rtc.shared.devices import on_all_devices
from rtc.shared.validation import require_multiple
from rtc.training import shaping
from rtc.worlds.kinetix import levels
from rtc.worlds.kinetix.levels import Level

NUDGE = 1e-7  # m/s
EDGE = 1e-6  # metres and radians
EDGE_TRIES = 12
NUDGE_EVERY = 8  # ticks; the stock engine is slow
TOLERANCE = 1e-4  # metres


@dataclasses.dataclass
class TickErrors:
    """Differences after one tick from the same state, over all ticks of the stock engine's episodes.

    Attributes:
        position: largest difference of a body's coordinate, metres, per tick and environment; NaN after an episode.
        nudged: the same between the stock engine and itself with velocities nudged, at every NUDGE_EVERY-th tick.
        observation: largest difference of an observation entry, at ticks whose positions agree to TOLERANCE.
        reward: largest difference of a reward.
        flags: ticks at which `done` or `solved` differ.
        apart: ticks at which a position differs by more than TOLERANCE.
        on_edge: those of them at which displacing the state by EDGE moves the stock engine at least half as far.
        ticks: ticks compared.
    """

    position: Float[np.ndarray, "t b"]
    nudged: Float[np.ndarray, "t b"]
    observation: float = 0.0
    reward: float = 0.0
    flags: int = 0
    apart: int = 0
    on_edge: int = 0
    ticks: int = 0

    @classmethod
    def none(cls, ticks: int, batch: int) -> "TickErrors":
        return cls(*(np.full((ticks, batch), np.nan) for _ in range(2)))

    def add(self, tick: int, ours: Transition, theirs: Transition) -> None:
        """Adds a tick's outcomes; its positions must be there."""
        running, close = np.isfinite(self.position[tick]), self.position[tick] <= TOLERANCE

        for name, a, b, among in (
            ("observation", ours.obs, theirs.obs, close),
            ("reward", ours.reward, theirs.reward, running),
        ):
            difference = np.abs(np.asarray(a) - np.asarray(b))[among]
            setattr(self, name, float(difference.max(initial=getattr(self, name))))
        for a, b in ((ours.done, theirs.done), (ours.solved, theirs.solved)):
            self.flags += int((np.asarray(a) != np.asarray(b))[running].sum())
        self.ticks += int(running.sum())


@dataclasses.dataclass(frozen=True)
class Episodes:
    """What whole episodes came to: one entry per episode."""

    returned: Float[np.ndarray, " n"]
    length: Float[np.ndarray, " n"]
    solved: Bool[np.ndarray, " n"]
    failed: Bool[np.ndarray, " n"]


def sticky_actions(seed: int, ticks: int, batch: int, hold: float = 0.85) -> Float[np.ndarray, "t b 6"]:
    """Uniform random actions; each environment keeps its last action with probability `hold`."""
    rng = np.random.default_rng(seed)
    actions = rng.uniform(-1.0, 1.0, (ticks, batch, 6)).astype(np.float32)
    held = rng.uniform(size=(ticks, batch)) < hold
    for tick in range(1, ticks):
        actions[tick] = np.where(held[tick][:, None], actions[tick - 1], actions[tick])
    return actions


def _noisy(bodies: Any, rng: np.random.Generator, **amounts: float) -> Any:
    """Bodies of which those that can move have normal noise of these standard deviations added to the fields."""
    moves = np.asarray(bodies.inverse_mass) != 0

    def noise(values: Any, amount: float) -> np.ndarray:
        draw = (amount * rng.normal(size=values.shape)).astype(np.float32)
        return draw * moves.reshape(moves.shape + (1,) * (values.ndim - moves.ndim))

    fields = {name: getattr(bodies, name) for name in amounts}
    return bodies.replace(**{name: fields[name] + noise(fields[name], amounts[name]) for name in amounts})


def nudged(state: Any, amount: float = NUDGE) -> Any:
    """A stock state with noise in its velocities, m/s and rad/s."""
    return _noisy_state(state, 0, velocity=amount, angular_velocity=amount)


def displaced(state: Any, seed: int, amount: float = EDGE) -> Any:
    """A stock state with noise in its positions, metres, and rotations, radians."""
    return _noisy_state(state, seed, position=amount, rotation=amount)


def _noisy_state(state: Any, seed: int, **amounts: float) -> Any:
    rng = np.random.default_rng(seed)
    polygon, circle = _noisy(state.polygon, rng, **amounts), _noisy(state.circle, rng, **amounts)
    return state.replace(polygon=polygon, circle=circle)


def _select(env: Environment, mask: Any, on_true: Any, on_false: Any) -> Any:
    return env.select(mask, on_true, on_false)


def _step(env: Environment, state: Any, action: Any) -> tuple[Any, Transition]:
    """One tick of either engine."""
    return env.step(state, action)


def _fast_step_from_stock(env: Environment, state: Any, action: Any) -> tuple[Any, Transition]:
    new, outcome = env.step(env.from_stock(state), action)
    return env.poses(new), outcome


@functools.cache
def _programs() -> tuple[Callable, Callable, Callable]:
    """The stock engine's tick, the specialised step's from a stock state, and the stock engine's choice of states."""
    stock, fast = (on_all_devices(tick, replicated=1, divided=2) for tick in (_step, _fast_step_from_stock))
    choose = on_all_devices(_select, replicated=1, divided=3)
    return jax.jit(stock), runtime.jit(fast), jax.jit(choose)


step = runtime.jit(_step)


def _divided(stock: Environment, state: Any) -> Any:
    """Stock states divided among the devices, as `_programs` leave them: else these are compiled twice."""
    none = np.zeros(len(state.timestep), bool)
    return _programs()[2](stock, none, state, state)


def compare_ticks(level: Level, actions: Float[np.ndarray, "t b 6"], rounds: int = 1) -> tuple[TickErrors, Episodes]:
    """Follows the stock engine through whole episodes; every tick is also made by the specialised step.

    Args:
        level: a level that can be specialised.
        actions: one per tick and environment; where they end, unfinished episodes are cut.
        rounds: episodes per environment, one after the other.

    Returns:
        The differences, and the stock engine's episodes.
    """
    ticks, batch, _ = actions.shape
    require_multiple("environments", batch, jax.local_device_count())
    runtime.make_room()
    _, fast_step, restart = _programs()
    stock, fast = levels.make_env(level, "stock"), levels.make_env(level, "fast")
    start = state = _divided(stock, stock.reset(start_keys(batch))[0])
    log = _Log(batch, rounds)
    errors = TickErrors.none(ticks, batch)
    for tick, action in enumerate(actions):
        running = log.running
        fast_poses, fast_outcome = fast_step(fast, state, action)
        again = _Repeated(level, stock, state, action)
        state, outcome = again.state, again.outcome
        position = np.where(running, again.distance(fast_poses), np.nan)
        errors.position[tick] = position
        if tick % NUDGE_EVERY == 0:
            errors.nudged[tick] = np.where(running, again.moved(nudged), np.nan)
        if (far := position > TOLERANCE).any():
            errors.apart += int(far.sum())
            errors.on_edge += int((far & (again.edge() > position / 2)).sum())
        errors.add(tick, fast_outcome, outcome)
        if not log.add(outcome).any():
            break
        if rounds > 1:
            state = restart(stock, outcome.done, start, state)
    return errors, log.episodes()


class _Repeated:
    """A tick of the stock engine that can be made again from states nearby."""

    def __init__(self, level: Level, stock: Environment, state: Any, action: Any):
        self.level, self.stock, self.before, self.action = level, stock, state, action
        self.state, self.outcome = _programs()[0](stock, state, action)

    def distance(self, poses: levels.Poses) -> Float[np.ndarray, " b"]:
        """Largest difference from this tick's poses, metres."""
        return _distance(self.level, self.stock.poses(self.state), poses)

    def moved(self, change: Callable[[Any], Any]) -> Float[np.ndarray, " b"]:
        """The difference that a change of the state before this tick makes."""
        return self.distance(self.stock.poses(_programs()[0](self.stock, change(self.before), self.action)[0]))

    def edge(self) -> Float[np.ndarray, " b"]:
        """The largest difference that some tiny displacements make."""
        return np.max([self.moved(partial(displaced, seed=seed)) for seed in range(EDGE_TRIES)], axis=0)


def run_episodes(level: Level, actions: Float[np.ndarray, "t b 6"], rounds: int = 1) -> Episodes:
    """Whole episodes of the specialised step under given actions; arguments as for `compare_ticks`.

    Episodes one after the other are not alike: one starts with the action under which the last one ended. So only
    runs with the same number of rounds can be compared.
    """
    env = levels.make_env(level)
    state, _ = env.reset(start_keys(actions.shape[1]))
    start, log = state, _Log(actions.shape[1], rounds)
    for action in actions:
        state, outcome = step(env, state, action)
        if not log.add(outcome).any():
            break
        state = env.select(outcome.done, start, state)
    return log.episodes()


def divergence(
    level: Level, actions: Float[np.ndarray, "t b 6"]
) -> tuple[Float[np.ndarray, "t b"], Float[np.ndarray, "t b"]]:
    """How far open-loop runs from the start have come apart, metres: the largest difference up to each tick.

    Returns:
        Of the specialised step and the stock engine; and of the nudged stock engine and the stock engine. NaN after
        an episode's end.
    """
    stock, fast = levels.make_env(level, "stock"), levels.make_env(level, "fast")
    batch, (stock_step, *_) = actions.shape[1], _programs()
    state, fast_state = _divided(stock, stock.reset(start_keys(batch))[0]), fast.reset(start_keys(batch))[0]
    other = nudged(state)
    running, ours, theirs = np.ones(batch, bool), [], []
    for action in actions:
        state, outcome = stock_step(stock, state, action)
        other, _ = stock_step(stock, other, action)
        fast_state, _ = step(fast, fast_state, action)
        for rows, poses in ((ours, fast.poses(fast_state)), (theirs, stock.poses(other))):
            rows.append(np.where(running, _distance(level, stock.poses(state), poses), np.nan))
        running = running & ~np.asarray(outcome.done)
    return np.maximum.accumulate(ours), np.maximum.accumulate(theirs)


class _Log:
    """Sums up a fixed number of episodes per environment, tick by tick."""

    def __init__(self, batch: int, rounds: int):
        self.returned, self.length = np.zeros((rounds, batch)), np.zeros((rounds, batch))
        self.solved, self.failed = np.zeros((rounds, batch), bool), np.zeros((rounds, batch), bool)
        self.finished = np.zeros(batch, int)

    @property
    def running(self) -> Bool[np.ndarray, " b"]:
        """Which environments have episodes left."""
        return self.finished < len(self.returned)

    def add(self, outcome: Transition) -> Bool[np.ndarray, " b"]:
        """Adds a tick of the running episodes; returns which environments go on."""
        reward, done, solved = (np.asarray(x) for x in (outcome.reward, outcome.done, outcome.solved))
        here = self.finished[self.running], np.flatnonzero(self.running)
        reward, done, solved = (x[self.running] for x in (reward, done, solved))
        self.returned[here] += reward
        self.length[here] += 1
        self.solved[here] |= solved
        self.failed[here] |= done & ~solved & (reward < -0.5)
        self.finished[here[1]] += done
        return self.running

    def episodes(self) -> Episodes:
        return Episodes(self.returned.ravel(), self.length.ravel(), self.solved.ravel(), self.failed.ravel())


def _distance(level: Level, a: levels.Poses, b: levels.Poses) -> Float[np.ndarray, " b"]:
    """Largest difference of a body's coordinate per environment, metres; of bodies that exist."""
    active = np.concatenate([level.start.polygon.active, level.start.circle.active])
    first, second = (np.concatenate([np.asarray(position) for position, _ in poses], axis=1) for poses in (a, b))
    return np.abs(first - second)[:, active].max(axis=(1, 2))


def policy_actions(level: Level, policy: FlowPolicy, ticks: int, batch: int, seed: int) -> Float[np.ndarray, "t b 6"]:
    """Actions, with the benchmark's noise, of a policy in closed loop on the specialised step.

    Chunks are executed whole, without delay; episodes go on after their end.
    """
    env, rng, key = levels.make_env(level, "fast"), np.random.default_rng(seed), jax.random.key(seed)
    chunk = jax.jit(lambda obs, tick: policy.action(jax.random.fold_in(key, tick), obs, 5))
    state, obs = env.reset(start_keys(batch))
    actions = []
    for tick in range(ticks):
        entry = tick % policy.action_chunk_size
        if entry == 0:
            planned = np.asarray(chunk(obs, tick))
        noise = rng.normal(0.0, shaping.ACTION_NOISE_STD, (batch, planned.shape[-1])).astype(np.float32)
        actions.append(planned[:, entry] + noise)
        state, outcome = step(env, state, actions[-1])
        obs = outcome.obs
    return np.stack(actions)
