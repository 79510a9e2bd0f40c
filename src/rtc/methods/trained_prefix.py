"""Training-time RTC: a policy that has learned to complete a committed prefix."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rtc.methods.base import Method, MethodOptions, Policy, Query, initial_noise
from rtc.policies import guidance


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainedPrefix(Method):
    """Training-time RTC (arXiv 2512.05964): a policy trained with simulated delay completes a frozen prefix.

    Cost: one network evaluation per flow step.

    Attributes:
        noise_scale: standard deviation of the flow's initial noise.
    """

    noise_scale: Float[Array, ""]

    def next_chunk(self, policy: Policy, query: Query, num_steps: int) -> Float[Array, "b h a"]:
        noise = initial_noise(query.key, policy, self.noise_scale)
        # No longer than the prefixes that the policy has seen.
        longest = policy.config.simulated_delay - 1
        prefix = jnp.minimum(jnp.minimum(query.planned_delay, query.overlap_end), longest)
        chunk = policy.prefix_action(
            None, query.obs, num_steps, query.leftover, prefix, noise=noise, flow_steps=query.flow_steps
        )
        # A chunk that arrives early is executed from inside its prefix, which must be the committed actions.
        committed = guidance.prefix_mask(prefix, policy.action_chunk_size)
        return jnp.where(committed, query.leftover, chunk)

    @property
    def needs_simulated_delay(self) -> bool:
        return True


def trained_prefix(options: MethodOptions) -> TrainedPrefix:
    return TrainedPrefix(jnp.float32(options.noise_scale))
