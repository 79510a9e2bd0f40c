"""PAINT: the committed actions are turned back into noise, from which the policy makes them again."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rtc.methods.base import FlowMethod, Policy, Query, Steps, initial_noise
from rtc.policies.flow import step_lengths
from rtc.policies.mixer import Modulation, prefix_mask


def inverted(
    policy: Policy,
    condition: Float[Array, "b c"],
    chunk: Float[Array, "b h a"],
    num_steps: int,
    flow_steps: Int[Array, " b"],
) -> Float[Array, "b h a"]:
    """The noise from which the flow's Euler steps lead close to a chunk, found backwards step by step.

    A step from x to y = x + v(x, t)·Δ is undone by x ≈ y - v(y, t)·Δ, with the velocity at its end in place of that at
    its start.

    Args:
        policy: the flow.
        condition: from `FlowPolicy.condition`.
        chunk: where the steps end.
        num_steps: flow steps.
        flow_steps: steps per sample, as in `FlowPolicy.action`.
    """
    times = jnp.arange(num_steps, dtype=jnp.float32) / num_steps
    lengths = step_lengths(flow_steps, num_steps)[..., None, None]

    def undo(x: Array, inputs: tuple[Modulation, Array]) -> tuple[Array, None]:
        modulation, length = jax.lax.optimization_barrier(inputs)
        return x - policy.velocity(condition, x, modulation) * length / num_steps, None

    steps = policy.modulation(times[:, None, None]), lengths
    return jax.lax.scan(undo, chunk, steps, reverse=True)[0]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Paint(FlowMethod):
    """Training-free inpainting by inversion (PAINT, arXiv 2606.19774).

    The rest of the old chunk, completed by noise, is carried back to flow time 0; there its committed actions keep the
    noise that was found, the others get fresh noise, and the unmodified flow is run. The committed actions are then
    painted over what came out for them. Cost: two network evaluations per flow step.

    Attributes:
        noise_scale: standard deviation of the flow's initial noise.
    """

    noise_scale: Float[Array, ""]

    def next_chunk(self, policy: Any, query: Query, num_steps: int) -> Float[Array, "b h a"]:
        noise, condition = initial_noise(query.key, policy, self.noise_scale), policy.condition(query.obs)
        size = policy.action_chunk_size
        known = prefix_mask(query.overlap_end, size)
        committed = prefix_mask(jnp.minimum(query.planned_delay, query.overlap_end), size)
        found = inverted(policy, condition, jnp.where(known, query.leftover, noise), num_steps, query.flow_steps)
        start = jnp.where(committed, found, noise)
        chunk = policy.sample(condition, start, num_steps, query.flow_steps)
        return jnp.where(committed, query.leftover, chunk)

    def network_evaluations(self, steps: Steps) -> Steps:
        return 2 * steps


def paint(noise_scale: float = 1.0) -> Paint:
    return Paint(jnp.float32(noise_scale))
