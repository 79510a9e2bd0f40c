"""FAST tokens inside the executor: the agent that takes the place of the policy."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rtc.policies.tokens import sequence
from rtc.policies.tokens.engine import Prompt
from rtc.policies.tokens.fast import FastTokenizer
from rtc.policies.tokens.rules import Greedy, Rule
from rtc.policies.tokens.sequence import Sequence, SequencePolicy


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SequenceAgent:
    """A tokenizer with the policy of its tokens; what the executor calls the policy.

    Attributes:
        tokenizer: tokens to actions.
        main: the policy of the tokens.
        bound: actions that drive something in this level; the others are 0, as they were in training.
    """

    tokenizer: FastTokenizer
    main: SequencePolicy
    bound: Bool[Array, " a"]

    @property
    def action_chunk_size(self) -> int:
        """H, in control ticks."""
        return self.tokenizer.config.action_chunk_size

    @property
    def action_dim(self) -> int:
        """Numbers per action."""
        return self.tokenizer.config.action_dim

    def first_chunk(self, obs: Float[Array, "b o"]) -> Float[Array, "b h a"]:
        """The chunk before the first query: the most probable tokens, without a committed action."""
        batch = obs.shape[0]
        nothing = jnp.zeros((batch, self.action_chunk_size, self.action_dim))
        keys = jax.vmap(jax.random.key)(jnp.zeros(batch, jnp.uint32))
        return self.chunk(self.decode(keys, Prompt(obs, nothing, jnp.zeros(batch, jnp.int32)), Greedy()))

    def decode(self, key: Array, prompt: Prompt, rule: Rule) -> Sequence:
        """Decodes until the chunk is complete."""
        return sequence.decode(key, self.main, self.tokenizer, prompt, rule)

    def chunk(self, decoded: Sequence) -> Float[Array, "b h a"]:
        """The actions of what was decoded."""
        return jnp.where(self.bound, self.tokenizer.decode(decoded.tokens, decoded.passes), 0.0)
