"""Naive execution whose chunks share the flow's initial noise, tick by tick."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rtc.methods.base import Answer, Query, State, initial_noise
from rtc.methods.naive import Naive


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CarriedNoise(Naive):
    """Starts the flow of a tick from the noise that the query before had for that tick; only new ticks draw theirs.

    Where a policy would do one of several things, its initial noise decides which. Chunks that share it choose alike
    and differ by what the newer observation changes, so that a switch from one to the next does not change what is
    being done. Neither training nor further evaluations are needed: one network evaluation per flow step.

    Ticks are counted from the launch of the chunk in execution, or by the execute horizon if that is longer. So with an
    adaptive horizon that grows, and where queries are abandoned, noise is carried to ticks some way off.

    Attributes:
        noise_scale: standard deviation of the flow's initial noise.
    """

    def init(self, policy: Any, batch: int) -> State:
        """The last query's noise, and whether there was one."""
        return jnp.zeros((batch, policy.action_chunk_size, policy.action_dim)), jnp.zeros(batch, bool)

    def answer(
        self, policy: Any, query: Query, state: State, drawn: Int[Array, " b"], num_steps: int
    ) -> tuple[Answer, State]:
        last, there = state
        noise = _carried(last, query.overlap_end * there, initial_noise(query.key, policy, self.noise_scale))
        chunk = policy.action(None, query.obs, num_steps, noise=noise, flow_steps=query.flow_steps)
        return Answer(chunk, drawn, query.flow_steps), (noise, jnp.ones_like(there))


def _carried(
    last: Float[Array, "b h a"], kept: Int[Array, " b"], fresh: Float[Array, "b h a"]
) -> Float[Array, "b h a"]:
    """The last `kept` entries of the old noise, then fresh ones."""
    size, entry = last.shape[1], jnp.arange(last.shape[1])
    index = jnp.minimum(entry + (size - kept)[:, None], size - 1)
    old = jnp.take_along_axis(last, index[..., None], axis=1)
    return jnp.where((entry < kept[:, None])[..., None], old, fresh)


def carried_noise(noise_scale: float = 1.0) -> CarriedNoise:
    return CarriedNoise(jnp.float32(noise_scale))
