"""Wall-clock latency of single queries on this device: what a delay trace is made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from rtc.bench import timing
from rtc.control.environment import start_keys
from rtc.delay.logs import trace_table
from rtc.shared.tables import percentiles
from rtc.study import costs
from rtc.study.evaluation import EvalConfig
from rtc.study.subject import FlowSubject


@dataclass(frozen=True)
class Latency:
    """Times of one method's queries, in ms.

    Attributes:
        cold_ms: the first query: tracing, compilation or a look into its cache, and the query itself.
        warm_ms: the queries that count.
    """

    cold_ms: float
    warm_ms: Float[np.ndarray, " n"]

    def row(self) -> dict[str, float]:
        """Percentiles of the warm queries (values that occurred), their extremes, and the cold start."""
        middle = {f"p{level}": value for level, value in percentiles(self.warm_ms).items()}
        warm = {"min": float(self.warm_ms.min()), **middle, "max": float(self.warm_ms.max())}
        return {"queries": len(self.warm_ms), **warm, "cold start": self.cold_ms}

    def trace(self) -> pd.DataFrame:
        """What a profile of mode `trace` reads."""
        return trace_table(self.warm_ms)


def query_function(config: EvalConfig, subject: FlowSubject) -> Callable[[int], Float[Array, "1 h a"]]:
    """A function that answers the i-th query, batch 1, from the level's first observation: compiled at its first call.

    Raises:
        ValueError: the method does not fit the policies.
    """
    env, policy, controller = subject.prepare(config)
    obs = env.reset(start_keys(1))[1]

    @jax.jit
    def answer(policy: Any, method: Any, obs: Array, leftover: Array, index: Array) -> Array:
        key = jax.random.fold_in(jax.random.key(0), index)[None]
        query = costs.example_query(policy, obs, config.num_flow_steps)
        query = query._replace(key=key, leftover=leftover, upcoming=leftover)
        drawn = query.planned_delay
        return method.answer(policy, query, method.init(policy, 1), drawn, config.num_flow_steps)[0].chunk

    leftover = jnp.zeros((1, policy.action_chunk_size, policy.action_dim))
    return lambda index: answer(policy, controller.method, obs, leftover, jnp.int32(index))


def act_function(config: EvalConfig, subject: FlowSubject) -> Callable[[int], Float[Array, "1 a"]]:
    """The same for the choice of a single action, of a method that acts at every tick."""
    env, policy, controller = subject.prepare(config)
    obs = env.reset(start_keys(1))[1]

    @jax.jit
    def act(policy: Any, method: Any, obs: Array, action: Array, index: Array) -> Array:
        key = jax.random.fold_in(jax.random.key(0), index)[None]
        now = costs.example_now(policy, obs)._replace(key=key, action=action, last_action=action)
        return method.act(policy, now, method.init(policy, 1))[0].action

    action = jnp.zeros((1, policy.action_dim))
    return lambda index: act(policy, controller.method, obs, action, jnp.int32(index))


def timed(ask: Callable[[int], Array], index: int) -> float:
    """Milliseconds from the call to the chunk in the host's memory."""
    return timing.milliseconds(lambda: np.asarray(ask(index)))[1]


def measure(ask: Mapping[str, Callable[[int], Array]], queries: int, warm_up: int, block: int) -> dict[str, Latency]:
    """Times queries of several methods, one after the other; methods take turns, so that none gets the quiet minutes.

    Args:
        ask: by method, what answers its i-th query.
        queries: queries that count, per method.
        warm_up: queries before each block.
        block: queries of a method per turn.
    """
    cold = {name: timed(answer, 0) for name, answer in ask.items()}
    warm: dict[str, list[float]] = {name: [] for name in ask}
    for first in range(0, queries, block):
        for name, answer in ask.items():
            for index in range(warm_up):
                timed(answer, index)
            warm[name] += [timed(answer, index) for index in range(first, min(first + block, queries))]
    return {name: Latency(cold[name], np.array(times)) for name, times in warm.items()}


def profile(ask: Callable[[int], Array], directory: str, queries: int = 20) -> None:
    """Records some queries with `jax.profiler`, for TensorBoard or Perfetto."""
    with jax.profiler.trace(directory):
        for index in range(queries):
            timed(ask, index)
