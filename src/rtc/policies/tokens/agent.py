"""RSD inside the asynchronous executor: the agent that takes the place of the policy."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rtc.policies.tokens import engine
from rtc.policies.tokens.engine import Decoded, Prompt
from rtc.policies.tokens.policy import TokenPolicy
from rtc.policies.tokens.rfsq import Tokenizer
from rtc.policies.tokens.rules import Greedy, Rule

# More than any decoding takes, and than any tokenizer has.
NO_DEADLINE = ALL_LAYERS = 1_000


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TokenAgent:
    """A tokenizer with the models that share it; what the executor calls the policy.

    Attributes:
        tokenizer: tokens to actions.
        main: the model whose tokens count.
        bound: actions that drive something in this level; the others are 0, as they were in training.
        draft: the main model's draft; None decodes autoregressively.
    """

    tokenizer: Tokenizer
    main: TokenPolicy
    bound: Bool[Array, " a"]
    draft: TokenPolicy | None = None

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
        prompt = Prompt(obs, nothing, jnp.zeros(batch, jnp.int32))
        return self.chunk(engine.autoregressive(keys, self.main, prompt, Greedy()))

    def decode(self, key: Array, prompt: Prompt, rule: Rule, max_passes: int | Int[Array, ""]) -> Decoded:
        """Decodes with the draft if there is one. Without, every block takes its pass and there is no deadline."""
        if self.draft is None:
            return engine.autoregressive(key, self.main, prompt, rule)
        return engine.speculative(key, self.main, self.draft, prompt, rule, max_passes)

    def chunk(self, decoded: Decoded, depth: Int[Array, ""] | None = None) -> Float[Array, "b h a"]:
        """The actions of what was decoded, of its first `depth` layers if given."""
        missing = self.tokenizer.config.num_layers - decoded.tokens.shape[1]
        tokens = jnp.pad(decoded.tokens, ((0, 0), (0, missing), (0, 0)))
        chunk = self.tokenizer.decode(tokens, decoded.depth if depth is None else jnp.minimum(decoded.depth, depth))
        return jnp.where(self.bound, chunk, 0.0)
