"""A chunk policy in a world that is stepped from Python, as what a study evaluates: cells as any others."""

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from rtc import worlds
from rtc.control import host
from rtc.control.controller import Controller
from rtc.control.records import Records
from rtc.methods import Method, Policy
from rtc.policies import checkpoints, kinds
from rtc.policies.kinds import ChunkPolicy
from rtc.study import costs, evaluation, identity, modes, policy_kinds, preparation
from rtc.study.cells import SIMULATOR
from rtc.study.costs import Costs
from rtc.study.evaluation import EvalConfig, Evaluation, ModelSize
from rtc.study.preparation import Assets
from rtc.study.subject import PolicySubject
from rtc.worlds import HostWorld


@dataclass(frozen=True)
class HostedSubject(PolicySubject):
    """A chunk policy in a world that is stepped from Python, one environment at a time."""

    level: HostWorld

    @property
    def filed_under(self) -> str:
        return self.level.home.name

    @property
    def made_for(self) -> str:
        return self.level.home.sha256

    def inputs(self, config: EvalConfig, seed: int) -> dict[str, Any]:
        return super().inputs(config, seed) | {SIMULATOR: dict(self.level.simulator)}

    def code(self, config: EvalConfig) -> str:
        return identity.hosted_code(config, worlds.module_of(self.level.kind), self.kind.loader)

    def check(self, config: EvalConfig) -> None:
        policy_kinds.check(self.kind, config)
        evaluation.require_horizon(config.execution.execute_horizon, self.chunk_size)
        check_world(self.level, self.level_path, config)
        preparation.check_policy(config, self.policy, self.assets(config))
        if preparation.controller_for(config).method.privileged:
            raise ValueError(
                f"method={config.method!r} looks at the simulator, which is stepped elsewhere in {self.level_path}: "
                "choose one that is not privileged"
            )

    def controller(self, config: EvalConfig) -> Controller:
        """The controller, with the networks that the method needs."""
        return controller(config, self.policy, self.assets(config))

    def answering(self, config: EvalConfig) -> tuple[Method, ChunkPolicy, int]:
        """What answers a query: method, policy, and the flow steps that it takes."""
        return self.controller(config).method, self.policy, self.steps(config)

    def rollout(self, config: EvalConfig, *, seed: int, episodes: Int[np.ndarray, " n"]) -> Records:
        """What happens in some episodes."""
        config = policy_kinds.in_force(self.kind, config)
        return rollout(config, self.level, self.policy, self.controller(config), seed=seed, episodes=episodes)

    def evaluate(self, config: EvalConfig, seed: int) -> Evaluation:
        config = policy_kinds.in_force(self.kind, config)
        found = evaluate(config, self.level, self.policy, assets=self.assets(config), seed=seed)
        return noted(found, self.level)

    def costs(self, config: EvalConfig) -> Costs:
        outside = _Outside(self.level.observation_dim)
        return costs.of(self.policy, self.controller(config).method, outside, self.steps(config))

    def origin(self) -> dict[str, str]:
        return {"checkpoint": identity.shown(self.checkpoint), "level_path": self.level.path}


def check_world(world: HostWorld, level_path: str, config: EvalConfig) -> None:
    """Raises ValueError where a setting has no effect in a world that is stepped from Python, or it has too few starts.

    Args:
        world: the world.
        level_path: how the user named it.
        config: the evaluation.
    """
    for name in ("physics", "start_noise"):
        value, usual = getattr(config, name), getattr(EvalConfig, name)
        if value != usual:
            raise ValueError(
                f"{name}={value!r} has no effect in {level_path}, which has a simulator and starts of its "
                f"own: leave it {usual!r}"
            )
    starts = world.num_starts
    if starts is not None and config.num_evals > starts:
        raise ValueError(
            f"num_evals={config.num_evals}, but {level_path} has {starts} start states, one per episode: "
            f"choose at most {starts}, and more seeds for more episodes"
        )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Outside:
    """In place of an environment that is stepped elsewhere: all that counting costs asks of it is an observation."""

    observation_dim: int = dataclasses.field(metadata={"static": True})

    def reset(self, keys: Key[Array, " b"]) -> tuple[tuple[()], Float[Array, "b o"]]:
        return (), jnp.zeros((len(keys), self.observation_dim))


def controller(config: EvalConfig, policy: ChunkPolicy, assets: Assets) -> Controller:
    """What stands between world and policy, the method's networks bound.

    Raises:
        ValueError: the method does not fit the policy, lacks a network, or a trace cannot be read.
    """
    preparation.check_policy(config, policy, assets)
    made = preparation.controller_for(config)
    networks = {name: assets[name].network for name in made.method.assets()}
    return dataclasses.replace(made, method=made.method.bind(networks))


def rollout(
    config: EvalConfig,
    world: HostWorld,
    policy: Policy,
    rules: Controller,
    *,
    seed: int,
    episodes: Int[np.ndarray, " n"],
) -> Records:
    """Runs some episodes in a world, one after the other.

    The world stays open for the next cells: some simulators take seconds to open, and their resets forget what was.
    """
    asked = {"num_steps": config.num_flow_steps, "method_name": config.method}
    return host.rollout(_opened(world), policy, rules, seed=seed, episodes=episodes, **asked).records


def noted(found: Evaluation, world: HostWorld) -> Evaluation:
    """The evaluation, with what the world's environment noted of its episodes, if it notes anything."""
    return modes.noted(found, _opened(world))


def _opened(world: HostWorld) -> host.ExternalEnvironment:
    """The world's environment; the one that was opened last is kept, and closed for another."""
    if world not in _OPEN:
        while _OPEN:
            _OPEN.popitem()[1].close()
        _OPEN[world] = worlds.open_env(world)
    return _OPEN[world]


def evaluate(
    config: EvalConfig, world: HostWorld, policy: ChunkPolicy, *, assets: Assets | None = None, seed: int = 0
) -> Evaluation:
    """Runs `config.num_evals` episodes of a policy in a world.

    Args:
        assets: the networks that the method needs.

    Raises:
        ValueError: the method does not fit the policy, or lacks a network.
        NonFiniteError: a NaN or infinity appeared; the message says in which episode and tick.
    """
    rules = controller(config, policy, assets or {})
    hedge = config.delay_profile.tail.hedge

    def run(*, episodes: Int[np.ndarray, " n"], num_slots: int) -> Records:
        return rollout(config, world, policy, rules, seed=seed, episodes=episodes)

    return evaluation.run(
        run,
        config,
        world,
        what=f"world {world.name}, method {config.method}, seed {seed}",
        chunk_size=policy.action_chunk_size,
        evaluations=lambda steps: rules.method.network_evaluations(steps) * hedge,
        bootstrap_evaluations=rules.method.bootstrap_evaluations(policy, config.num_flow_steps),
    )


_OPEN: dict[HostWorld, Any] = {}


@functools.lru_cache(maxsize=64)
def load(
    run_path: str | Path,
    level_path: str,
    step: int = -1,
    size: ModelSize | None = None,
    file: str | Path | None = None,
) -> HostedSubject:
    """A world that is stepped from Python, and a run's policy for it; arguments as of `subject.load`.

    Raises:
        ValueError: unknown world, damaged checkpoint, or one of another size or for another world.
        FileNotFoundError: no such run or epoch.
    """
    world = worlds.load(level_path)
    path = checkpoints.find_policy(run_path, world.home.name, step, file)
    sizes = {"obs_dim": world.observation_dim, "action_dim": world.action_dim}
    kind = kinds.of(path)
    policy, training = kind.load(path, **sizes)
    checkpoints.check_level(path, training, world.home.name, world.home.sha256, chosen=file is not None)
    if size is not None:
        policy, training = kind.load(path, size.wanted(policy.config, trust=True), **sizes)
    return HostedSubject(world, level_path, policy, path, checkpoints.sha256(path), training, Path(run_path), kind)
