"""Token policies inside the executor: the method that decodes with a `TokenAgent`."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from rtc.methods.base import Answer, Method, Query, State
from rtc.policies.mixer import prefix_mask
from rtc.policies.tokens.agent import ALL_LAYERS, NO_DEADLINE, TokenAgent
from rtc.policies.tokens.engine import Prompt
from rtc.policies.tokens.rules import Rule


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Decode(Method):
    """Executes a `TokenAgent`'s chunks; its answer takes as long as its own passes, or as the delay profile says.

    Attributes:
        rule: chooses and verifies tokens.
        max_passes: deadline in passes of the main model.
        layers: leading layers that are decoded into actions.
        conditioned: give the policy the actions that are committed for the planned delay.
        own_time: the delay is that of the query's own passes; not with the oracle estimator, which would be told the
            profile's, nor with `anytime`.
        pass_ticks, draft_ticks, overhead_ticks: duration of a pass of the main model, of one of the draft, and of the
            rest of a query, in control ticks.
    """

    rule: Rule
    max_passes: Int[Array, ""]
    layers: Int[Array, ""]
    conditioned: Bool[Array, ""]
    own_time: Bool[Array, ""]
    pass_ticks: Float[Array, ""]
    draft_ticks: Float[Array, ""]
    overhead_ticks: Float[Array, ""]

    def first_chunk(
        self, policy: TokenAgent, key: Key[Array, " b"], obs: Float[Array, "b o"], num_steps: int
    ) -> Float[Array, "b h a"]:
        return policy.first_chunk(obs)

    def answer(
        self, policy: TokenAgent, query: Query, state: State, drawn: Int[Array, " b"], num_steps: int
    ) -> tuple[Answer, State]:
        # No longer than the prefixes that the policy has seen.
        longest = policy.main.config.simulated_delay - 1
        prefix = jnp.minimum(jnp.minimum(query.planned_delay, query.overlap_end), longest) * self.conditioned
        decoded = policy.decode(query.key, Prompt(query.obs, query.leftover, prefix), self.rule, self.max_passes)
        committed = prefix_mask(prefix, policy.action_chunk_size)
        chunk = jnp.where(committed, query.leftover, policy.chunk(decoded, self.layers))
        ticks = self.overhead_ticks + decoded.passes * self.pass_ticks + decoded.drafts * self.draft_ticks
        # A duration that is a whole number of ticks must not become one more by rounding.
        delay = jnp.ceil(ticks - 1e-4).astype(jnp.int32)
        return Answer(chunk, jnp.where(self.own_time, delay, drawn), decoded.passes), state

    def bootstrap_evaluations(self, policy: TokenAgent, num_steps: int) -> int:
        return len(policy.main.config.blocks)

    def problem(self, policy: Any) -> str | None:
        if not isinstance(policy, TokenAgent):
            return f"needs a TokenAgent, and this one is {type(policy).__name__}; choose a method of flow policies"
        return None


def decode(
    rule: Rule,
    *,
    max_passes: int = NO_DEADLINE,
    layers: int = ALL_LAYERS,
    conditioned: bool = True,
    pass_ticks: float | None = None,
    draft_ticks: float = 0.0,
    overhead_ticks: float = 0.0,
) -> Decode:
    """A `Decode` from plain numbers; without `pass_ticks` the delay profile says how long an answer takes."""
    return Decode(
        rule=rule,
        max_passes=jnp.int32(max_passes),
        layers=jnp.int32(layers),
        conditioned=jnp.asarray(conditioned),
        own_time=jnp.asarray(pass_ticks is not None),
        pass_ticks=jnp.float32(pass_ticks or 0.0),
        draft_ticks=jnp.float32(draft_ticks),
        overhead_ticks=jnp.float32(overhead_ticks),
    )
