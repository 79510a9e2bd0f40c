"""The order in which contacts are solved: the stock engine's, kept exactly.

The stock engine sorts the pairs of a kind by activity, active ones last, and deals them out: the p-th goes to batch
p mod n_batches. Batches are solved one after the other, the pairs of a batch at once. So of n pairs, active pair k has
p = n - (number of active pairs with numbers >= k), whether or not those exchange impulses.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.lax import optimization_barrier as boundary
from jaxtyping import Array, Bool, Int

from rtc.worlds.kinetix.physics.scene import Pairs

BITS = 5  # of a batch's count; MAX_BATCHES of them are exact in one float32 number


class Places(NamedTuple):
    """Where each solid pair of a kind is solved.

    Attributes:
        active: whether it touches.
        batch: the batch it is in.
        rank: how many active solid pairs of that batch come before it.
    """

    active: Bool[Array, "s b"]
    batch: Int[Array, "s b"]
    rank: Int[Array, "s b"]

    def most(self) -> Int[Array, ""]:
        """Slots per batch that the fullest batch of all environments needs."""
        return jnp.max(jnp.where(self.active, self.rank + 1, 0), initial=0)


def places(pairs: Pairs, active: Bool[Array, "l b"]) -> Places:
    """Deals the active pairs out to batches.

    Args:
        pairs: the pairs of one kind.
        active: which of the live ones touch.
    """
    numbers = pairs.live[pairs.solid]
    total = len(pairs.a)
    count = active.astype(jnp.float32)
    # Row s sums the live pairs from solid pair s on.
    from_here = (pairs.live[None] >= numbers[:, None]).astype(np.float32)
    always = np.array([pairs.always[k:].sum() for k in numbers], np.float32)[:, None]
    behind = jnp.dot(from_here, count) + always
    batch = jnp.mod(total - behind.astype(jnp.int32), pairs.batches)
    solid = jnp.take(active, pairs.solid, axis=0, mode="clip")
    # One number holds the counts of all batches, BITS each: a prefix sum over pairs counts them together.
    unit = (1 << (BITS * batch)).astype(jnp.float32)
    unit = boundary(jnp.where(solid, unit, 0.0))
    before = jnp.dot(np.tril(np.ones((len(numbers), len(numbers)), np.float32), -1), unit).astype(jnp.int32)
    rank = (before >> (BITS * batch)) & ((1 << BITS) - 1)
    return Places(*boundary((solid, batch, rank)))


def occupants(places: Places, batches: int, capacity: int) -> Int[Array, "k b"]:
    """The solid pair in each slot, batch by batch with `capacity` slots each; -1 where a slot is free."""
    count = places.active.shape[0]
    slot = jnp.where(places.active, places.batch * capacity + places.rank, -1)
    slots = jnp.arange(batches * capacity)[:, None, None]
    numbers = jnp.arange(count, dtype=jnp.int32)[None, :, None]
    return jnp.max(jnp.where(slot[None] == slots, numbers, -1), axis=1)
