"""From a configuration to what the executor runs: environment, policy, the method's networks, and controller."""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
from jaxtyping import Float, Int

from rtc import methods
from rtc.control.controller import Controller, ExecutionConfig, make_controller
from rtc.control.environment import Environment, start_keys
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.delay.sampling import make_process
from rtc.methods import AssetSpec, Method, MethodOptions, Place
from rtc.policies.flow import FlowPolicy
from rtc.shared import provenance
from rtc.worlds.kinetix import levels
from rtc.worlds.kinetix.levels import Level


class Settings(Protocol):
    """What has to be known of an evaluation: `EvalConfig`, whose fields these are."""

    method: str
    method_options: MethodOptions
    delay_profile: DelayProfileConfig
    estimator: EstimatorConfig
    execution: ExecutionConfig
    physics: str
    start_noise: float


@dataclass(frozen=True)
class Asset:
    """A network that belongs to a policy, as a file.

    Attributes:
        path: the file.
        spec: how it is read.
    """

    path: Path
    spec: AssetSpec

    @functools.cached_property
    def network(self) -> Any:
        """What is in the file."""
        return self.spec.load(self.path)

    def require_made_for(self, level_sha256: str, policy_sha256: str) -> None:
        """Raises ValueError where it was made for another level or policy."""
        here = {"level_sha256": level_sha256, "policy_sha256": policy_sha256}
        made_for = self.spec.made_for(self.path) if self.spec.made_for is not None else {}
        for name, sha256 in made_for.items():
            if sha256 != here[name]:
                raise ValueError(
                    f"{self.path} was made for another {name.removesuffix('_sha256')} (sha256 {sha256[:12]}, here "
                    f"{here[name][:12]}): {self.spec.fix} and --no-resume"
                )

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of the file."""
        return provenance.sha256(self.path.read_bytes())


Assets = Mapping[str, Asset]


def method_of(config: Settings) -> Method:
    """The method of a configuration, its networks missing. Raises ValueError for options that it does not read."""
    return methods.make(config.method, config.method_options)


def find_assets(config: Settings, place: Place) -> dict[str, Asset]:
    """The networks that a method needs, by name, as far as there are any; nothing is read yet."""
    found = {name: (spec, spec.find(place)) for name, spec in method_of(config).assets().items()}
    return {name: Asset(path, spec) for name, (spec, path) in found.items() if path is not None}


def check_policy(config: Settings, policy: FlowPolicy, assets: Assets) -> None:
    """Raises ValueError where a method cannot work with this policy, or lacks a network."""
    method = method_of(config)
    if problem := method.problem(policy):
        raise ValueError(f"method={config.method!r} {problem}")
    for name, spec in method.assets().items():
        if name not in assets:
            raise ValueError(
                f"method={config.method!r} needs {spec.what}, and there is none: {spec.fix}, or choose another method"
            )


def controller_for(config: Settings) -> Controller:
    """The controller that a configuration describes, the method's networks missing.

    Raises:
        ValueError: a trace cannot be read, or a setting has no effect with the method.
    """
    process, estimator = make_process(config.delay_profile), config.estimator.make()
    return make_controller(method_of(config), process, estimator, config.execution)


def prepare(
    config: Settings, level: Level, policy: FlowPolicy, assets: Assets | None = None
) -> tuple[Environment, FlowPolicy, Controller]:
    """What the executor runs.

    Args:
        config: the evaluation.
        level: the level.
        policy: the policy.
        assets: the networks that the method needs.

    Raises:
        ValueError: the method does not fit the policy, lacks a network, or a trace cannot be read.
    """
    assets = assets or {}
    check_policy(config, policy, assets)
    controller = controller_for(config)
    env, folded = observed(level, policy, config.physics, config.start_noise)
    needed = {name: assets[name].network for name in controller.method.assets()}
    networks = {name: _folded(level, one, config.physics, config.start_noise) for name, one in needed.items()}
    return env, folded, dataclasses.replace(controller, method=controller.method.bind(networks))


def observed(
    level: Level, policy: FlowPolicy, physics: str, start_noise: float = 0.0
) -> tuple[Environment, FlowPolicy]:
    """The level and the policy, both with the observation entries that can change in this level and no others."""
    return _varying(level, physics, start_noise)[0], _folded(level, policy, physics, start_noise)


def template(level: Level) -> Float[np.ndarray, " o"]:
    """The whole first observation of a level: what never changes in it has its value there."""
    return _varying(level, "fast", 0.0)[2]


def _folded(level: Level, network: Any, physics: str, start_noise: float) -> Any:
    """A network for the observation entries that can change, if it reads observations."""
    _, entries, start = _varying(level, physics, start_noise)
    return network.observing(entries, start) if hasattr(network, "observing") else network


@functools.lru_cache(maxsize=64)
def _varying(
    level: Level, physics: str, start_noise: float
) -> tuple[Environment, Int[np.ndarray, " v"], Float[np.ndarray, " o"]]:
    """The level observing only what can change, which entries these are, and the whole first observation."""
    env, entries = levels.make_env(level, physics, start_noise), levels.varying_observation_entries(level)
    start = jax.jit(lambda: env.reset(start_keys(1))[1][0])()
    return env.observing(tuple(entries.tolist())), entries, np.asarray(start)
