"""RSD inside the asynchronous executor: an agent in the place of the policy, and the method that decodes with it."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rtc import guidance
from rtc.methods import Answer, Method
from rtc.methods import Query as ControlQuery
from rtc.rsd import engine
from rtc.rsd.engine import Decoded, Query
from rtc.rsd.policy import TokenPolicy
from rtc.rsd.rfsq import Tokenizer
from rtc.rsd.rules import Greedy, Rule

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

    def action(self, _rng: None, obs: Float[Array, "b o"], _num_steps: int, *, noise: Array) -> Float[Array, "b h a"]:
        """The chunk before the first query: the most probable tokens, without a committed action."""
        batch = noise.shape[0]
        query = Query(jnp.broadcast_to(obs, (batch, obs.shape[1])), jnp.zeros_like(noise), jnp.zeros(batch, jnp.int32))
        keys = jax.vmap(jax.random.key)(jnp.zeros(batch, jnp.uint32))
        return self.chunk(engine.autoregressive(keys, self.main, query, Greedy()))

    def decode(self, key: Array, query: Query, rule: Rule, max_passes: int | Int[Array, ""]) -> Decoded:
        """Decodes with the draft if there is one. Without, every block takes its pass and there is no deadline."""
        if self.draft is None:
            return engine.autoregressive(key, self.main, query, rule)
        return engine.speculative(key, self.main, self.draft, query, rule, max_passes)

    def chunk(self, decoded: Decoded, depth: Int[Array, ""] | None = None) -> Float[Array, "b h a"]:
        """The actions of what was decoded, of its first `depth` layers if given."""
        missing = self.tokenizer.config.num_layers - decoded.tokens.shape[1]
        tokens = jnp.pad(decoded.tokens, ((0, 0), (0, missing), (0, 0)))
        chunk = self.tokenizer.decode(tokens, decoded.depth if depth is None else jnp.minimum(decoded.depth, depth))
        return jnp.where(self.bound, chunk, 0.0)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Decode(Method):
    """Executes a `TokenAgent`'s chunks; its answer takes as long as its own passes, or as the delay profile says.

    Attributes:
        noise_scale: unused; token policies have no flow.
        rule: chooses and verifies tokens.
        max_passes: deadline in passes of the main model.
        layers: leading layers that are decoded into actions.
        conditioned: give the policy the actions that are committed for the planned delay.
        own_time: the delay is that of the query's own passes; not with the oracle estimator, which would be told the
            profile's, nor with `anytime`.
        pass_ticks, draft_ticks, overhead_ticks: duration of a pass of the main model, of one of the draft, and of the
            rest of a query, in control ticks.
    """

    noise_scale: Float[Array, ""]
    rule: Rule
    max_passes: Int[Array, ""]
    layers: Int[Array, ""]
    conditioned: Bool[Array, ""]
    own_time: Bool[Array, ""]
    pass_ticks: Float[Array, ""]
    draft_ticks: Float[Array, ""]
    overhead_ticks: Float[Array, ""]

    def next_chunk(self, policy: TokenAgent, query: ControlQuery, num_steps: int) -> Float[Array, "b h a"]:
        return self.answer(policy, query, jnp.zeros_like(query.planned_delay), num_steps).chunk

    def answer(self, policy: TokenAgent, query: ControlQuery, drawn: Int[Array, " b"], num_steps: int) -> Answer:
        # No longer than the prefixes that the policy has seen.
        longest = policy.main.config.simulated_delay - 1
        prefix = jnp.minimum(jnp.minimum(query.planned_delay, query.overlap_end), longest) * self.conditioned
        decoded = policy.decode(query.key, Query(query.obs, query.leftover, prefix), self.rule, self.max_passes)
        committed = guidance.prefix_mask(prefix, policy.action_chunk_size)
        chunk = jnp.where(committed, query.leftover, policy.chunk(decoded, self.layers))
        ticks = self.overhead_ticks + decoded.passes * self.pass_ticks + decoded.drafts * self.draft_ticks
        # A duration that is a whole number of ticks must not become one more by rounding.
        delay = jnp.ceil(ticks - 1e-4).astype(jnp.int32)
        return Answer(chunk, jnp.where(self.own_time, delay, drawn), decoded.passes)


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
        noise_scale=jnp.float32(0.0),
        rule=rule,
        max_passes=jnp.int32(max_passes),
        layers=jnp.int32(layers),
        conditioned=jnp.asarray(conditioned),
        own_time=jnp.asarray(pass_ticks is not None),
        pass_ticks=jnp.float32(pass_ticks or 0.0),
        draft_ticks=jnp.float32(draft_ticks),
        overhead_ticks=jnp.float32(overhead_ticks),
    )
