"""FutureRTC: the policy's view of the observation at hand-over is predicted, not the observation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rtc.methods.assets import network_spec
from rtc.methods.base import Answer, AssetSpec, FlowMethod, Query, State, initial_noise
from rtc.policies.latents import LatentModel


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FutureRtc(FlowMethod):
    """Asks the policy for a chunk from the predicted latent at the planned hand-over (FutureRTC, arXiv 2607.24008).

    The latent is the observation's linear term in the policy's first layer, which is all that a query reads of the
    observation. The chunk begins at the hand-over, as in `Foresee`. The published method takes the robot's own entries
    from the simulator; here all of the latent is predicted, so that it is not privileged. Without a planned delay it is
    naive execution.

    Cost: one network evaluation per flow step, and one of the predictor per query.

    Attributes:
        noise_scale: standard deviation of the flow's initial noise.
        model: a `LatentModel` that was trained on this policy.
    """

    noise_scale: Float[Array, ""]
    model: Any = None

    def answer(
        self, policy: Any, query: Query, state: State, drawn: Int[Array, " b"], num_steps: int
    ) -> tuple[Answer, State]:
        ticks = jnp.clip(query.planned_delay, 0, policy.action_chunk_size)
        latent = self.model.ahead(policy.condition(query.obs), query.upcoming[:, : policy.action_chunk_size], ticks)
        noise = initial_noise(query.key, policy, self.noise_scale)
        chunk = policy.sample(latent, noise, num_steps, query.flow_steps)
        return Answer(chunk, drawn, query.flow_steps, ticks), state

    def max_origin(self, chunk_size: int) -> int:
        return chunk_size

    def assets(self) -> Mapping[str, AssetSpec]:
        return {"model": LATENT_MODEL}


LATENT_MODEL = network_spec(LatentModel, "a latent predictor of the policy")


def futurertc(noise_scale: float = 1.0) -> FutureRtc:
    return FutureRtc(jnp.float32(noise_scale))
