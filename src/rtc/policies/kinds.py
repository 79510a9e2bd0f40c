"""The kinds of chunk policies: how one is made, written and read, and what a checkpoint holds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rtc.policies import checkpoints, regression, weights
from rtc.policies.flow import FlowPolicy
from rtc.policies.regression import RegressionPolicy

ChunkPolicy = FlowPolicy | RegressionPolicy


@dataclass(frozen=True)
class PolicyKind:
    """A kind of policy.

    Attributes:
        loss: what it is trained with, as `CloningConfig.loss` calls it.
        make: makes one of random weights, from the arguments of `FlowPolicy`.
        save, load: its files, as of `checkpoints.save_policy` and `checkpoints.load_policy`.
        flows: it samples from a flow, so that methods can condition it and drawn chunks differ.
    """

    loss: str
    make: Callable[..., ChunkPolicy]
    save: Callable[[str | Path, Any, Mapping[str, Any]], None]
    load: Callable[..., tuple[Any, dict[str, Any]]]
    flows: bool

    @property
    def loader(self) -> str:
        """Dotted name of `load`, where the code behind its results starts."""
        return f"{self.load.__module__}.{self.load.__qualname__}"


FLOW = PolicyKind("flow", FlowPolicy, checkpoints.save_policy, checkpoints.load_policy, flows=True)
REGRESSION = PolicyKind("l1", RegressionPolicy, regression.save_policy, regression.load_policy, flows=False)
KINDS: Mapping[str, PolicyKind] = MappingProxyType({kind.loss: kind for kind in (FLOW, REGRESSION)})


def of(path: str | Path) -> PolicyKind:
    """What a checkpoint holds; one that does not say is a flow policy.

    Args:
        path: a file, or its name without suffix.

    Raises:
        ValueError: the file beside the weights is damaged.
    """
    name = Path(str(path).removesuffix(weights.WEIGHTS))
    if name.suffix == checkpoints.PICKLE or not weights.with_suffix(name, weights.HEADER).is_file():
        return FLOW
    return REGRESSION if weights.read_header(name, {}).get("kind") == regression.KIND else FLOW


def of_policy(policy: Any) -> PolicyKind | None:
    """What a policy is; None for one that is not of this project."""
    return next((kind for kind in KINDS.values() if isinstance(policy, kind.make)), None)
