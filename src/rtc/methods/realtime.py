"""Real-Time Chunking: inpainting of the previous chunk by guidance."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rtc.methods.base import FlowMethod, Query, Steps, initial_noise
from rtc.methods.guidance import PrefixAttentionSchedule, guided_chunk


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Realtime(FlowMethod):
    """Real-Time Chunking (arXiv 2506.07339): the flow is guided to agree with the rest of the previous chunk.

    Eq. 1-4: to the velocity is added the pull of the weighted error of the denoised chunk, carried back through the
    denoiser. With `stop_gradient` the velocity counts as constant there, so that the error itself is the pull and no
    backward pass is needed. Cost per flow step: two network evaluations; one with `stop_gradient`.

    Attributes:
        noise_scale: standard deviation of the flow's initial noise.
        max_guidance_weight: bound β on the guidance weight (Eq. 2).
        schedule: how the weight of the previous chunk decays behind the planned delay (Eq. 5); `zeros` is hard masking.
        stop_gradient: do not differentiate the velocity.
    """

    noise_scale: Float[Array, ""]
    max_guidance_weight: Float[Array, ""]
    schedule: PrefixAttentionSchedule = field(default="exp", metadata={"static": True})
    stop_gradient: bool = field(default=False, metadata={"static": True})

    def next_chunk(self, policy: Any, query: Query, num_steps: int) -> Float[Array, "b h a"]:
        return guided_chunk(
            policy,
            query.obs,
            initial_noise(query.key, policy, self.noise_scale),
            num_steps,
            query.leftover,
            query.planned_delay,
            query.overlap_end,
            self.schedule,
            self.max_guidance_weight,
            flow_steps=query.flow_steps,
            stop_gradient=self.stop_gradient,
        )

    def network_evaluations(self, steps: Steps) -> Steps:
        return steps if self.stop_gradient else 2 * steps


def realtime(schedule: PrefixAttentionSchedule, stop_gradient: bool = False) -> Callable[..., Realtime]:
    """A maker for one schedule."""

    def make(noise_scale: float = 1.0, max_guidance_weight: float = 5.0) -> Realtime:
        return Realtime(jnp.float32(noise_scale), jnp.float32(max_guidance_weight), schedule, stop_gradient)

    return make
