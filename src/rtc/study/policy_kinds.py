"""What of an evaluation's settings is in force for a kind of policy."""

import dataclasses
from typing import Any

from rtc.methods import registry
from rtc.policies.kinds import PolicyKind
from rtc.study import identity
from rtc.study.evaluation import EvalConfig


def check(kind: PolicyKind, config: EvalConfig) -> None:
    """Raises ValueError where the method needs a flow that the policy does not have, or a setting has no effect."""
    if kind.flows:
        return
    of_it = f"a policy that was trained with loss={kind.loss!r}"
    if config.method in registry.OF_FLOWS:
        raise ValueError(
            f"method={config.method!r} needs a flow, and {of_it} has none: choose one that needs only chunks, such as "
            "naive, synchronous or temporal_ensemble, or a flow policy"
        )
    settings = {
        "num_flow_steps": (config.num_flow_steps, EvalConfig.num_flow_steps, "takes one pass"),
        "method_options.noise_scale": (config.method_options.given().get("noise_scale"), None, "draws nothing"),
        "delay_profile.anytime": (config.delay_profile.anytime, None, "cannot stop early"),
    }
    for name, (value, usual, why) in settings.items():
        if value != usual:
            raise ValueError(f"{name}={value} has no effect on {of_it}, which {why}: leave it out")


def in_force(kind: PolicyKind, config: EvalConfig) -> EvalConfig:
    """The configuration with the number of passes that a query takes as its flow steps."""
    return config if kind.flows else dataclasses.replace(config, num_flow_steps=1)


def settings(kind: PolicyKind, config: EvalConfig) -> dict[str, Any]:
    """The settings that results depend on (`identity.settings`), without those that have no effect."""
    found = identity.settings(config)
    return found if kind.flows else {name: value for name, value in found.items() if name != "num_flow_steps"}
