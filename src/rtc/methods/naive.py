"""Naive asynchronous execution, and synchronous execution."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rtc.methods.base import FlowMethod, Query


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Naive(FlowMethod):
    """Switches to the new chunk as soon as it arrives, whatever the old one was doing.

    Cost: one network evaluation per flow step.

    Attributes:
        noise_scale: standard deviation of the flow's initial noise.
    """

    noise_scale: Float[Array, ""]

    def next_chunk(self, policy: Any, query: Query, num_steps: int) -> Float[Array, "b h a"]:
        return self.plain_chunk(policy, query, num_steps)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Synchronous(Naive):
    """Waits for the chunk, repeating the last command (or sending zeros), then executes s actions from its start.

    The "synchronous" baseline of Real-Time Chunking (arXiv 2506.07339, section 5): nothing of the old chunk is
    executed while the robot waits. Cost: one network evaluation per flow step.
    """

    @property
    def waits(self) -> bool:
        return True


def naive(noise_scale: float = 1.0) -> Naive:
    return Naive(jnp.float32(noise_scale))


def synchronous(noise_scale: float = 1.0) -> Synchronous:
    return Synchronous(jnp.float32(noise_scale))
