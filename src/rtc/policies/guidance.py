"""How a new chunk is compared with the previous one: prefix weights, RTC's guidance weight, BID's distances.

Delays and horizons are in control ticks: Python ints, traced scalars or one traced value per environment.
"""

import math
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rtc.shared.validation import require_choice

PrefixAttentionSchedule = Literal["linear", "exp", "ones", "zeros"]
Ticks = int | Int[Array, ""] | Int[Array, " b"]


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


def prefix_mask(delay: Ticks, chunk_size: int) -> Bool[Array, "#b h 1"]:
    """True for the actions before `delay`."""
    return (jnp.arange(chunk_size) < jnp.asarray(delay).reshape(-1, 1))[..., None]


def guidance_weight(time: Float[Array, "*t"], maximum: float | Float[Array, ""]) -> Float[Array, "*t"]:
    """min(maximum, (1 - t)/t · (t² + (1 - t)²)/(1 - t)²), RTC Eq. 2 and 4; the maximum at t = 0."""
    rest = 1 - time
    return jnp.minimum(rest / time * (time**2 + rest**2) / rest**2, maximum)


def step_lengths(flow_steps: Int[Array, " b"], num_steps: int) -> Float[Array, "t b"]:
    """Euler steps, in units of 1/num_steps, of samples that stop early: the last one goes the rest of the way."""
    index = jnp.arange(num_steps)[:, None]
    last = jnp.where(index == flow_steps - 1, num_steps - index, 0)
    return jnp.where(index < flow_steps - 1, 1, last).astype(jnp.float32)


def distance(a: Float[Array, "*n a"], b: Float[Array, "*n a"]) -> Float[Array, "*n"]:
    """Euclidean distance of actions."""
    return jnp.linalg.norm(a - b, axis=-1)


def best_chunks(k: int, chunks: Float[Array, "n b h a"], loss: Float[Array, "n b"]) -> Float[Array, "k b h a"]:
    """The k chunks of least loss, for each observation."""
    index = jax.lax.top_k(-loss.T, k)[1].T
    return jnp.take_along_axis(chunks, index[..., None, None], axis=0)
