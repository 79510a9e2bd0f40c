"""Wall-clock latency of single queries on this device: what a delay trace is made of."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from rtc import evaluation
from rtc.evaluation import EvalConfig
from rtc.experiment import Subject
from rtc.methods import Query

PERCENTILES = (50, 95, 99)


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
        found = np.percentile(self.warm_ms, PERCENTILES, method="inverted_cdf")
        percentiles = {f"p{level}": float(value) for level, value in zip(PERCENTILES, found, strict=True)}
        warm = {"min": float(self.warm_ms.min()), **percentiles, "max": float(self.warm_ms.max())}
        return {"queries": len(self.warm_ms), **warm, "cold start": self.cold_ms}

    def trace(self) -> pd.DataFrame:
        """What a profile of mode `trace` reads."""
        return pd.DataFrame({"query": range(len(self.warm_ms)), "latency_ms": self.warm_ms})


def query_function(config: EvalConfig, subject: Subject) -> Callable[[int], Float[Array, "1 h a"]]:
    """A function that answers the i-th query, batch 1, from the level's first observation: compiled at its first call.

    Raises:
        ValueError: the method does not fit the policies.
    """
    env, policy, controller = evaluation.prepare(config, subject.level, subject.policy, subject.weak)
    obs = env.reset(1)[1]
    size = policy.action_chunk_size

    @jax.jit
    def answer(policy: Any, method: Any, obs: Array, leftover: Array, index: Array) -> Array:
        query = Query(
            key=jax.random.fold_in(jax.random.key(0), index)[None],
            obs=obs,
            leftover=leftover,
            planned_delay=jnp.ones(1, jnp.int32),
            overlap_end=jnp.full(1, size - 1),
            predictions=jnp.ones((1, size), jnp.int32),
            flow_steps=jnp.full(1, config.num_flow_steps),
        )
        return method.next_chunk(policy, query, config.num_flow_steps)

    leftover = jnp.zeros((1, size, policy.action_dim))
    return lambda index: answer(policy, controller.method, obs, leftover, jnp.int32(index))


def measure(ask: Callable[[int], Array], queries: int, warm_up: int) -> Latency:
    """Times one query after the other, from the call to the chunk in the host's memory.

    Args:
        ask: answers the i-th query.
        queries: queries that count.
        warm_up: queries before them, besides the first.
    """

    def timed(index: int) -> float:
        start = time.perf_counter()
        np.asarray(ask(index))
        return 1e3 * (time.perf_counter() - start)

    cold = timed(0)
    for index in range(warm_up):
        timed(index)
    return Latency(cold, np.array([timed(index) for index in range(queries)]))


def profile(ask: Callable[[int], Array], directory: str, queries: int = 20) -> None:
    """Records some queries with `jax.profiler`, for TensorBoard or Perfetto."""
    with jax.profiler.trace(directory):
        measure(ask, queries, warm_up=0)
