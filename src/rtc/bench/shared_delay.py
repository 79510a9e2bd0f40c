"""How earlier tail studies simulated delay, kept for comparison: one delay for the whole batch, cut to the horizon.

Every query of every environment takes the same d ticks, d is cut to the execute horizon s, and the method knows it. Use
`rtc.control.executor` for anything else: see docs/protocol.md.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from rtc.control.environment import Environment, noisy_action, start_keys
from rtc.delay import sampling
from rtc.delay.sampling import DelayProcess
from rtc.methods import Method, Policy, Query
from rtc.shared import runtime
from rtc.shared.chunks import shift_chunk


def solved(
    env: Environment,
    policy: Policy,
    method: Method,
    process: DelayProcess,
    *,
    seed: int,
    episodes: int,
    execute_horizon: int,
    num_steps: int,
    action_noise: float,
) -> Bool[np.ndarray, " n"]:
    """Which episodes are solved; all start together and the batch runs until the time limit.

    Args:
        execute_horizon: s, in ticks.
        num_steps: flow steps per query.
        action_noise: standard deviation of the noise on executed actions.
    """
    sizes = {"episodes": episodes, "execute_horizon": execute_horizon, "num_steps": num_steps}
    return np.asarray(_compiled(env, policy, method, process, jax.random.key(seed), action_noise, **sizes))


def _run(
    env: Environment,
    policy: Policy,
    method: Method,
    process: DelayProcess,
    key: Key[Array, ""],
    action_noise: Float[Array, ""],
    *,
    episodes: int,
    execute_horizon: int,
    num_steps: int,
) -> Bool[Array, " n"]:
    size, s = policy.action_chunk_size, execute_horizon
    ask = partial(method.next_chunk, policy, num_steps=num_steps)

    def make_query(key: Key[Array, ""], obs: Array, leftover: Array, delay: Int[Array, ""]) -> Query:
        return Query(
            key=jax.random.split(key, episodes),
            obs=obs,
            leftover=leftover,
            planned_delay=jnp.full(episodes, delay),
            overlap_end=jnp.full(episodes, size - s),
            predictions=jnp.zeros((episodes, size), jnp.int32),
            flow_steps=jnp.full(episodes, num_steps),
            execute_horizon=jnp.full(episodes, s),
            upcoming=leftover,
            known=jnp.ones((episodes, size), bool),
        )

    def tick(carry: tuple, inputs: tuple[Array, Array]) -> tuple[tuple, None]:
        state, _obs, over, won = carry
        action, key = inputs
        executed = jax.vmap(noisy_action, (0, 0, None))(jax.random.split(key, episodes), action, action_noise)
        state, outcome = env.step(state, executed)
        return (state, outcome.obs, over | outcome.done, won | (outcome.solved & ~over)), None

    def query(carry: tuple, key: Key[Array, ""]) -> tuple[tuple, None]:
        (state, obs, over, won), leftover, stream = carry
        draw, stream = sampling.sample(process, stream)
        delay = jnp.minimum(draw.delay, s)
        policy_key, noise_key = jax.random.split(key)
        chunk = ask(make_query(policy_key, obs, leftover, delay))
        late = (jnp.arange(s) < delay)[None, :, None]
        actions = jnp.where(late, leftover[:, :s], chunk[:, :s]).swapaxes(0, 1)
        inner, _ = jax.lax.scan(tick, (state, obs, over, won), (actions, jax.random.split(noise_key, s)))
        return (inner, shift_chunk(chunk, jnp.full(episodes, s)), stream), None

    state, obs = env.reset(start_keys(episodes))
    delay_key, first_key, key = jax.random.split(key, 3)
    first = ask(make_query(first_key, obs, jnp.zeros((episodes, size, policy.action_dim)), jnp.int32(0)))
    nobody = jnp.zeros(episodes, bool)
    start: Any = ((state, obs, nobody, nobody), first, sampling.init(delay_key))
    keys = jax.random.split(key, -(-env.max_timesteps // s))
    return jax.lax.scan(query, start, keys)[0][0][3]


_compiled = runtime.jit(_run, static_argnames=("episodes", "execute_horizon", "num_steps"))
