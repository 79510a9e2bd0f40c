"""What an execution method is: one `next_chunk`, told what the controller knows when a query is launched."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax
from jaxtyping import Array, Float, Int, Key

from rtc.shared.validation import require_float, require_int


class Query(NamedTuple):
    """What a method is told when a query is launched, for a batch of environments.

    Attributes:
        key: randomness of this query, one key per environment.
        obs: observation at the launch.
        leftover: previous chunk shifted so that entry j is its action for the j-th tick after the launch.
        planned_delay: delay the controller plans for, in ticks.
        overlap_end: entries of `leftover` from this index on carry no weight.
        predictions: earlier chunks that had an action for the j-th tick after the launch.
        flow_steps: flow steps that there is time for, from 1 to the number that the method is called with.
    """

    key: Key[Array, " b"]
    obs: Float[Array, "b o"]
    leftover: Float[Array, "b h a"]
    planned_delay: Int[Array, " b"]
    overlap_end: Int[Array, " b"]
    predictions: Int[Array, "b h"]
    flow_steps: Int[Array, " b"]


class Answer(NamedTuple):
    """What came of a query.

    Attributes:
        chunk: the chunk for ticks 0 … h-1 after the launch.
        delay: ticks from the launch to the chunk's arrival.
        flow_steps: steps that the chunk took: of the flow, or passes of a policy that decodes tokens.
    """

    chunk: Float[Array, "b h a"]
    delay: Int[Array, " b"]
    flow_steps: Int[Array, " b"]


class Policy(Protocol):
    """The chunk policy as methods see it: `model.FlowPolicy`, or a stand-in with the same calls."""

    action_chunk_size: int
    action_dim: int


class Method(Protocol):
    """An execution method: a registered pytree, whose swept numbers are traced.

    A method inherits from this class to get the rules below; it overrides those that do not fit it.

    Attributes:
        noise_scale: standard deviation of the flow's initial noise, of the bootstrap chunk too.
    """

    noise_scale: Float[Array, ""]

    def next_chunk(self, policy: Policy, query: Query, num_steps: int) -> Float[Array, "b h a"]:
        """The chunk for ticks 0 … h-1 after the launch, from at most `num_steps` flow steps."""
        ...

    def answer(self, policy: Policy, query: Query, drawn: Int[Array, " b"], num_steps: int) -> Answer:
        """The chunk and what it took. A method whose time depends on the query itself overrides this.

        Args:
            policy, query, num_steps: as in `next_chunk`.
            drawn: delay that the delay profile has for the query.
        """
        return Answer(self.next_chunk(policy, query, num_steps), drawn, query.flow_steps)

    def network_evaluations(self, num_steps: int | Int[Array, " b"]) -> int | Int[Array, " b"]:
        """Passes through the network per query; a backward pass counts like a forward pass."""
        return num_steps

    @property
    def waits(self) -> bool:
        """Whether no chunk is executed from a launch to the new chunk's arrival, which starts only then."""
        return False

    @property
    def needs_simulated_delay(self) -> bool:
        """Whether it works with policies trained with `ModelConfig.simulated_delay` only."""
        return False

    @property
    def needs_weak_policy(self) -> bool:
        """Whether it compares with a weak policy, an early checkpoint of the same run."""
        return False


@dataclass(frozen=True)
class MethodOptions:
    """Numbers that methods share.

    Attributes:
        noise_scale: standard deviation of the flow's initial noise.
        max_guidance_weight: bound on RTC's guidance weight.
        bid_num_samples: chunks that BID draws per query.
        bid_k: chunks per policy that BID's forward contrast compares with.
        ensemble_decay: how much less the k-th chunk counts in a temporal ensemble: exp(-ensemble_decay * k).
    """

    noise_scale: float = 1.0
    max_guidance_weight: float = 5.0
    bid_num_samples: int = 16
    bid_k: int = 3
    ensemble_decay: float = 0.01

    def __post_init__(self):
        for name in ("noise_scale", "max_guidance_weight", "ensemble_decay"):
            require_float(name, getattr(self, name), low=0.0)
        require_int("bid_num_samples", self.bid_num_samples, low=1)
        require_int("bid_k", self.bid_k, low=1)


def initial_noise(key: Key[Array, " b"], policy: Policy, scale: Float[Array, ""]) -> Float[Array, "b h a"]:
    """Initial noise of the flow, from each environment's own key: the same whatever the batch around it."""
    shape = (policy.action_chunk_size, policy.action_dim)
    return scale * jax.vmap(lambda k: jax.random.normal(k, shape))(key)
