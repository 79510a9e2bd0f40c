"""Execution methods: how the next action chunk is produced from an observation and the chunk being executed.

A method is a registered pytree with one `next_chunk`; what users sweep (weights, noise scale) is traced, what
changes the program (a schedule's name, a number of samples) is static.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from rtc.validation import require_choice, require_float, require_int


class Query(NamedTuple):
    """What a method is told when a query is launched, for a batch of environments.

    Attributes:
        key: randomness of this query, one key per environment.
        obs: observation at the launch.
        leftover: previous chunk shifted so that entry j is its action for the j-th tick after the launch.
        planned_delay: delay the controller plans for, in ticks.
        overlap_end: entries of `leftover` from this index on carry no weight.
    """

    key: Key[Array, " b"]
    obs: Float[Array, "b o"]
    leftover: Float[Array, "b h a"]
    planned_delay: Int[Array, " b"]
    overlap_end: Int[Array, " b"]


class Policy(Protocol):
    """The chunk policy as methods see it: `model.FlowPolicy`, or a stand-in with the same calls."""

    action_chunk_size: int
    action_dim: int


class Method(Protocol):
    @property
    def noise_scale(self) -> Float[Array, ""]:
        """Standard deviation of the flow's initial noise, of the bootstrap chunk too."""
        ...

    def next_chunk(self, policy: Policy, query: Query, num_steps: int) -> Float[Array, "b h a"]:
        """The chunk for ticks 0 … h-1 after the launch, from `num_steps` flow steps."""
        ...

    def network_evaluations(self, num_steps: int) -> int:
        """Passes through the network per query; a backward pass counts like a forward pass."""
        ...


def initial_noise(key: Key[Array, " b"], policy: Policy, scale: Float[Array, ""]) -> Float[Array, "b h a"]:
    """Initial noise of the flow, from each environment's own key: the same whatever the batch around it."""
    shape = (policy.action_chunk_size, policy.action_dim)
    return scale * jax.vmap(lambda k: jax.random.normal(k, shape))(key)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Naive:
    """Switches to the new chunk as soon as it arrives, whatever the old one was doing.

    Attributes:
        noise_scale: standard deviation of the flow's initial noise.
    """

    noise_scale: Float[Array, ""]

    def next_chunk(self, policy: Policy, query: Query, num_steps: int) -> Float[Array, "b h a"]:
        noise = initial_noise(query.key, policy, self.noise_scale)
        return policy.action(None, query.obs, num_steps, noise=noise)

    def network_evaluations(self, num_steps: int) -> int:
        return num_steps


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Realtime:
    """Real-Time Chunking (arXiv 2506.07339): the flow is guided to agree with the rest of the previous chunk.

    Attributes:
        noise_scale: standard deviation of the flow's initial noise.
        max_guidance_weight: bound β on the guidance weight (Eq. 2).
        schedule: how the weight of the previous chunk decays behind the planned delay; `zeros` is hard masking.
    """

    noise_scale: Float[Array, ""]
    max_guidance_weight: Float[Array, ""]
    schedule: str = field(default="exp", metadata={"static": True})

    def next_chunk(self, policy: Policy, query: Query, num_steps: int) -> Float[Array, "b h a"]:
        return policy.realtime_action(
            None,
            query.obs,
            num_steps,
            query.leftover,
            query.planned_delay,
            query.overlap_end,
            self.schedule,
            self.max_guidance_weight,
            noise=initial_noise(query.key, policy, self.noise_scale),
        )

    def network_evaluations(self, num_steps: int) -> int:
        return 2 * num_steps


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Bid:
    """Bidirectional Decoding (arXiv 2408.17355), backward coherence only: the sample closest to the previous chunk.

    Attributes:
        noise_scale: standard deviation of the flow's initial noise.
        num_samples: chunks drawn per query.
    """

    noise_scale: Float[Array, ""]
    num_samples: int = field(default=16, metadata={"static": True})

    def next_chunk(self, policy: Policy, query: Query, num_steps: int) -> Float[Array, "b h a"]:
        keys = jax.vmap(lambda key: jax.random.split(key, self.num_samples), out_axes=1)(query.key)
        return policy.bid_action(
            None,
            query.obs,
            num_steps,
            query.leftover,
            query.planned_delay,
            query.overlap_end,
            self.num_samples,
            noise=initial_noise(keys.reshape(-1), policy, self.noise_scale),
        )

    def network_evaluations(self, num_steps: int) -> int:
        return num_steps * self.num_samples


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainedPrefix:
    """Training-time RTC (arXiv 2512.05964): a policy trained with simulated delay completes a frozen prefix.

    Attributes:
        noise_scale: standard deviation of the flow's initial noise.
    """

    noise_scale: Float[Array, ""]

    def next_chunk(self, policy: Policy, query: Query, num_steps: int) -> Float[Array, "b h a"]:
        noise = initial_noise(query.key, policy, self.noise_scale)
        prefix = jnp.minimum(query.planned_delay, query.overlap_end)
        chunk = policy.prefix_action(None, query.obs, num_steps, query.leftover, prefix, noise=noise)
        # A chunk that arrives early is executed from inside its prefix, which must be the committed actions.
        committed = jnp.arange(policy.action_chunk_size) < prefix[:, None]
        return jnp.where(committed[..., None], query.leftover, chunk)

    def network_evaluations(self, num_steps: int) -> int:
        return num_steps


@dataclass(frozen=True)
class MethodOptions:
    """Numbers that methods share.

    Attributes:
        noise_scale: standard deviation of the flow's initial noise.
        max_guidance_weight: bound on RTC's guidance weight.
        bid_num_samples: chunks that BID draws per query.
    """

    noise_scale: float = 1.0
    max_guidance_weight: float = 5.0
    bid_num_samples: int = 16

    def __post_init__(self):
        require_float("noise_scale", self.noise_scale, low=0.0)
        require_float("max_guidance_weight", self.max_guidance_weight, low=0.0)
        require_int("bid_num_samples", self.bid_num_samples, low=1)


def _realtime(schedule: str) -> Callable[[MethodOptions], Method]:
    return lambda o: Realtime(jnp.float32(o.noise_scale), jnp.float32(o.max_guidance_weight), schedule)


METHODS: Mapping[str, Callable[[MethodOptions], Method]] = MappingProxyType(
    {
        "naive": lambda o: Naive(jnp.float32(o.noise_scale)),
        "realtime": _realtime("exp"),
        "realtime_linear": _realtime("linear"),
        "realtime_ones": _realtime("ones"),
        "hard_masking": _realtime("zeros"),
        "bid": lambda o: Bid(jnp.float32(o.noise_scale), o.bid_num_samples),
        "trained_prefix": lambda o: TrainedPrefix(jnp.float32(o.noise_scale)),
    }
)


def make(name: str, options: MethodOptions | None = None) -> Method:
    """A method by name. Raises ValueError, with the closest name, for an unknown one."""
    require_choice("method", name, METHODS)
    return METHODS[name](options or MethodOptions())
