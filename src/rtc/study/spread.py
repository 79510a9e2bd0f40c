"""How much a policy's chunks differ: between draws for one observation, and between neighbouring queries.

Measured along episodes without delay that execute one fresh chunk's first action per tick. Besides that chunk, several
more are drawn at every tick. The noise of a draw belongs to the ticks that its actions are for, and stays with them
from query to query. So what differs between two draws at one tick is the sampling, and what differs between the actions
that the same draw has for one tick in the chunks of two queries is the observation and the action's place in the chunk.
Actions are clipped to their bounds, and only those count that drive something in the level. All values are root mean
squares.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rtc.control import environment
from rtc.control.environment import Environment
from rtc.policies.flow import FlowPolicy
from rtc.shared import runtime
from rtc.shared.validation import require_int
from rtc.study import preparation
from rtc.study.evaluation import EvalConfig
from rtc.study.subject import FlowSubject
from rtc.worlds.kinetix import levels

LAGS = (1, 2, 4)


class Sums(NamedTuple):
    """Squares and their numbers, summed over ticks."""

    first: Float[Array, ""]
    chunk: Float[Array, ""]
    revision: Float[Array, ""]
    ahead: Float[Array, " l"]
    fresh: Float[Array, " l"]
    ticks: Float[Array, ""]
    ticks_ahead: Float[Array, " l"]


def measure(subject: FlowSubject, *, draws: int = 8, episodes: int = 64, seed: int = 0) -> dict[str, float]:
    """Root mean squares, in units of actions, over all ticks of the episodes.

    Args:
        subject: the policy on its level.
        draws: chunks per observation.
        episodes: episodes, all at once.
        seed: of all noise.

    Returns:
        `spread_first` and `spread_chunk`: standard deviation over draws of a chunk's first action, and of all of its
        actions. `revision`: change of what is planned for a tick between two neighbouring queries, with the same noise.
        `ahead_<l>`: what a query planned for the tick l ticks later against the first action of that tick's own
        query, with the same noise; `fresh_<l>`: with other noise, as in use. NaN where a chunk is not so long.

    Raises:
        ValueError: fewer than two draws, or no episodes.
    """
    require_int("draws", draws, low=2)
    require_int("episodes", episodes, low=1)
    config = EvalConfig()
    env, policy = preparation.observed(subject.level, subject.policy, config.physics)
    bound = jnp.asarray(subject.level.bound_actions)
    sums = _measure(
        env,
        policy,
        bound,
        jax.random.key(seed),
        config.execution.action_noise,
        num_steps=config.num_flow_steps,
        draws=draws,
        episodes=episodes,
    )
    first, chunk, revision, ahead, fresh, ticks, ticks_ahead = (np.asarray(x, float) for x in sums)
    found = {
        "spread_first": first / ticks,
        "spread_chunk": chunk / ticks,
        "revision": revision / max(ticks_ahead[0], 1),
    }
    there = [lag < subject.chunk_size for lag in LAGS]
    for name, total in (("ahead", ahead), ("fresh", fresh)):
        for number, lag in enumerate(LAGS):
            found[f"{name}_{lag}"] = total[number] / max(ticks_ahead[number], 1) if there[number] else np.nan
    return {name: float(np.sqrt(value)) for name, value in found.items()}


def _clipped(chunk: Float[Array, "*n a"]) -> Float[Array, "*n a"]:
    low = jnp.where(jnp.arange(chunk.shape[-1]) < levels.LARGE.num_motor_bindings, -1.0, 0.0)
    return jnp.clip(chunk, low, 1.0)


def _squares(difference: Float[Array, "d b *n a"], live: Bool[Array, " b"], bound: Bool[Array, " a"]) -> Array:
    """Sum over live episodes of the mean square over draws, entries and bound actions."""
    squares = jnp.where(bound, difference**2, 0.0).sum(axis=-1) / bound.sum()
    per_episode = squares.mean(axis=tuple(axis for axis in range(squares.ndim) if axis != 1))
    return jnp.where(live, per_episode, 0.0).sum()


@partial(runtime.jit, static_argnames=("num_steps", "draws", "episodes"))
def _measure(
    env: Environment,
    policy: FlowPolicy,
    bound: Bool[Array, " a"],
    key: PRNGKeyArray,
    action_noise: float,
    *,
    num_steps: int,
    draws: int,
    episodes: int,
) -> Sums:
    size, ticks = policy.action_chunk_size, env.max_timesteps
    noise_key, start_key, run_key = jax.random.split(key, 3)
    # By tick: an action's noise is that of the tick that it is for.
    noise = jax.random.normal(noise_key, (draws, episodes, ticks + size, policy.action_dim))
    state, obs = env.reset(jax.random.split(start_key, episodes))

    def sample(obs: Array, own: Array, now: Array) -> tuple[Array, Array]:
        """The chunk to execute, and the draws."""
        all_noise = jnp.concatenate([own[None], jax.lax.dynamic_slice_in_dim(noise, now, size, axis=2)])
        repeated = jnp.broadcast_to(obs, (draws + 1, *obs.shape)).reshape(-1, obs.shape[-1])
        found = policy.action(None, repeated, num_steps, noise=all_noise.reshape(-1, *own.shape[1:]))
        executed, *drawn = found.reshape(draws + 1, *own.shape)
        return executed, _clipped(jnp.stack(drawn))

    def tick(carry: tuple, inputs: tuple[Array, PRNGKeyArray]) -> tuple[tuple, Sums]:
        state, obs, live, past = carry
        now, key = inputs
        own_key, act_key = jax.random.split(key)
        executed, drawn = sample(obs, jax.random.normal(own_key, (episodes, size, policy.action_dim)), now)
        sums = _sums(drawn, past, live, now, bound)
        state, moved = env.step(state, environment.noisy_action(act_key, executed[:, 0], action_noise))
        return (state, moved.obs, live & ~moved.done, jnp.concatenate([drawn[None], past[:-1]])), sums

    past = jnp.zeros((max(LAGS), draws, episodes, size, policy.action_dim))
    inputs = jnp.arange(ticks), jax.random.split(run_key, ticks)
    _, sums = jax.lax.scan(tick, (state, obs, jnp.ones(episodes, bool), past), inputs)
    return jax.tree.map(lambda x: x.sum(axis=0), sums)


def _sums(
    drawn: Float[Array, "d b h a"],
    past: Float[Array, "l d b h a"],
    live: Bool[Array, " b"],
    now: Int[Array, ""],
    bound: Bool[Array, " a"],
) -> Sums:
    """What one tick adds; `past` holds the draws of the ticks before it, newest first."""
    draws, _, size, _ = drawn.shape
    ahead, fresh, counts = [], [], []
    for lag in LAGS:
        there = live & (now >= lag) & (lag < size)
        planned = past[lag - 1][:, :, min(lag, size - 1)]
        ahead.append(_squares(planned - drawn[:, :, 0], there, bound))
        fresh.append(_squares(jnp.roll(planned, 1, axis=0) - drawn[:, :, 0], there, bound))
        counts.append(there.sum())
    varied = drawn - drawn.mean(axis=0)
    unbiased = draws / (draws - 1)
    return Sums(
        unbiased * _squares(varied[:, :, 0], live, bound),
        unbiased * _squares(varied, live, bound),
        _squares(past[0][:, :, 1:] - drawn[:, :, :-1], live & (now >= 1), bound),
        jnp.stack(ahead),
        jnp.stack(fresh),
        live.sum().astype(jnp.float32),
        jnp.stack(counts).astype(jnp.float32),
    )
