"""The networks beside a policy, as what methods need."""

from collections.abc import Mapping
from pathlib import Path

from rtc.methods.base import AssetSpec, Place
from rtc.policies import networks
from rtc.policies.networks import Network


def network_spec(cls: type[Network], what: str, *, of_policy: bool = True) -> AssetSpec:
    """How a network of the policy's run is found, read and checked.

    Args:
        cls: its class.
        what: what it is, for messages.
        of_policy: it belongs to the very policy that it was trained beside; else to the level.
    """
    belongs = ("level_sha256", "policy_sha256") if of_policy else ("level_sha256",)

    def find(where: Place) -> Path | None:
        return networks.find(where.run_path, cls.kind, where.level_path)

    def load(path: Path) -> Network:
        return networks.load(path, cls)[0]

    def made_for(path: Path) -> Mapping[str, str]:
        facts = networks.facts(path)
        return {name: facts[name] for name in belongs if name in facts}

    fix = f"train one with src/train_networks.py --kinds {cls.kind} and the policy's --run-path"
    return AssetSpec(what, fix, find, load, made_for)
