"""Bidirectional decoding: the best of several samples."""

from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rtc.methods.base import Method, MethodOptions, Policy, Query, initial_noise


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Bid(Method):
    """Bidirectional Decoding (arXiv 2408.17355): the sample that goes best with the previous chunk.

    Backward coherence: the distance to the previous chunk, weighted by the prefix weights. With `contrast` also the
    forward contrast: close to the `k` best samples of this policy, far from the `k` best of a weak one. Cost per
    flow step: one network evaluation per sample; two with `contrast`.

    Attributes:
        noise_scale: standard deviation of the flow's initial noise.
        weak: the weak policy; None until the evaluation provides it, and without `contrast`.
        num_samples: chunks drawn per query.
        k: chunks per policy in the forward contrast.
        contrast: use the forward contrast.
    """

    noise_scale: Float[Array, ""]
    weak: Policy | None = None
    num_samples: int = field(default=16, metadata={"static": True})
    k: int = field(default=3, metadata={"static": True})
    contrast: bool = field(default=False, metadata={"static": True})

    def next_chunk(self, policy: Policy, query: Query, num_steps: int) -> Float[Array, "b h a"]:
        keys = jax.vmap(lambda key: jax.random.split(key, self.num_samples), out_axes=1)(query.key)
        contrast = {"bid_k": self.k, "bid_weak_policy": self.weak} if self.contrast else {}
        return policy.bid_action(
            None,
            query.obs,
            num_steps,
            query.leftover,
            query.planned_delay,
            query.overlap_end,
            self.num_samples,
            noise=initial_noise(keys.reshape(-1), policy, self.noise_scale),
            flow_steps=query.flow_steps,
            **contrast,
        )

    def network_evaluations(self, num_steps: int | Int[Array, " b"]) -> int | Int[Array, " b"]:
        return num_steps * self.num_samples * (2 if self.contrast else 1)

    @property
    def needs_weak_policy(self) -> bool:
        return self.contrast


def bid(contrast: bool) -> Callable[[MethodOptions], Bid]:
    """A maker, with or without the forward contrast; it raises ValueError for more best samples than samples."""

    def make(options: MethodOptions) -> Bid:
        samples, k = options.bid_num_samples, options.bid_k
        if contrast and k > samples:
            raise ValueError(f"bid_k={k} exceeds bid_num_samples={samples}: choose at most {samples}")
        return Bid(jnp.float32(options.noise_scale), None, samples, k, contrast)

    return make
