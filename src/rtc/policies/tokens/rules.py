"""What becomes of a draft's tokens when the main model has seen them.

A rule proposes tokens from the draft's logits, verifies them against the main model's, and completes the layers that
have no draft. `Exact` and `Greedy` are lossless; the relaxed rules are lossy.
"""

from dataclasses import dataclass, field
from typing import Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from rtc.policies.tokens.rfsq import Tokenizer, TokenizerConfig, codes_of_tokens

Logits = Float[Array, "b k j v"]
Tokens = Int[Array, "b k j"]


class Rule(Protocol):
    """A registered pytree; shapes: k layers of j tokens with v values.

    Attributes:
        deterministic: no randomness is used.
    """

    deterministic: bool

    def choose(self, key: Key[Array, " b"], logits: Logits) -> Tokens:
        """Tokens from one model's logits: the draft's proposals, and the layers that have no draft."""
        ...

    def verify(
        self, key: Key[Array, " b"], main: Logits, draft: Logits, tokens: Int[Array, "b l j"], first: int
    ) -> tuple[Tokens, Bool[Array, "b k j"]]:
        """Final tokens of the block that starts at layer `first`, and which proposals were accepted.

        Args:
            key: fresh randomness.
            main, draft: logits of this block.
            tokens: the tokens so far, the block's proposals included.
            first: the block's first layer.
        """
        ...


def draw(key: Key[Array, " b"], logits: Logits) -> Tokens:
    """A token from each distribution, from each row's own key."""
    return jax.vmap(jax.random.categorical)(key, logits)


def block_of(tokens: Int[Array, "b l j"], first: int, logits: Logits) -> Tokens:
    """The tokens of the block that these logits belong to."""
    return tokens[:, first : first + logits.shape[1]]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Exact:
    """Speculative sampling (arXiv 2211.17192, Algorithm 1), token by token: samples have the main model's law.

    A proposal x is accepted with probability min(1, p(x)/q(x)); else a token is drawn from (p - q)₊, normalised. The
    tokens of a block are independent given the blocks before it, in both models, so each is verified by itself.
    """

    deterministic = False

    def choose(self, key: Key[Array, " b"], logits: Logits) -> Tokens:
        return draw(key, logits)

    def verify(
        self, key: Key[Array, " b"], main: Logits, draft: Logits, tokens: Int[Array, "b l j"], first: int
    ) -> tuple[Tokens, Bool[Array, "b k j"]]:
        proposed = block_of(tokens, first, main)
        p, q = jax.nn.softmax(main), jax.nn.softmax(draft)
        keys = jax.vmap(lambda one: jax.random.split(one))(key)
        uniform = jax.vmap(lambda one: jax.random.uniform(one, proposed.shape[1:]))(keys[:, 0])
        p_of, q_of = (jnp.take_along_axis(law, proposed[..., None], axis=-1)[..., 0] for law in (p, q))
        accepted = uniform * q_of < p_of
        # Where p = q up to rounding nothing is left over; such a proposal is practically never rejected.
        excess = jnp.maximum(p - q, 0.0)
        leftover = jnp.where(excess.sum(-1, keepdims=True) > 0, excess, p)
        return jnp.where(accepted, proposed, draw(keys[:, 1], jnp.log(leftover))), accepted


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Greedy:
    """The most probable token everywhere: the same tokens as greedy autoregression."""

    deterministic = True

    def choose(self, key: Key[Array, " b"], logits: Logits) -> Tokens:
        return logits.argmax(-1)

    def verify(
        self, key: Key[Array, " b"], main: Logits, draft: Logits, tokens: Int[Array, "b l j"], first: int
    ) -> tuple[Tokens, Bool[Array, "b k j"]]:
        best = main.argmax(-1)
        return best, best == block_of(tokens, first, main)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class IndexDistance(Greedy):
    """Lossy: a proposal stands if none of its codes is further than `radius` cells from the main model's best token.

    Attributes:
        radius: largest difference of a code, in cells of its layer.
        config: sizes of the tokenizer.
    """

    radius: Int[Array, ""]
    config: TokenizerConfig = field(metadata={"static": True})

    def verify(
        self, key: Key[Array, " b"], main: Logits, draft: Logits, tokens: Int[Array, "b l j"], first: int
    ) -> tuple[Tokens, Bool[Array, "b k j"]]:
        best, proposed = main.argmax(-1), block_of(tokens, first, main)
        apart = jnp.abs(codes_of_tokens(best, self.config) - codes_of_tokens(proposed, self.config))
        near = (apart.reshape(*best.shape, -1) <= self.radius).all(-1)
        return jnp.where(near, proposed, best), near


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ActionDistance(Greedy):
    """Lossy: a block's proposals stand if no action decoded so far moves by more than `tolerance` with the best tokens.

    Attributes:
        tolerance: largest difference of an action.
        tokenizer: decodes the layers up to this block.
    """

    tolerance: Float[Array, ""]
    tokenizer: Tokenizer

    def verify(
        self, key: Key[Array, " b"], main: Logits, draft: Logits, tokens: Int[Array, "b l j"], first: int
    ) -> tuple[Tokens, Bool[Array, "b k j"]]:
        best, proposed = main.argmax(-1), block_of(tokens, first, main)
        depth = first + best.shape[1]
        # Layers after the block are not looked at: `depth` leaves them out.
        spare = ((0, 0), (0, self.tokenizer.config.num_layers - tokens.shape[1]), (0, 0))
        chunks = [
            self.tokenizer.decode(jnp.pad(tokens.at[:, first:depth].set(block), spare), depth)
            for block in (best, proposed)
        ]
        near = (jnp.abs(chunks[0] - chunks[1]) <= self.tolerance).all((1, 2))
        near = jnp.broadcast_to(near[:, None, None], best.shape)
        return jnp.where(near, proposed, best), near
