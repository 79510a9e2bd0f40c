"""What a method multiplies: per query, per tick that it plans ahead, and per action that it chooses.

Counted from its jaxpr at batch 1, activations and norms included. What a simulator does is not counted.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pandas as pd
from jaxtyping import Array, Float

from rtc.methods import Method, Now, Query
from rtc.shared import jaxprs

MILLION = 1e6


class Costs(NamedTuple):
    """Multiplications.

    Attributes:
        first: of the chunk before an episode's first query.
        query: of a query with all its flow steps.
        ahead: of a query, for every tick between its launch and the planned hand-over.
        tick: of the choice of a tick's action; 0 where the planned action is taken.
    """

    first: int
    query: int
    ahead: int
    tick: int


def example_query(policy: Any, obs: Float[Array, "1 o"], num_steps: int) -> Query:
    """A query at batch 1 as any other, which plans for a delay of one tick."""
    size = policy.action_chunk_size
    leftover = jnp.zeros((1, size, policy.action_dim))
    return Query(
        key=jax.random.key(0)[None],
        obs=obs,
        leftover=leftover,
        planned_delay=jnp.ones(1, jnp.int32),
        overlap_end=jnp.full(1, size - 1),
        predictions=jnp.ones((1, size), jnp.int32),
        flow_steps=jnp.full(1, num_steps),
        execute_horizon=jnp.ones(1, jnp.int32),
        upcoming=leftover,
        known=jnp.ones((1, size), bool),
    )


def example_now(policy: Any, obs: Float[Array, "1 o"]) -> Now:
    """A tick at batch 1 as any other."""
    action, none = jnp.zeros((1, policy.action_dim)), jnp.zeros(1, jnp.int32)
    return Now(jax.random.key(0)[None], obs, action, none, jnp.zeros(1, bool), none, none, action, none)


def of(policy: Any, method: Method, obs_dim: int, num_steps: int) -> Costs:
    """What a method multiplies with a policy.

    Args:
        policy: the policy, observing what it reads.
        method: the method with its networks.
        obs_dim: numbers that are observed.
        num_steps: flow steps of a query.
    """
    leaves, structure = jax.tree.flatten((policy, method))
    return _of(structure, tuple(jax.typeof(leaf) for leaf in leaves), obs_dim, num_steps)


@functools.lru_cache(maxsize=64)
def _of(structure: Any, leaves: tuple[Any, ...], obs_dim: int, num_steps: int) -> Costs:
    shapes = jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves])

    def count(call: Any) -> jaxprs.Multiplications:
        return jaxprs.multiplications(jaxprs.needed(call, *shapes, jax.ShapeDtypeStruct((1, obs_dim), jnp.float32)))

    def first(policy: Any, method: Method, obs: Array) -> Array:
        return method.first_chunk(policy, jax.random.key(0)[None], obs, num_steps)

    def query(policy: Any, method: Method, obs: Array) -> Any:
        asked = example_query(policy, obs, num_steps)._replace(looked=obs if method.privileged else None)
        return method.answer(policy, asked, method.init(policy, 1), asked.planned_delay, num_steps)

    def act(policy: Any, method: Method, obs: Array) -> Any:
        return method.act(policy, example_now(policy, obs), method.init(policy, 1))

    tick = sum(count(act)) if shapes[1].acts else 0
    return Costs(sum(count(first)), *count(query), tick)


def row(costs: Costs, episodes: pd.DataFrame, planned_delay: float, copies: int) -> Mapping[str, float]:
    """The columns of a cell, in millions.

    Args:
        costs: the method's.
        episodes: one row per episode.
        planned_delay: mean delay that was planned for, in ticks.
        copies: how often each query was sent.
    """
    ticks, queries = episodes["returned_episode_lengths"].sum(), copies * episodes["num_queries"].sum()
    query = costs.query + costs.ahead * planned_delay
    total = queries * query + ticks * costs.tick + len(episodes) * costs.first
    return {"query_multiplications": query / MILLION, "multiplications_per_tick": float(total / ticks) / MILLION}
