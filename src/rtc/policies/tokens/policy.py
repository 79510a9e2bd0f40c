"""Token policies: a distribution over a chunk's tokens, block by block of residual layers.

The layers are split into blocks, for instance {L0}, {L1}, {L2}, {L3 … L7}. Blocks follow each other; the tokens inside
a block are independent of each other given the blocks before it. The network is block-causal, so one pass over a whole
chunk of tokens gives the distribution of every block given the blocks before it: this is what lets one pass verify a
draft. The same class is the main model (few blocks), its autoregressive rival (a block per layer), the one-pass
baseline (a single block) and the draft (small, coarse layers only).

The policy is conditioned on the actions that are already committed, as in training-time RTC (arXiv 2512.05964), so it
needs no guidance under delay.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rtc.policies.mixer import prefix_mask
from rtc.policies.tokens.rfsq import TokenizerConfig, mlp
from rtc.shared.validation import require_int


@dataclasses.dataclass(frozen=True)
class TokenModelConfig:
    """Size of a token policy.

    Attributes:
        blocks: residual layers in each block; the first sum(blocks) layers are predicted.
        dim: width of the network; divisible by `num_heads`.
        depth: transformer blocks.
        num_heads: attention heads.
        obs_hidden_dim: hidden width of the network that reads the observation.
        simulated_delay: the committed prefix is 0 … simulated_delay - 1 ticks long in training.

    Raises:
        ValueError: a field is out of range.
    """

    blocks: tuple[int, ...] = (1, 1, 1, 5)
    dim: int = 64
    depth: int = 2
    num_heads: int = 4
    obs_hidden_dim: int = 256
    simulated_delay: int = 5

    def __post_init__(self) -> None:
        for field in ("dim", "depth", "num_heads", "obs_hidden_dim", "simulated_delay"):
            require_int(f"TokenModelConfig.{field}", getattr(self, field), low=1)
        if not self.blocks:
            raise ValueError("TokenModelConfig.blocks=() has no block; give at least one, for instance (8,)")
        for size in self.blocks:
            require_int("TokenModelConfig.blocks", size, low=1)
        if self.dim % self.num_heads:
            raise ValueError(f"TokenModelConfig.num_heads={self.num_heads} must divide dim={self.dim}")

    @property
    def num_layers(self) -> int:
        """Residual layers that are predicted."""
        return sum(self.blocks)

    @property
    def starts(self) -> tuple[int, ...]:
        """The first layer of each block, and the end of the last."""
        return tuple(int(start) for start in np.cumsum((0, *self.blocks)))


class TransformerBlock(nnx.Module):
    """Attention and MLP with layer norm before each (arXiv 2002.04745)."""

    def __init__(self, config: TokenModelConfig, rngs: nnx.Rngs):
        dim = config.dim
        self.norm_1, self.norm_2 = nnx.LayerNorm(dim, rngs=rngs), nnx.LayerNorm(dim, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(config.num_heads, dim, decode=False, rngs=rngs)
        self.mlp = mlp((dim, 4 * dim, dim), rngs)

    def __call__(self, x: Float[Array, "b l d"], visible: Bool[Array, "1 1 l l"]) -> Float[Array, "b l d"]:
        x = x + self.attention(self.norm_1(x), mask=visible)
        return x + self.mlp(self.norm_2(x))


class TokenPolicy(nnx.Module):
    """Distribution of a chunk's tokens given an observation and the committed actions.

    Args:
        obs_dim: size of the observation.
        tokens: the tokenizer's sizes.
        config: size of the network.
        rngs: source of the initial weights.

    Raises:
        ValueError: the blocks hold more layers than the tokenizer has.
    """

    def __init__(self, *, obs_dim: int, tokens: TokenizerConfig, config: TokenModelConfig, rngs: nnx.Rngs):
        if config.num_layers > tokens.num_layers:
            raise ValueError(
                f"TokenModelConfig.blocks={config.blocks} hold {config.num_layers} layers, the tokenizer has "
                f"{tokens.num_layers}: use fewer"
            )
        self.obs_dim, self.tokens, self.config = obs_dim, tokens, config
        prefix = tokens.action_chunk_size * (tokens.action_dim + 1)
        self.observe = mlp((obs_dim + prefix, config.obs_hidden_dim, config.obs_hidden_dim, config.dim), rngs)
        shape = (config.num_layers, tokens.tokens_per_layer, tokens.vocabulary, config.dim)
        normal = nnx.initializers.normal(0.02)
        self.embedding = nnx.Param(normal(rngs.params(), shape))
        self.position = nnx.Param(normal(rngs.params(), (config.num_layers, config.dim)))
        self.stack = nnx.List([TransformerBlock(config, rngs) for _ in range(config.depth)])
        self.norm = nnx.LayerNorm(config.dim, rngs=rngs)
        self.head = nnx.Linear(config.dim, tokens.tokens_per_layer * tokens.vocabulary, rngs=rngs)

    def context(
        self, obs: Float[Array, "b o"], committed: Float[Array, "b h a"], prefix: Int[Array, " b"]
    ) -> Float[Array, "b d"]:
        """What a query's passes share: the observation and the first `prefix` committed actions, embedded."""
        mask = prefix_mask(prefix, self.tokens.action_chunk_size)
        given = jnp.where(mask, committed, 0.0)
        batch = obs.shape[0]
        inputs = [obs, given.reshape(batch, -1), jnp.broadcast_to(mask, given[..., :1].shape).reshape(batch, -1)]
        return self.observe(jnp.concatenate(inputs, axis=-1))

    def logits(
        self, context: Float[Array, "b d"], tokens: Int[Array, "b l j"], num_blocks: int | None = None
    ) -> Float[Array, "b k j v"]:
        """One pass: logits of the first `num_blocks` blocks (all by default), each given the tokens of those before.

        Args:
            context: from `context`.
            tokens: tokens of at least the layers before the last of these blocks; later ones are not looked at.
            num_blocks: leading blocks to compute.

        Returns:
            Logits of the k layers in these blocks.
        """
        starts = self.config.starts[: (num_blocks or len(self.config.blocks)) + 1]
        layers, block = starts[-1], np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        # A position reads the tokens of the block before its own; attention brings those of earlier blocks.
        index = jnp.arange(self.tokens.tokens_per_layer)
        of_layer = jax.vmap(lambda t: self.embedding[jnp.arange(layers)[:, None], index, t].sum(1))(tokens[:, :layers])
        reads = jnp.asarray(block[:, None] == block[None, :] + 1, jnp.float32)
        x = self.position[:layers] + context[:, None] + jnp.einsum("kl,bld->bkd", reads, of_layer)
        visible = jnp.asarray(block[:, None] >= block[None, :])[None, None]
        for transformer_block in self.stack:
            x = transformer_block(x, visible)
        logits = self.head(self.norm(x))
        return logits.reshape(*logits.shape[:2], self.tokens.tokens_per_layer, self.tokens.vocabulary)

    def loss(
        self, rng: PRNGKeyArray, obs: Float[Array, "b o"], chunk: Float[Array, "b h a"], tokens: Int[Array, "b l j"]
    ) -> tuple[Float[Array, ""], Float[Array, " n"]]:
        """Cross-entropy per token in nats, with a random committed prefix, and the accuracy per layer.

        Prefix lengths have the law of training-time RTC: probability ∝ exp(simulated_delay - 1 - length).
        """
        longest = self.config.simulated_delay
        prefix = jax.random.categorical(rng, -jnp.arange(longest, dtype=jnp.float32), shape=obs.shape[:1])
        logits = self.logits(self.context(obs, chunk, prefix), tokens)
        target = tokens[:, : self.config.num_layers]
        nats = -jnp.take_along_axis(jax.nn.log_softmax(logits), target[..., None], axis=-1)
        return jnp.mean(nats), jnp.mean(logits.argmax(-1) == target, axis=(0, 2))
