"""FAST tokens (arXiv 2501.09747): a chunk's discrete cosine transform, rounded, in the pieces of a byte-pair encoding.

Every dimension of an action is centred and scaled by quantiles of the data, and transformed along the chunk. The
coefficients are multiplied by a scale, rounded, and laid out frequency by frequency, the lowest first. A byte-pair
encoding, learned on such sequences (`rtc.training.fast`), groups neighbours into tokens. So a token stands for one or
more coefficients, and a chunk has no fixed number of tokens.

Here is the way back, from tokens to actions, in JAX. As in the published code, a sequence whose tokens hold another
number of coefficients than a chunk has is invalid, and decodes as if all of its coefficients were 0.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
import scipy.fft
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from rtc.shared.validation import require_int, require_positive

# Half of the range that is brought to -1…1, at least: a dimension that hardly moves is not blown up.
LEAST_HALF_RANGE = 0.25


@dataclasses.dataclass(frozen=True)
class FastConfig:
    """Sizes of a tokenizer.

    Attributes:
        action_chunk_size: H, control ticks per chunk.
        action_dim: numbers per action.
        vocabulary: tokens.
        longest: coefficients of the longest token.
        scale: what coefficients are multiplied with before they are rounded.
        usual_length: tokens of a mean chunk of the data, rounded.

    Raises:
        ValueError: a field is out of range.
    """

    action_chunk_size: int
    action_dim: int
    vocabulary: int
    longest: int
    scale: float = 10.0
    usual_length: int = 1

    def __post_init__(self) -> None:
        for name in ("action_chunk_size", "action_dim", "vocabulary", "longest", "usual_length"):
            require_int(f"FastConfig.{name}", getattr(self, name), low=1)
        require_positive("FastConfig.scale", self.scale, "the factor of coefficients before they are rounded")

    @property
    def coefficients(self) -> int:
        """Coefficients of a chunk."""
        return self.action_chunk_size * self.action_dim

    @property
    def largest_error(self) -> float:
        """Bound on what rounding changes in any action, in units of half a dimension's range.

        The transform is orthonormal, so an action's error is at most the norm of its dimension's H rounding errors.
        """
        return 0.5 / self.scale * self.action_chunk_size**0.5


class FastTokenizer(nnx.Module):
    """Tokens to chunks.

    Attributes:
        centre, half_range: of every dimension of an action.
        pieces: coefficients of every token, zeros behind its end.
        lengths: how many of them it has.
    """

    def __init__(self, config: FastConfig):
        """A tokenizer whose tables are empty."""
        self.config = config
        self.centre = nnx.Variable(jnp.zeros(config.action_dim))
        self.half_range = nnx.Variable(jnp.ones(config.action_dim))
        self.pieces = nnx.Variable(jnp.zeros((config.vocabulary, config.longest), jnp.int32))
        self.lengths = nnx.Variable(jnp.ones(config.vocabulary, jnp.int32))

    def coefficients(self, tokens: Int[Array, "b t"], count: Int[Array, " b"]) -> Int[Array, "b c"]:
        """The coefficients of the first `count` tokens; zeros if they are not as many as a chunk has."""
        known = jnp.arange(tokens.shape[1]) < count[:, None]
        ends = jnp.cumsum(jnp.where(known, self.lengths[...][tokens], 0), axis=1)
        place = jnp.arange(self.config.coefficients)
        # The token that a coefficient belongs to, and its place in it.
        owner = jnp.sum(ends[:, :, None] <= place, axis=1)
        owner = jnp.minimum(owner, tokens.shape[1] - 1)
        start = jnp.take_along_axis(ends, owner, 1) - self.lengths[...][jnp.take_along_axis(tokens, owner, 1)]
        inside = jnp.clip(place - start, 0, self.config.longest - 1)
        found = self.pieces[...][jnp.take_along_axis(tokens, owner, 1), inside]
        return jnp.where(self.is_valid(tokens, count)[:, None], found, 0)

    def is_valid(self, tokens: Int[Array, "b t"], count: Int[Array, " b"]) -> Bool[Array, " b"]:
        """Whether the first `count` tokens hold as many coefficients as a chunk has."""
        known = jnp.arange(tokens.shape[1]) < count[:, None]
        return jnp.sum(jnp.where(known, self.lengths[...][tokens], 0), axis=1) == self.config.coefficients

    def decode(self, tokens: Int[Array, "b t"], count: Int[Array, " b"]) -> Float[Array, "b h a"]:
        """The chunk of the first `count` tokens."""
        return self.chunk_of(self.coefficients(tokens, count))

    def chunk_of(self, coefficients: Int[Array, "b c"]) -> Float[Array, "b h a"]:
        """The chunk of rounded coefficients."""
        size = (len(coefficients), self.config.action_chunk_size, self.config.action_dim)
        spectrum = coefficients.reshape(size) / self.config.scale
        chunk = jnp.einsum("kh,bka->bha", jnp.asarray(transform(size[1]), jnp.float32), spectrum)
        return self.centre[...] + self.half_range[...] * chunk


def transform(size: int) -> Float[np.ndarray, "h h"]:
    """The orthonormal discrete cosine transform (type II) as a matrix: row k gives the k-th coefficient."""
    return scipy.fft.dct(np.eye(size), norm="ortho", axis=0)


def ranges(chunks: Float[np.ndarray, "n h a"]) -> tuple[Float[np.ndarray, " a"], Float[np.ndarray, " a"]]:
    """Centre and half of the range from the 1st to the 99th percentile, of every dimension."""
    low, high = np.quantile(chunks.reshape(-1, chunks.shape[-1]), [0.01, 0.99], axis=0)
    return (low + high) / 2, np.maximum((high - low) / 2, LEAST_HALF_RANGE)


def rounded(
    chunks: Float[np.ndarray, "n h a"],
    centre: Float[np.ndarray, " a"],
    half_range: Float[np.ndarray, " a"],
    scale: float,
) -> Int[np.ndarray, "n c"]:
    """The coefficients of chunks, scaled and rounded: all dimensions of the lowest frequency first."""
    spectrum = scipy.fft.dct((chunks - centre) / half_range, norm="ortho", axis=1)
    return np.around(spectrum * scale).astype(np.int64).reshape(len(chunks), -1)
