"""Guidance towards the previous chunk: prefix weights, and the guided flow of Real-Time Chunking (arXiv 2506.07339).

Delays and horizons are in control ticks: Python ints, traced scalars or one traced value per environment.
"""

import math
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rtc.methods.base import Policy
from rtc.policies.mixer import Modulation, Ticks
from rtc.shared.validation import require_choice

PrefixAttentionSchedule = Literal["linear", "exp", "ones", "zeros"]


def get_prefix_weights(
    start: Ticks, end: Ticks, total: int, schedule: PrefixAttentionSchedule
) -> Float[Array, "*b total"]:
    """How strongly each action of a new chunk is pulled towards the previous chunk (RTC, Eq. 5).

    Args:
        start: actions that will have been executed before the new chunk arrives (the inference delay).
        end: first action without a counterpart in the previous chunk; the weights are 0 from there on.
        total: chunk size H.
        schedule: the weights between `start` and `end`: "linear" and "exp" decay, "ones" keeps all of the
            overlap, "zeros" only the actions before `start`.

    Returns:
        Weights in [0, 1]; one row per environment where `start` or `end` is a vector.

    Raises:
        ValueError: unknown schedule.
    """
    require_choice("prefix_attention_schedule", schedule, get_args(PrefixAttentionSchedule))
    index = jnp.arange(total)
    start, end = (jnp.asarray(ticks)[..., None] for ticks in (start, end))
    start = jnp.minimum(start, end)
    if schedule == "ones":
        weights = jnp.ones(total)
    elif schedule == "zeros":
        weights = jnp.where(index < start, 1.0, 0.0)
    else:
        weights = jnp.clip((start - 1 - index) / (end - start + 1) + 1, 0.0, 1.0)
        if schedule == "exp":
            weights = weights * jnp.expm1(weights) / (math.e - 1)
    return jnp.where(index < end, weights, 0.0)


def guidance_weight(time: Float[Array, "*t"], maximum: float | Float[Array, ""]) -> Float[Array, "*t"]:
    """min(maximum, (1 - t)/t · (t² + (1 - t)²)/(1 - t)²), RTC Eq. 2 and 4; the maximum at t = 0."""
    rest = 1 - time
    return jnp.minimum(rest / time * (time**2 + rest**2) / rest**2, maximum)


def guided_chunk(
    policy: Policy,
    obs: Float[Array, "b o"],
    noise: Float[Array, "b h a"],
    num_steps: int,
    previous: Float[Array, "b h a"],
    delay: Ticks,
    overlap_end: Ticks,
    schedule: PrefixAttentionSchedule,
    max_guidance_weight: float | Float[Array, ""],
    *,
    flow_steps: Int[Array, " b"] | None = None,
    stop_gradient: bool = False,
) -> Float[Array, "b h a"]:
    """Samples a chunk guided towards the previous one (RTC, Eq. 1-5).

    Args:
        policy: the flow.
        obs: observations.
        noise: initial noise.
        num_steps: flow steps.
        previous: the previous chunk, shifted so that its action 0 belongs to this query's tick.
        delay: ticks until the new chunk arrives; actions before that are pulled with weight 1.
        overlap_end: first action that the previous chunk no longer covers.
        schedule: weights in between, see `get_prefix_weights`.
        max_guidance_weight: bound on the guidance weight (β in the paper).
        flow_steps: steps per sample, as in `FlowPolicy.action`.
        stop_gradient: treat the velocity as constant when the error is carried back through the denoiser, which
            makes it the error itself and saves the backward pass.

    Raises:
        ValueError: `num_steps` < 1, an unknown schedule or a wrong shape.
    """
    weights = get_prefix_weights(delay, overlap_end, policy.action_chunk_size, schedule)[..., None]
    condition = policy.condition(obs)

    def guided_velocity(x_t: Array, time: Array, modulation: Modulation, length: Array) -> Array:
        def denoise(x_t: Array) -> tuple[Array, Array]:
            velocity = policy.velocity(condition, x_t, modulation)
            return x_t + (1 - time) * velocity, velocity

        if stop_gradient:
            x_1, velocity = denoise(x_t)
            correction = (previous - x_1) * weights
        else:
            # Samples do not interact, so one vector-Jacobian product of the batch holds that of every sample.
            x_1, vjp, velocity = jax.vjp(denoise, x_t, has_aux=True)
            (correction,) = vjp((previous - x_1) * weights)
        # A query out of time takes a longer last step, but is pulled no more strongly in it.
        weight = guidance_weight(time, max_guidance_weight) / jnp.maximum(length, 1)
        return velocity + weight * correction

    return policy.integrate(guided_velocity, noise, num_steps, flow_steps)
