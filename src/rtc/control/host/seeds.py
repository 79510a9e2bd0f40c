"""Random keys as plain integers, for code that does not know JAX."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, UInt32

WORD = 32


def seed_of(key: Key[Array, ""]) -> int:
    """A key as an integer of 64 bits (more where JAX has been given a generator with longer keys)."""
    return seed_of_data(np.asarray(jax.random.key_data(key)))


def seed_of_data(data: UInt32[np.ndarray, " d"]) -> int:
    """The same from a key's raw data."""
    return sum(int(word) << WORD * place for place, word in enumerate(data))


def key_of(seed: int) -> Key[Array, ""]:
    """The key that an integer of `seed_of` was made from."""
    words = jax.random.key_data(jax.random.key(0)).size
    data = [seed >> WORD * place & (1 << WORD) - 1 for place in range(words)]
    return jax.random.wrap_key_data(jnp.array(data, jnp.uint32))
