"""Bidirectional decoding: the best of several samples."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rtc.methods.base import AssetSpec, FlowMethod, Place, Policy, Query, Steps, initial_noise
from rtc.methods.guidance import get_prefix_weights
from rtc.policies import checkpoints
from rtc.policies.mixer import Ticks
from rtc.shared.validation import require_int


def distance(a: Float[Array, "*n a"], b: Float[Array, "*m a"]) -> Float[Array, "*k"]:
    """Euclidean distance of actions, broadcast over the leading axes."""
    return jnp.linalg.norm(a - b, axis=-1)


def best_chunks(k: int, chunks: Float[Array, "n b h a"], loss: Float[Array, "n b"]) -> Float[Array, "k b h a"]:
    """The k chunks of least loss, for each observation."""
    index = jax.lax.top_k(-loss.T, k)[1].T
    return jnp.take_along_axis(chunks, index[..., None, None], axis=0)


def best_sample(
    policy: Policy,
    obs: Float[Array, "b o"],
    noise: Float[Array, "nb h a"],
    num_steps: int,
    previous: Float[Array, "b h a"],
    delay: Ticks,
    overlap_end: Ticks,
    num_samples: int,
    k: int | None = None,
    weak: Policy | None = None,
    *,
    flow_steps: Int[Array, " b"] | None = None,
) -> Float[Array, "b h a"]:
    """Samples `num_samples` chunks and keeps the best (bidirectional decoding, arXiv 2408.17355).

    The backward loss is the distance to the previous chunk, weighted by the "exp" prefix weights. With a
    weak policy the forward contrast is added: the distances to the `k` best chunks of this policy
    minus those to the `k` best of the weak one, over n.

    Args:
        policy: the flow.
        obs: observations.
        noise: initial noise, sample-major: row i · b + j belongs to sample i of observation j.
        num_steps: flow steps.
        previous: the previous chunk, shifted so that its action 0 belongs to this query's tick.
        delay: ticks until the new chunk arrives.
        overlap_end: first action that the previous chunk no longer covers.
        num_samples: chunks per observation.
        k: chunks per policy that the forward contrast compares with; goes with `weak`.
        weak: an earlier checkpoint of the same policy; starts from the same noise.
        flow_steps: steps per observation, as in `FlowPolicy.action`.

    Raises:
        ValueError: `num_steps` < 1 or a wrong shape.
    """
    batch, chunk = obs.shape[0], previous.shape[1:]
    weights = get_prefix_weights(delay, overlap_end, chunk[0], "exp")
    steps = None if flow_steps is None else jnp.tile(flow_steps, num_samples)

    def sample(policy: Policy) -> tuple[Array, Array]:
        condition = jnp.tile(policy.condition(obs), (num_samples, 1))
        chunks = policy.sample(condition, noise, num_steps, steps).reshape(num_samples, batch, *chunk)
        return chunks, jnp.sum(distance(chunks, previous) * weights, axis=-1)

    chunks, loss = sample(policy)
    if weak is not None:
        candidates = (chunks, loss), sample(weak)
        best = [best_chunks(k, *candidate) for candidate in candidates]
        contrast = [jnp.sum(distance(chunks[:, None], s), axis=(1, 3)) for s in best]
        loss = loss + (contrast[0] - contrast[1]) / num_samples
    return chunks[jnp.argmin(loss, axis=0), jnp.arange(batch)]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Bid(FlowMethod):
    """Bidirectional Decoding (arXiv 2408.17355): the sample that goes best with the previous chunk.

    Backward coherence: the distance to the previous chunk, weighted by the prefix weights. With `contrast` also the
    forward contrast: close to the `k` best samples of this policy, far from the `k` best of a weak one. Cost per
    flow step: one network evaluation per sample; two with `contrast`.

    Attributes:
        noise_scale: standard deviation of the flow's initial noise.
        weak: the weak policy, with `contrast`; None until it is bound.
        num_samples: chunks drawn per query.
        k: chunks per policy in the forward contrast.
        contrast: use the forward contrast.
    """

    noise_scale: Float[Array, ""]
    weak: Any = None
    num_samples: int = field(default=16, metadata={"static": True})
    k: int = field(default=3, metadata={"static": True})
    contrast: bool = field(default=False, metadata={"static": True})

    def next_chunk(self, policy: Any, query: Query, num_steps: int) -> Float[Array, "b h a"]:
        keys = jax.vmap(lambda key: jax.random.split(key, self.num_samples), out_axes=1)(query.key)
        return best_sample(
            policy,
            query.obs,
            initial_noise(keys.reshape(-1), policy, self.noise_scale),
            num_steps,
            query.leftover,
            query.planned_delay,
            query.overlap_end,
            self.num_samples,
            *((self.k, self.weak) if self.contrast else ()),
            flow_steps=query.flow_steps,
        )

    def network_evaluations(self, steps: Steps) -> Steps:
        return steps * self.num_samples * (2 if self.contrast else 1)

    def assets(self) -> Mapping[str, AssetSpec]:
        return {"weak": WEAK_POLICY} if self.contrast else {}


def _earliest(place: Place) -> Path | None:
    """The first checkpoint of the run for the level, where the policy is not that one itself."""
    found = checkpoints.first_policy_path(place.run_path, place.level_path)
    return None if found == place.checkpoint else found


def _load(path: Path) -> Any:
    return checkpoints.load_policy(path)[0]


WEAK_POLICY = AssetSpec(
    what="a weak policy, an early checkpoint of the run",
    fix="train with --config.also-save 2",
    find=_earliest,
    load=_load,
)


def bid(noise_scale: float = 1.0, bid_num_samples: int = 16) -> Bid:
    """Backward coherence alone."""
    require_int("bid_num_samples", bid_num_samples, low=1)
    return Bid(jnp.float32(noise_scale), None, bid_num_samples)


def bid_contrast(noise_scale: float = 1.0, bid_num_samples: int = 16, bid_k: int = 3) -> Bid:
    """With the forward contrast. Raises ValueError for more best samples than samples."""
    if bid_k > bid_num_samples:
        raise ValueError(f"bid_k={bid_k} exceeds bid_num_samples={bid_num_samples}: choose at most {bid_num_samples}")
    return Bid(jnp.float32(noise_scale), None, bid_num_samples, bid_k, True)
