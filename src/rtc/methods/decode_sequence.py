"""Sequence policies (FAST tokens) inside the executor: the method that decodes with a `SequenceAgent`."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from rtc.methods.base import Answer, Method, Query, State
from rtc.policies.mixer import prefix_mask
from rtc.policies.tokens.engine import Prompt
from rtc.policies.tokens.rules import Rule
from rtc.policies.tokens.sequence_agent import SequenceAgent


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DecodeSequence(Method):
    """Executes a `SequenceAgent`'s chunks; its answer takes as long as its own passes, or as the delay profile says.

    Attributes:
        rule: chooses tokens.
        conditioned: give the policy the actions that are committed for the planned delay.
        own_time: the delay is that of the query's own passes; not with the oracle estimator, which would be told the
            profile's, nor with `anytime`.
        pass_ticks, overhead_ticks: duration of a pass and of the rest of a query, in control ticks.
    """

    rule: Rule
    conditioned: Bool[Array, ""]
    own_time: Bool[Array, ""]
    pass_ticks: Float[Array, ""]
    overhead_ticks: Float[Array, ""]

    def first_chunk(
        self, policy: SequenceAgent, key: Key[Array, " b"], obs: Float[Array, "b o"], num_steps: int
    ) -> Float[Array, "b h a"]:
        return policy.first_chunk(obs)

    def answer(
        self, policy: SequenceAgent, query: Query, state: State, drawn: Int[Array, " b"], num_steps: int
    ) -> tuple[Answer, State]:
        # No longer than the prefixes that the policy has seen.
        longest = policy.main.config.simulated_delay - 1
        prefix = jnp.minimum(jnp.minimum(query.planned_delay, query.overlap_end), longest) * self.conditioned
        decoded = policy.decode(query.key, Prompt(query.obs, query.leftover, prefix), self.rule)
        committed = prefix_mask(prefix, policy.action_chunk_size)
        chunk = jnp.where(committed, query.leftover, policy.chunk(decoded))
        ticks = self.overhead_ticks + decoded.passes * self.pass_ticks
        # A duration that is a whole number of ticks must not become one more by rounding.
        delay = jnp.ceil(ticks - 1e-4).astype(jnp.int32)
        return Answer(chunk, jnp.where(self.own_time, delay, drawn), decoded.passes), state

    def bootstrap_evaluations(self, policy: SequenceAgent, num_steps: int) -> int:
        """Those of a mean chunk: how many passes the chunk before the first query took is not recorded."""
        return policy.tokenizer.config.usual_length

    def problem(self, policy: Any) -> str | None:
        if not isinstance(policy, SequenceAgent):
            return f"needs a SequenceAgent, and this one is {type(policy).__name__}; choose another method"
        return None


def decode_sequence(
    rule: Rule, *, conditioned: bool = True, pass_ticks: float | None = None, overhead_ticks: float = 0.0
) -> DecodeSequence:
    """A `DecodeSequence` from plain numbers; without `pass_ticks` the delay profile says how long an answer takes."""
    return DecodeSequence(
        rule=rule,
        conditioned=jnp.asarray(conditioned),
        own_time=jnp.asarray(pass_ticks is not None),
        pass_ticks=jnp.float32(pass_ticks or 0.0),
        overhead_ticks=jnp.float32(overhead_ticks),
    )
