"""What a method multiplies: per query, per tick that it plans ahead, and per action that it chooses.

Counted from its jaxpr at batch 1, activations and norms included. What a simulator does is not counted.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rtc.control.environment import Environment, start_keys
from rtc.control.metrics import Summary
from rtc.methods import Method, Now, Query, World
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


def of(policy: Any, method: Method, env: Environment, num_steps: int) -> Costs:
    """What a method multiplies with a policy in an environment that observes what the policy reads.

    Args:
        policy: the policy.
        method: the method with its networks.
        env: the environment; what it simulates is not counted.
        num_steps: flow steps of a query.
    """
    leaves, structure = jax.tree.flatten((policy, method, env))
    return _of(structure, tuple(jax.typeof(leaf) for leaf in leaves), num_steps)


@functools.lru_cache(maxsize=64)
def _of(structure: Any, leaves: tuple[Any, ...], num_steps: int) -> Costs:
    shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
    policy, method, env = jax.tree.unflatten(structure, shapes)
    state, obs = jax.eval_shape(lambda env: env.reset(start_keys(1)), env)

    def look(policy: Any, method: Method, env: Environment, state: Any, obs: Array) -> Any:
        return method.look(policy, example_query(policy, obs, num_steps), World(env, state))

    def first(policy: Any, method: Method, obs: Array, looked: Any) -> Array:
        return method.first_chunk(policy, jax.random.key(0)[None], obs, num_steps)

    def query(policy: Any, method: Method, obs: Array, looked: Any) -> Any:
        asked = example_query(policy, obs, num_steps)._replace(looked=looked)
        return method.answer(policy, asked, method.init(policy, 1), asked.planned_delay, num_steps)

    def act(policy: Any, method: Method, obs: Array, looked: Any) -> Any:
        return method.act(policy, example_now(policy, obs), method.init(policy, 1))

    looked = jax.eval_shape(look, policy, method, env, state, obs)

    def count(call: Any) -> jaxprs.Multiplications:
        return jaxprs.multiplications(jaxprs.needed(call, policy, method, obs, looked))

    return Costs(sum(count(first)), *count(query), sum(count(act)) if method.acts else 0)


def row(costs: Costs | None, summary: Summary, copies: int) -> dict[str, float]:
    """The columns of a cell, in millions; none where nobody counted.

    Args:
        costs: the method's.
        summary: of the evaluation.
        copies: how often each query was sent.
    """
    if costs is None:
        return {}
    episodes = summary.episodes
    ticks, queries = episodes["returned_episode_lengths"].sum(), copies * episodes["num_queries"].sum()
    query = costs.query + costs.ahead * summary.row["mean_planned_delay"]
    total = queries * query + ticks * costs.tick + len(episodes) * costs.first
    return {"query_multiplications": query / MILLION, "multiplications_per_tick": float(total / ticks) / MILLION}
