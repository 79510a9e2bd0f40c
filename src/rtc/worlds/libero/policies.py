"""Policies for LIBERO: their interface, and those that can be chosen by name."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from rtc.shared.validation import require_choice, require_int
from rtc.worlds.libero.adapter import Observation
from rtc.worlds.libero.constants import ACTION_DIM, CHUNK_LENGTH, PROPRIO_DIM, Suite
from rtc.worlds.libero.openvla_oft import OftConfig, OpenVlaOft, find_checkpoint


class LiberoPolicy(Protocol):
    """What an episode needs of a policy.

    A policy may also have `get_stats() -> dict[str, float]`: numbers about its last query, recorded beside its latency,
    and `close()`, called at the end.
    """

    def predict(self, observation: Observation) -> Float[np.ndarray, "8 7"]:
        """The next 8 actions: six of the arm's motion, each normally in -1…1, and the gripper, 0 closed to 1 open."""
        ...


@runtime_checkable
class HasStats(Protocol):
    """A policy with numbers about its last query."""

    def get_stats(self) -> dict[str, float]: ...


@dataclass(frozen=True)
class PolicyConfig:
    """What policies are made from; each takes what it needs.

    Attributes:
        seed: of random weights (policy `stub`).
        oft: checkpoint and environment of policy `openvla_oft`.
    """

    seed: int = 0
    oft: OftConfig = field(default_factory=OftConfig)

    def __post_init__(self):
        require_int("policy_config.seed", self.seed, low=0)


class StubPolicy:
    """A small network with random weights, for trying things out: it solves nothing.

    Both images, averaged over 8 × 8 blocks, and the proprioceptive state go through one hidden layer.
    """

    BLOCKS = 8
    HIDDEN = 64

    def __init__(self, seed: int = 0):
        rng = np.random.default_rng(seed)
        inputs = 2 * 3 * self.BLOCKS**2 + PROPRIO_DIM
        self._first = rng.normal(0, inputs**-0.5, (inputs, self.HIDDEN))
        self._second = rng.normal(0, self.HIDDEN**-0.5, (self.HIDDEN, CHUNK_LENGTH * ACTION_DIM))

    def predict(self, observation: Observation) -> Float[np.ndarray, "8 7"]:
        """See `LiberoPolicy`."""
        images = [self._pooled(image) for image in (observation.image, observation.wrist_image)]
        hidden = np.tanh(np.concatenate([*images, observation.proprio]) @ self._first)
        chunk = np.tanh(hidden @ self._second).reshape(CHUNK_LENGTH, ACTION_DIM)
        chunk[:, -1] = (chunk[:, -1] + 1) / 2
        return chunk

    def _pooled(self, image: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, " n"]:
        height, width = (size // self.BLOCKS for size in image.shape[:2])
        whole = image[: height * self.BLOCKS, : width * self.BLOCKS]
        blocks = whole.reshape(self.BLOCKS, height, self.BLOCKS, width, 3)
        return blocks.mean((1, 3)).ravel() / 127.5 - 1


@dataclass(frozen=True)
class Kind:
    """A policy that can be chosen by name.

    Attributes:
        make: makes it for a suite.
        settings: what its answers depend on, as plain values; results of other settings are not mixed.
    """

    make: Callable[[PolicyConfig, Suite], LiberoPolicy]
    settings: Callable[[PolicyConfig, Suite], dict[str, Any]]


POLICIES: Mapping[str, Kind] = MappingProxyType(
    {
        "stub": Kind(lambda config, suite: StubPolicy(config.seed), lambda config, suite: {"seed": config.seed}),
        "openvla_oft": Kind(
            lambda config, suite: OpenVlaOft(config.oft, suite),
            lambda config, suite: {"checkpoint": find_checkpoint(config.oft, suite)},
        ),
    }
)


def find_policy(name: str) -> Kind:
    """The policy of that name. Raises ValueError, with the closest name, for an unknown one."""
    require_choice("policy", name, POLICIES)
    return POLICIES[name]


@contextmanager
def opened(name: str, config: PolicyConfig, suite: Suite) -> Iterator[LiberoPolicy]:
    """The policy of that name for a suite, closed in the end if it can be.

    Raises:
        ValueError: the name is unknown (the message has the closest one), or the policy lacks something.
    """
    policy = find_policy(name).make(config, suite)
    with ExitStack() as stack:
        if hasattr(policy, "close"):
            stack.callback(policy.close)
        yield policy
