"""Temporal ensembling of overlapping chunks."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rtc.methods.base import FlowMethod, Query


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TemporalEnsemble(FlowMethod):
    """Temporal ensembling of Action Chunking with Transformers (arXiv 2304.13705, section IV.A).

    The action of a tick is the weighted mean of what all chunks so far predict for it, the k-th oldest with weight
    exp(-decay · k). The previous chunk already is such a mean, so adding the new one to it is enough. Cost: one
    network evaluation per flow step.

    Attributes:
        noise_scale: standard deviation of the flow's initial noise.
        decay: m in the paper; 0 is the plain mean.
    """

    noise_scale: Float[Array, ""]
    decay: Float[Array, ""]

    def next_chunk(self, policy: Any, query: Query, num_steps: int) -> Float[Array, "b h a"]:
        chunk = self.plain_chunk(policy, query, num_steps)
        weights = jnp.exp(-self.decay * jnp.arange(policy.action_chunk_size + 1))
        before = jnp.concatenate([jnp.zeros(1), jnp.cumsum(weights)])[query.predictions]
        share = weights[query.predictions] / (before + weights[query.predictions])
        return query.leftover + share[..., None] * (chunk - query.leftover)


def temporal_ensemble(noise_scale: float = 1.0, ensemble_decay: float = 0.01) -> TemporalEnsemble:
    return TemporalEnsemble(jnp.float32(noise_scale), jnp.float32(ensemble_decay))
