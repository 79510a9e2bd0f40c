"""What an expert sees and is paid for: action noise, observation history and dense reward as pure functions.

Nothing here owns an environment: every function takes one (`rtc.control.environment.Environment`) and returns new
states. Episodes restart by themselves only in `step_and_reset`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from rtc.control.environment import Environment, State, Transition
from rtc.policies import delayed

ACTION_NOISE_STD = 0.1  # standard deviation of the benchmark's action noise
DISTANCE_SCALE = 6.0  # metres of goal distance that cost a full reward unit over a whole episode


class Shaping(NamedTuple):
    """What the expert is paid for besides the environment's own reward; the defaults are the published ones.

    Attributes:
        distance_cost: factor of the penalty for ticks spent away from the goal.
        progress: reward per metre that a tick comes closer to the goal than the episode ever was.
        failure_relief: share of the environment's penalty for failing, 1, that is paid back.
    """

    distance_cost: float = 1.0
    progress: float = 0.0
    failure_relief: float = 0.0


PUBLISHED_SHAPING = Shaping()


class TrackedState(NamedTuple):
    """An environment batch together with what the expert remembers of the episode.

    Attributes:
        env: the environment's own state.
        history: the last observations, oldest first.
        commands: the last commanded actions (before noise), oldest first; zeros at the start.
        delay: age in ticks of the newest observation that the expert may see.
        tick: control ticks since the episode's start.
        closest: smallest distance to the goal so far, metres; NaN at the start.
    """

    env: State
    history: Float[Array, "b k n"]
    commands: Float[Array, "b m a"]
    delay: Int[Array, " b"]
    tick: Int[Array, " b"]
    closest: Float[Array, " b"]


def dense_reward(
    transition: Transition,
    tick: Int[Array, " b"],
    max_timesteps: int,
    closest_before: Float[Array, " b"],
    shaping: Shaping,
) -> Float[Array, " b"]:
    """The environment's reward less a penalty for every tick spent away from the goal, plus what `shaping` adds.

    A tick costs `distance / DISTANCE_SCALE / max_timesteps`. An episode that ends without the goal pays this
    for all the ticks that remained, so failing early never saves anything. A non-finite state counts as a
    failure at `DISTANCE_SCALE` metres.

    Args:
        transition: outcome of this tick.
        tick: ticks done in this episode, this one included.
        max_timesteps: time limit of an episode in ticks.
        closest_before: smallest distance to the goal before this tick; NaN counts as no progress.
        shaping: factors.
    """
    distance = jnp.where(transition.finite, transition.distance, DISTANCE_SCALE)
    reward = jnp.where(transition.finite, transition.reward, 0.0)
    failed = transition.done & ~transition.solved
    charged_ticks = jnp.where(failed, 1 + max_timesteps - tick, 1)
    cost = shaping.distance_cost * charged_ticks * distance / DISTANCE_SCALE / max_timesteps
    progress = shaping.progress * jnp.maximum(jnp.nan_to_num(closest_before - distance, nan=0.0), 0.0)
    relief = shaping.failure_relief * (failed & (reward < -0.5))
    return reward - cost + progress + relief


def reset(env: Environment, keys: Key[Array, " b"], history: int, delay: int = 0) -> TrackedState:
    """Start of an episode per key; the history holds nothing but the first observation.

    Args:
        env: the environment, observing what the expert looks at.
        keys: what their starts are drawn with.
        history: number of observations that the expert sees.
        delay: largest age of the newest of them; the environments have 0 to `delay` in turn.
    """
    env_state, obs = env.reset(keys)
    batch = len(keys)
    return TrackedState(
        env=env_state,
        history=jnp.repeat(obs[:, None], history + delay, axis=1),
        commands=jnp.zeros((batch, max(delay, 1), env.action_dim), obs.dtype),
        delay=jnp.arange(batch) % (delay + 1),
        tick=jnp.zeros(batch, jnp.int32),
        closest=jnp.full(batch, jnp.nan),
    )


def step(
    env: Environment,
    state: TrackedState,
    action: Float[Array, "b a"],
    executed: Float[Array, "b a"],
    shaping: Shaping = PUBLISHED_SHAPING,
) -> tuple[TrackedState, Transition]:
    """One control tick. The returned transition carries the dense reward.

    Args:
        env: the environment.
        state: its state.
        action: the commanded action, which the expert remembers.
        executed: the action that is executed: the commanded one with noise.
        shaping: factors of the dense reward.
    """
    env_state, transition = env.step(state.env, executed)
    tick = state.tick + 1
    tracked = TrackedState(
        env=env_state,
        history=jnp.concatenate([state.history[:, 1:], transition.obs[:, None]], axis=1),
        commands=jnp.concatenate([state.commands[:, 1:], action[:, None]], axis=1),
        delay=state.delay,
        tick=tick,
        closest=jnp.fmin(state.closest, transition.distance),
    )
    reward = dense_reward(transition, tick, env.max_timesteps, state.closest, shaping)
    return tracked, transition._replace(reward=reward)


def select(env: Environment, mask: Bool[Array, " b"], on_true: TrackedState, on_false: TrackedState) -> TrackedState:
    """Per-environment choice between two batches."""
    rest = jax.tree.map(
        lambda a, b: jnp.where(mask.reshape(-1, *[1] * (a.ndim - 1)), a, b),
        on_true._replace(env=None),
        on_false._replace(env=None),
    )
    return rest._replace(env=env.select(mask, on_true.env, on_false.env))


def step_and_reset(
    env: Environment,
    state: TrackedState,
    start: TrackedState,
    action: Float[Array, "b a"],
    executed: Float[Array, "b a"],
    shaping: Shaping = PUBLISHED_SHAPING,
) -> tuple[TrackedState, Transition]:
    """`step`, then episodes that ended continue from `start`, the batch that `reset` returned."""
    state, transition = step(env, state, action, executed, shaping)
    return select(env, transition.done, start, state), transition


def features(state: TrackedState, delay: int = 0) -> Float[Array, "b f"]:
    """Network input: the observations that the expert may see and the commands since, see `delayed.features`.

    Args:
        state: the state.
        delay: largest delay, as given to `reset`.
    """
    return delayed.features(state.history, state.commands, state.delay, delay)
