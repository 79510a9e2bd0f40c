"""Autoregressive policies over sequences of tokens of no fixed length: what decodes FAST tokens.

One pass gives one token. A chunk is complete when its tokens hold all of its coefficients, so the number of passes is
random by nature, as is the time that a query takes. Passes keep the keys and values of the tokens before (a cache).
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray

from rtc.policies.mixer import prefix_mask
from rtc.policies.tokens.engine import Prompt, fold
from rtc.policies.tokens.fast import FastConfig, FastTokenizer
from rtc.policies.tokens.policy import TokenModelConfig, TransformerBlock
from rtc.policies.tokens.rfsq import mlp
from rtc.policies.tokens.rules import Rule

# Keys and values of every transformer block: [b, c, heads, features].
Cache = list[tuple[Array, Array]]


@dataclasses.dataclass(frozen=True)
class SequenceModelConfig:
    """Size of a sequence policy; by default that of RSD's main model.

    Attributes:
        dim, depth, num_heads, obs_hidden_dim, simulated_delay: as in `TokenModelConfig`.

    Raises:
        ValueError: a field is out of range.
    """

    dim: int = 64
    depth: int = 2
    num_heads: int = 4
    obs_hidden_dim: int = 256
    simulated_delay: int = 5

    def __post_init__(self) -> None:
        self.of_blocks()

    def of_blocks(self) -> TokenModelConfig:
        """The same, for the transformer's blocks."""
        return TokenModelConfig(blocks=(1,), **dataclasses.asdict(self))


class SequencePolicy(nnx.Module):
    """Distribution of the next token given an observation, the committed actions and the tokens before.

    Positions are counted in coefficients, not in tokens: how much of the chunk is there is what the next token has to
    fit.

    Args:
        obs_dim: size of the observation.
        tokens: the tokenizer's sizes.
        config: size of the network.
        rngs: source of the initial weights.
    """

    def __init__(self, *, obs_dim: int, tokens: FastConfig, config: SequenceModelConfig, rngs: nnx.Rngs):
        self.obs_dim, self.tokens, self.config = obs_dim, tokens, config
        prefix = tokens.action_chunk_size * (tokens.action_dim + 1)
        self.observe = mlp((obs_dim + prefix, config.obs_hidden_dim, config.obs_hidden_dim, config.dim), rngs)
        normal = nnx.initializers.normal(0.02)
        # The last row stands before the first token.
        self.embedding = nnx.Param(normal(rngs.params(), (tokens.vocabulary + 1, config.dim)))
        self.position = nnx.Param(normal(rngs.params(), (tokens.coefficients, config.dim)))
        self.stack = nnx.List([TransformerBlock(config.of_blocks(), rngs) for _ in range(config.depth)])
        self.norm = nnx.LayerNorm(config.dim, rngs=rngs)
        self.head = nnx.Linear(config.dim, tokens.vocabulary, rngs=rngs)

    def context(self, prompt: Prompt) -> Float[Array, "b d"]:
        """What a query's passes share: the observation and the committed actions, embedded."""
        mask = prefix_mask(prompt.prefix, self.tokens.action_chunk_size)
        given = jnp.where(mask, prompt.committed, 0.0)
        batch = len(prompt.obs)
        inputs = [prompt.obs, given.reshape(batch, -1), jnp.broadcast_to(mask, given[..., :1].shape).reshape(batch, -1)]
        return self.observe(jnp.concatenate(inputs, axis=-1))

    def logits(
        self, context: Float[Array, "b d"], tokens: Int[Array, "b t"], filled: Int[Array, "b t"]
    ) -> Float[Array, "b t v"]:
        """Of every token of whole sequences, given those before it.

        Args:
            context: from `context`.
            tokens: the sequences.
            filled: coefficients before each token.
        """
        first = jnp.full_like(tokens[:, :1], self.tokens.vocabulary)
        x = self._inputs(context, jnp.concatenate([first, tokens[:, :-1]], axis=1), filled)
        place = jnp.arange(tokens.shape[1])
        visible = (place[:, None] >= place)[None, None]
        for block in self.stack:
            x = block(x, visible)
        return self.head(self.norm(x))

    def start(self, batch: int) -> Cache:
        """The cache before the first pass: room for as many tokens as a chunk can have."""
        heads = self.config.num_heads
        shape = (batch, self.tokens.coefficients, heads, self.config.dim // heads)
        return [(jnp.zeros(shape), jnp.zeros(shape)) for _ in range(self.config.depth)]

    def step(
        self,
        context: Float[Array, "b d"],
        previous: Int[Array, " b"],
        filled: Int[Array, " b"],
        number: Int[Array, ""],
        cache: Cache,
    ) -> tuple[Float[Array, "b v"], Cache]:
        """One pass: logits of token `number`, and the cache with it.

        Args:
            context: from `context`.
            previous: the token before; the vocabulary's size before the first.
            filled: coefficients so far.
            number: tokens so far.
            cache: of the tokens before.
        """
        x = self._inputs(context, previous[:, None], filled[:, None])
        visible = (jnp.arange(self.tokens.coefficients) <= number)[None, None, None]
        after = []
        for block, (keys, values) in zip(self.stack, cache, strict=True):
            normed, attention = block.norm_1(x), block.attention
            keys = jax.lax.dynamic_update_slice_in_dim(keys, attention.key(normed), number, 1)
            values = jax.lax.dynamic_update_slice_in_dim(values, attention.value(normed), number, 1)
            x = x + attention.out(nnx.dot_product_attention(attention.query(normed), keys, values, mask=visible))
            x = x + block.mlp(block.norm_2(x))
            after.append((keys, values))
        return self.head(self.norm(x))[:, 0], after

    def _inputs(self, context: Array, previous: Int[Array, "b t"], filled: Int[Array, "b t"]) -> Float[Array, "b t d"]:
        filled = jnp.minimum(filled, self.tokens.coefficients - 1)
        return context[:, None] + self.embedding[previous] + self.position[filled]

    def loss(
        self,
        rng: PRNGKeyArray,
        obs: Float[Array, "b o"],
        chunk: Float[Array, "b h a"],
        tokens: Int[Array, "b t"],
        filled: Int[Array, "b t"],
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Cross-entropy per token in nats, with a random committed prefix as in `TokenPolicy.loss`, and the accuracy.

        Args:
            rng: of the prefix.
            obs: observations.
            chunk: the chunks.
            tokens: their tokens; -1 behind the last.
            filled: coefficients before each token.
        """
        longest = self.config.simulated_delay
        prefix = jax.random.categorical(rng, -jnp.arange(longest, dtype=jnp.float32), shape=obs.shape[:1])
        known, target = tokens >= 0, jnp.maximum(tokens, 0)
        logits = self.logits(self.context(Prompt(obs, chunk, prefix)), target, filled)
        nats = -jnp.take_along_axis(jax.nn.log_softmax(logits), target[..., None], axis=-1)[..., 0]
        return jnp.mean(nats, where=known), jnp.mean(logits.argmax(-1) == target, where=known)


class Sequence(NamedTuple):
    """Tokens and what they cost.

    Attributes:
        tokens: of a chunk.
        passes: passes through the policy: as many as there are tokens.
        valid: whether they hold as many coefficients as a chunk has.
    """

    tokens: Int[Array, "b t"]
    passes: Int[Array, " b"]
    valid: Bool[Array, " b"]


def decode(
    key: Key[Array, " b"], policy: SequencePolicy, tokenizer: FastTokenizer, prompt: Prompt, rule: Rule
) -> Sequence:
    """Token after token, until the coefficients of a chunk are there; rows that are done wait for the others.

    Nothing keeps the last token from having more coefficients than are missing: such a sequence is invalid.

    Args:
        key: randomness, one key per row.
        policy: the policy.
        tokenizer: knows how many coefficients a token has.
        prompt: what to decode for.
        rule: chooses tokens; nothing is verified.
    """
    context, total, batch = policy.context(prompt), policy.tokens.coefficients, len(prompt.obs)
    number = jnp.zeros((), jnp.int32)
    filled = passes = jnp.zeros(batch, jnp.int32)
    tokens, previous = jnp.zeros((batch, total), jnp.int32), jnp.full(batch, policy.tokens.vocabulary, jnp.int32)
    lengths = tokenizer.lengths[...]

    def unfinished(state: tuple) -> Array:
        return (state[1] < total).any()

    def advance(state: tuple) -> tuple:
        number, filled, passes, tokens, previous, cache = state
        logits, cache = policy.step(context, previous, filled, number, cache)
        chosen = rule.choose(fold(key, number), logits[:, None, None])[:, 0, 0].astype(jnp.int32)
        running = filled < total
        tokens = jax.lax.dynamic_update_slice_in_dim(tokens, jnp.where(running, chosen, 0)[:, None], number, 1)
        filled = filled + jnp.where(running, lengths[chosen], 0)
        return number + 1, filled, passes + running, tokens, chosen, cache

    state = number, filled, passes, tokens, previous, policy.start(batch)
    _, filled, passes, tokens, _, _ = jax.lax.while_loop(unfinished, advance, state)
    return Sequence(tokens, passes, filled == total)
