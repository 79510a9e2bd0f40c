"""Training-time RTC: a policy that has learned to complete a committed prefix."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rtc.methods.base import FlowMethod, Policy, Query, initial_noise
from rtc.policies.mixer import Modulation, Ticks, prefix_mask, select


def prefixed_chunk(
    policy: Policy,
    obs: Float[Array, "b o"],
    noise: Float[Array, "b h a"],
    num_steps: int,
    previous: Float[Array, "b h a"],
    prefix: Ticks,
    *,
    flow_steps: Int[Array, " b"] | None = None,
) -> Float[Array, "b h a"]:
    """Samples the rest of a chunk after its committed prefix (training-time RTC, arXiv 2512.05964).

    The first `prefix` actions are those of `previous`, fed in at flow time 1 at every step. What is returned in their
    place has taken the last Euler step.

    Args:
        policy: a flow trained with `ModelConfig.simulated_delay`.
        obs: observations.
        noise: initial noise.
        num_steps: flow steps.
        previous: the previous chunk, shifted so that its action 0 belongs to this query's tick.
        prefix: committed actions, in ticks.
        flow_steps: steps per sample, as in `FlowPolicy.action`.

    Raises:
        ValueError: `num_steps` < 1 or a wrong shape.
    """
    is_prefix = prefix_mask(prefix, policy.action_chunk_size)
    condition, at_1 = policy.condition(obs), policy.modulation(jnp.ones((1, 1)))

    def velocity(x_t: Array, _time: Array, modulation: Modulation, _length: Array) -> Array:
        return policy.velocity(condition, x_t, select(is_prefix, at_1, modulation))

    def commit_prefix(x_t: Array) -> Array:
        return jnp.where(is_prefix, previous, x_t)

    return policy.integrate(velocity, noise, num_steps, flow_steps, commit_prefix)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainedPrefix(FlowMethod):
    """Training-time RTC (arXiv 2512.05964): a policy trained with simulated delay completes a frozen prefix.

    Cost: one network evaluation per flow step.

    Attributes:
        noise_scale: standard deviation of the flow's initial noise.
    """

    noise_scale: Float[Array, ""]

    def next_chunk(self, policy: Any, query: Query, num_steps: int) -> Float[Array, "b h a"]:
        noise = initial_noise(query.key, policy, self.noise_scale)
        # No longer than the prefixes that the policy has seen.
        longest = policy.config.simulated_delay - 1
        prefix = jnp.minimum(jnp.minimum(query.planned_delay, query.overlap_end), longest)
        chunk = prefixed_chunk(policy, query.obs, noise, num_steps, query.leftover, prefix, flow_steps=query.flow_steps)
        # A chunk that arrives early is executed from inside its prefix, which must be the committed actions.
        return jnp.where(prefix_mask(prefix, policy.action_chunk_size), query.leftover, chunk)

    @property
    def needs_simulated_delay(self) -> bool:
        return True


def trained_prefix(noise_scale: float = 1.0) -> TrainedPrefix:
    return TrainedPrefix(jnp.float32(noise_scale))
