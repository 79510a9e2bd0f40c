"""Policies that are asked in Python, one query at a time: what the host executor needs of them."""

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np
from jaxtyping import Float

from rtc.shared.validation import require_choice, require_int

Condition = Literal["planned_delay", "leftover"]
CONDITIONS = get_args(Condition)


@dataclass(frozen=True)
class PolicySpec:
    """What a policy is.

    Attributes:
        chunk_size: H, actions per chunk, one per control tick.
        action_dim: numbers per action.
        conditioning: what a query can be conditioned on, for method `conditioned`: `planned_delay` (ticks until the
            chunk is expected), `leftover` (what the robot executes until then).
        max_origin: largest origin of its chunks, in ticks: for policies that plan for the tick of hand-over.
        num_steps: steps of a whole query, of a policy that can stop early (`Request.num_steps`); None for others.
        random: chunks are drawn with `Request.seed`: queries that differ in it alone have different answers.
        identity: what it is, for results.

    Raises:
        ValueError: a field is out of range.
    """

    chunk_size: int
    action_dim: int
    conditioning: tuple[Condition, ...] = ()
    max_origin: int = 0
    num_steps: int | None = None
    random: bool = True
    identity: str = ""

    def __post_init__(self):
        require_int("chunk_size", self.chunk_size, low=1)
        require_int("action_dim", self.action_dim, low=1)
        require_int("max_origin", self.max_origin, low=0)
        if self.num_steps is not None:
            require_int("num_steps", self.num_steps, low=1)
        if isinstance(self.conditioning, str):
            raise ValueError(f"conditioning={self.conditioning!r} must be a tuple: ({self.conditioning!r},)")
        for one in self.conditioning:
            require_choice("conditioning entry", one, CONDITIONS)


@dataclass(frozen=True)
class Request:
    """A query.

    Attributes:
        obs: what the environment gave, as late as the observation lag says.
        seed: randomness of this query, 64 bits: it depends on (seed, episode, query), so that all methods and delay
            profiles meet the same.
        tick: control ticks since the episode's start.
        execute_horizon: s, in ticks.
        num_steps: steps that there is time for, of a policy with `PolicySpec.num_steps`.
        planned_delay: ticks until the chunk is expected, of a conditioned query; else None.
        leftover: what is executed until the answer arrives, entry j at the j-th tick after the launch, as far as the
            plan reaches without a gap, of a conditioned query; else None. The chunk before the first query is sampled
            without conditions.
    """

    obs: Any
    seed: int
    tick: int
    execute_horizon: int
    num_steps: int
    planned_delay: int | None = None
    leftover: Float[np.ndarray, "k a"] | None = None

    def rng(self) -> np.random.Generator:
        """A random generator from the seed."""
        return np.random.default_rng(self.seed)


@dataclass(frozen=True)
class Reply:
    """The answer to a query.

    Attributes:
        chunk: its entry i belongs to tick `origin` + i after the launch.
        latency_ms: how long it took, where the policy knows better than a clock around the call.
        origin: tick of the chunk's first entry; at most `PolicySpec.max_origin`.
    """

    chunk: Float[np.ndarray, "h a"]
    latency_ms: float | None = None
    origin: int = 0


class ExternalPolicy(Protocol):
    """A policy of any kind: a PyTorch module, a process, a server.

    Attributes:
        spec: what it is.
    """

    spec: PolicySpec

    def reset(self, seed: int) -> None:
        """An episode starts; its randomness, 64 bits, depends on the seed and the episode's number."""
        ...

    def infer(self, request: Request) -> Reply:
        """The next chunk."""
        ...


class FunctionPolicy:
    """A function from an observation to a chunk as a policy.

    A function with a parameter `rng` is given a `numpy.random.Generator` by that name, which depends on (seed, episode,
    query). One without counts as deterministic.
    """

    def __init__(self, function: Callable[..., Any], obs: Any):
        """Asks the function once, for the sizes of its chunks.

        Args:
            function: obs -> chunk, H x A.
            obs: any observation.

        Raises:
            ValueError: it does not return a chunk.
        """
        self._function, self._random = function, _takes_rng(function)
        name = getattr(function, "__name__", type(function).__name__)
        chunk = self.infer(Request(obs, 0, 0, 1, 1)).chunk
        if chunk.ndim != 2 or 0 in chunk.shape:
            raise ValueError(
                f"policy={name} returned an array of shape {chunk.shape}: let it return a chunk, one row per control "
                "tick and one column per number of an action"
            )
        self.spec = PolicySpec(*chunk.shape, random=self._random, identity=name)

    def reset(self, seed: int) -> None:
        """See `ExternalPolicy`."""

    def infer(self, request: Request) -> Reply:
        """See `ExternalPolicy`."""
        given = {"rng": request.rng()} if self._random else {}
        return Reply(_numbers(self._function(request.obs, **given)))


def _takes_rng(function: Callable[..., Any]) -> bool:
    try:
        return "rng" in inspect.signature(function).parameters
    except ValueError:  # some functions in C do not say
        return False


def _numbers(chunk: Any) -> np.ndarray:
    try:
        return np.asarray(chunk, np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the policy's chunk is no array of numbers: {error}") from error


def checked(reply: Reply, spec: PolicySpec, ahead: bool) -> Reply:
    """The reply, its chunk as an array of single precision.

    Args:
        reply: what the policy returned.
        spec: of the policy.
        ahead: its chunk may have an origin.

    Raises:
        ValueError: it is none, its chunk has another shape than the policy's, or latency or origin are out of range.
    """
    if not isinstance(reply, Reply):
        raise ValueError(f"infer returned a {type(reply).__name__}: let it return a Reply")
    chunk = _numbers(reply.chunk)
    if chunk.shape != (spec.chunk_size, spec.action_dim):
        raise ValueError(
            f"chunk has shape {chunk.shape}, but the policy's spec says {(spec.chunk_size, spec.action_dim)}: correct "
            "one of them"
        )
    if reply.latency_ms is not None and not 0 <= reply.latency_ms < float("inf"):
        raise ValueError(f"latency_ms={reply.latency_ms} must be a number of at least 0, in milliseconds")
    require_int("origin", reply.origin, low=0, high=spec.max_origin)
    if reply.origin and not ahead:
        raise ValueError(
            f"origin={reply.origin}, but this query was asked without conditions and its chunk begins at the launch: "
            "let origin be 0 where planned_delay is None, or choose method 'conditioned'"
        )
    return dataclasses.replace(reply, chunk=chunk)
