"""Residual finite scalar quantisation (RFSQ) of action chunks.

An encoder maps a chunk to latent scalars in (-1, 1). Layer k of L^-k times smaller cells quantises what the layers
before it left over (FSQ, arXiv 2309.15505, applied to residuals as in arXiv 2107.03312). Scales are constant and values
are cell centres, so a scalar's codes are the digits of its cell in base L: no statistics of the data are needed to go
from codes to the latent, and the way back is exact. Every number of leading layers decodes to a chunk.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from rtc.shared.validation import require_int


@dataclasses.dataclass(frozen=True)
class TokenizerConfig:
    """Size of a tokenizer.

    Attributes:
        action_chunk_size: H, control ticks per chunk.
        action_dim: numbers per action.
        latent_dim: scalars per chunk.
        cells: L, cells per scalar and layer; odd, so that a prefix of layers can stand for 0.
        num_layers: residual layers; `cells`^`num_layers` at most 2^24, where float32 stops to count.
        tokens_per_layer: tokens that a layer's codes are grouped into; divides `latent_dim`.
        hidden_dim: width of encoder and decoder.

    Raises:
        ValueError: a field is out of range.
    """

    action_chunk_size: int = 8
    action_dim: int = 6
    latent_dim: int = 16
    cells: int = 3
    num_layers: int = 8
    tokens_per_layer: int = 4
    hidden_dim: int = 256

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            require_int(f"TokenizerConfig.{field.name}", getattr(self, field.name), low=1)
        if self.cells < 3 or self.cells % 2 == 0:
            raise ValueError(f"TokenizerConfig.cells={self.cells} must be odd and at least 3; use 3 or 5")
        if self.cells**self.num_layers > 2**24:
            raise ValueError(
                f"TokenizerConfig.num_layers={self.num_layers} is too many: {self.cells}^{self.num_layers} cells "
                "are more than float32 tells apart; use fewer layers or cells"
            )
        if self.latent_dim % self.tokens_per_layer:
            raise ValueError(
                f"TokenizerConfig.tokens_per_layer={self.tokens_per_layer} must divide latent_dim={self.latent_dim}"
            )

    @property
    def vocabulary(self) -> int:
        """Values that a token can take."""
        return self.cells ** (self.latent_dim // self.tokens_per_layer)


# --- latent scalars and codes -------------------------------------------------------------------------------


def codes_of(latent: Float[Array, "*n s"], config: TokenizerConfig) -> Int[Array, "*n l s"]:
    """The cell of each scalar in every layer, 0 … cells-1; scalars outside (-1, 1) fall into the outermost cell."""
    total = config.cells**config.num_layers
    cell = jnp.clip(jnp.floor((latent + 1) / 2 * total), 0, total - 1).astype(jnp.int32)
    place = config.cells ** jnp.arange(config.num_layers - 1, -1, -1)
    return cell[..., None, :] // place[:, None] % config.cells


def latent_of(
    codes: Int[Array, "*n l s"], config: TokenizerConfig, depth: int | Int[Array, "*n"] | None = None
) -> Float[Array, "*n s"]:
    """The centres of the cells that the first `depth` layers (all by default) narrow the scalars down to.

    Layer k adds (2 · code + 1 - L) / L^(k+1). The sum is taken in integers, so that it is the same in every program.
    """
    place = config.cells ** jnp.arange(config.num_layers - 1, -1, -1)
    known = jnp.arange(config.num_layers) < jnp.asarray(config.num_layers if depth is None else depth)[..., None]
    steps = (2 * codes + 1 - config.cells) * (place * known)[..., None]
    return jnp.sum(steps, axis=-2).astype(jnp.float32) / config.cells**config.num_layers


def tokens_of(codes: Int[Array, "*n l s"], config: TokenizerConfig) -> Int[Array, "*n l j"]:
    """Groups the codes of each layer into tokens; the first code of a group is the most significant."""
    groups = codes.reshape(*codes.shape[:-1], config.tokens_per_layer, -1)
    return jnp.sum(groups * config.cells ** jnp.arange(groups.shape[-1] - 1, -1, -1), axis=-1)


def codes_of_tokens(tokens: Int[Array, "*n l j"], config: TokenizerConfig) -> Int[Array, "*n l s"]:
    """The inverse of `tokens_of`."""
    size = config.latent_dim // config.tokens_per_layer
    codes = tokens[..., None] // config.cells ** jnp.arange(size - 1, -1, -1) % config.cells
    return codes.reshape(*tokens.shape[:-1], config.latent_dim)


# --- encoder and decoder ------------------------------------------------------------------------------------


def mlp(sizes: tuple[int, ...], rngs: nnx.Rngs) -> nnx.Sequential:
    """Linear layers with GELU between them."""
    layers: list = []
    for size_in, size_out in itertools.pairwise(sizes):
        layers += [nnx.Linear(size_in, size_out, rngs=rngs), nnx.gelu]
    return nnx.Sequential(*layers[:-1])


class Tokenizer(nnx.Module):
    """Chunks to tokens and back.

    Args:
        config: sizes.
        rngs: source of the initial weights.
    """

    def __init__(self, config: TokenizerConfig, rngs: nnx.Rngs):
        self.config = config
        size, hidden = config.action_chunk_size * config.action_dim, config.hidden_dim
        self.encoder = mlp((size, hidden, hidden, config.latent_dim), rngs)
        self.decoder = mlp((config.latent_dim + config.num_layers, hidden, hidden, size), rngs)

    def latent(self, chunk: Float[Array, "*n h a"]) -> Float[Array, "*n s"]:
        """The scalars of a chunk before quantisation, in (-1, 1)."""
        return jnp.tanh(self.encoder(chunk.reshape(*chunk.shape[:-2], -1)))

    def encode(self, chunk: Float[Array, "*n h a"]) -> Int[Array, "*n l j"]:
        """The tokens of a chunk."""
        return tokens_of(codes_of(self.latent(chunk), self.config), self.config)

    def decode(
        self, tokens: Int[Array, "*n l j"], depth: int | Int[Array, "*n"] | None = None
    ) -> Float[Array, "*n h a"]:
        """The chunk that the first `depth` layers (1 … num_layers; all by default) describe."""
        return self.decode_latent(latent_of(codes_of_tokens(tokens, self.config), self.config, depth), depth)

    def decode_latent(
        self, latent: Float[Array, "*n s"], depth: int | Int[Array, "*n"] | None = None
    ) -> Float[Array, "*n h a"]:
        """The chunk of quantised scalars, of which `depth` layers are known."""
        depth = self.config.num_layers if depth is None else depth
        known = jax.nn.one_hot(jnp.asarray(depth) - 1, self.config.num_layers)
        known = jnp.broadcast_to(known, (*latent.shape[:-1], self.config.num_layers))
        chunk = self.decoder(jnp.concatenate([latent, known], axis=-1))
        return chunk.reshape(*latent.shape[:-1], self.config.action_chunk_size, self.config.action_dim)

    def quantised(self, chunk: Float[Array, "*n h a"], depth: int | Int[Array, "*n"] | None = None) -> Array:
        """The forward pass up to the decoder: the quantised latent, [*n s], with the gradient of the latent itself."""
        latent = self.latent(chunk)
        centre = latent_of(codes_of(latent, self.config), self.config, depth)
        # The difference is exactly 0; added this way round, the centre keeps its last bit.
        return centre + (latent - jax.lax.stop_gradient(latent))

    def loss(self, rng: PRNGKeyArray, chunk: Float[Array, "b h a"]) -> Float[Array, ""]:
        """Mean squared error of the decoded action, at full depth and at a random one (layer dropout)."""
        depth = jax.random.randint(rng, chunk.shape[:1], 1, self.config.num_layers + 1)

        def error(depth: int | Int[Array, " b"]) -> Float[Array, ""]:
            return jnp.mean(jnp.square(self.decode_latent(self.quantised(chunk, depth), depth) - chunk))

        return error(self.config.num_layers) + error(depth)
