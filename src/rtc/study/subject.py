"""What is evaluated: a chunk policy on a level, with everything that belongs to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from rtc.control import executor
from rtc.control.controller import Controller
from rtc.control.environment import Environment
from rtc.control.recorder import Recorder
from rtc.control.records import Records
from rtc.methods import Place
from rtc.policies import checkpoints, kinds
from rtc.policies.kinds import ChunkPolicy, PolicyKind
from rtc.study import costs, evaluation, identity, policy_kinds, preparation
from rtc.study.costs import Costs
from rtc.study.evaluation import EvalConfig, Evaluation, ModelSize
from rtc.study.preparation import Assets, find_assets
from rtc.worlds import HostWorld
from rtc.worlds.kinetix import levels
from rtc.worlds.kinetix.levels import Level


class Recorded(NamedTuple):
    """What happened in some episodes, for what is learned from it.

    Attributes:
        obs: what was observed, of the entries that can change.
        action: what was executed then, action noise included.
        commanded: before the noise.
        length: control ticks of the episode.
        solved: the goal was reached.
    """

    obs: Float[np.ndarray, "n t o"]
    action: Float[np.ndarray, "n t a"]
    commanded: Float[np.ndarray, "n t a"]
    length: Int[np.ndarray, " n"]
    solved: Bool[np.ndarray, " n"]


class Subject(Protocol):
    """A policy on a level, as the runner sees it."""

    level: Level
    level_path: str

    @property
    def chunk_size(self) -> int:
        """H, in control ticks."""
        ...

    def check(self, config: EvalConfig) -> None:
        """Raises ValueError where an evaluation is not possible with this policy."""
        ...

    def inputs(self, config: EvalConfig, seed: int) -> dict[str, Any]:
        """Everything that the results depend on."""
        ...

    def rollout(self, config: EvalConfig, **options: Any) -> Records:
        """What happens in some episodes; `options` are those of `executor.rollout`, such as seed and episodes."""
        ...

    def evaluate(self, config: EvalConfig, seed: int) -> Evaluation:
        """All episodes of a configuration, summarised."""
        ...

    def costs(self, config: EvalConfig) -> Costs | None:
        """What the method multiplies; None where nobody counts it."""
        ...

    def origin(self) -> dict[str, str]:
        """Where level and policy were found, for the provenance."""
        ...


@dataclass(frozen=True)
class PolicySubject:
    """A chunk policy on a level, wherever that is simulated: what belongs to it, and what its results depend on.

    Attributes:
        level: the level.
        level_path: how the user named it.
        policy: the policy.
        checkpoint: its file.
        checkpoint_sha256: hash of that file.
        training: the facts stored with the checkpoint.
        run_path: directory of its run, where the networks are that a method needs besides.
        kind: what kind of policy it is.
    """

    level: Level | HostWorld
    level_path: str
    policy: ChunkPolicy
    checkpoint: Path
    checkpoint_sha256: str
    training: dict
    run_path: Path = Path()
    kind: PolicyKind = kinds.FLOW

    @property
    def filed_under(self) -> str:
        """The level as files of networks are named after it."""
        return self.level_path

    @property
    def made_for(self) -> str:
        """Hash of the level that networks are made for."""
        return self.level.sha256

    def code(self, config: EvalConfig) -> str:
        """Digest of the code that evaluates it."""
        raise NotImplementedError

    def assets(self, config: EvalConfig) -> Assets:
        """The networks that a configuration's method needs, as far as there are any.

        Raises:
            ValueError: one was made for another level or policy.
        """
        found = find_assets(config, Place(self.run_path, self.filed_under, self.checkpoint))
        for asset in found.values():
            asset.require_made_for(self.made_for, self.checkpoint_sha256)
        return found

    def steps(self, config: EvalConfig) -> int:
        """Flow steps of a query: one pass where there is no flow."""
        return policy_kinds.in_force(self.kind, config).num_flow_steps

    @property
    def chunk_size(self) -> int:
        return self.policy.action_chunk_size

    def inputs(self, config: EvalConfig, seed: int) -> dict[str, Any]:
        found = {
            "config": {**policy_kinds.settings(self.kind, config), "seed": seed},
            "checkpoint_sha256": self.checkpoint_sha256,
            "level_sha256": self.level.sha256,
            "code": self.code(config),
        }
        if self.checkpoint.suffix == checkpoints.PICKLE and self.policy.config.simulated_delay is not None:
            # The file does not say how it was trained: the user does.
            found["config"]["simulated_delay"] = self.policy.config.simulated_delay
        if assets := self.assets(config):
            found["assets"] = {name: asset.sha256 for name, asset in assets.items()}
        return found


@dataclass(frozen=True)
class FlowSubject(PolicySubject):
    """A chunk policy on a level of Kinetix."""

    level: Level

    def code(self, config: EvalConfig) -> str:
        return identity.code(config, self.kind.loader)

    def check(self, config: EvalConfig) -> None:
        policy_kinds.check(self.kind, config)
        evaluation.require_horizon(config.execution.execute_horizon, self.chunk_size)
        preparation.check_policy(config, self.policy, self.assets(config))
        preparation.controller_for(config)

    def prepare(self, config: EvalConfig) -> tuple[Environment, ChunkPolicy, Controller]:
        """What the executor runs, see `preparation.prepare`."""
        return preparation.prepare(config, self.level, self.policy, self.assets(config))

    def rollout(self, config: EvalConfig, **options: Any) -> Records:
        """`executor.rollout` of this policy; `options` are its seed, episodes and what else it takes."""
        return executor.rollout(*self.prepare(config), num_steps=self.steps(config), **options)

    def evaluate(self, config: EvalConfig, seed: int) -> Evaluation:
        config = policy_kinds.in_force(self.kind, config)
        return evaluation.evaluate(config, self.level, self.policy, assets=self.assets(config), seed=seed)

    @property
    def observing(self) -> ChunkPolicy:
        """The policy, reading the observation entries that can change."""
        return self.prepare(EvalConfig())[1]

    def seen(self) -> tuple[Int[np.ndarray, " o"], Bool[np.ndarray, " o"]]:
        """The observation entries that can change, and which of these are those of the robot's own bodies."""
        env = self.prepare(EvalConfig())[0]
        return np.asarray(env.entries, np.int32), np.asarray(env.robot)

    def record(self, configs: Sequence[EvalConfig], *, seed: int, episodes: Int[np.ndarray, " n"]) -> list[Recorded]:
        """Some episodes to learn from, by each configuration."""
        return [self._recorded(config, seed, episodes) for config in configs]

    def _recorded(self, config: EvalConfig, seed: int, episodes: Int[np.ndarray, " n"]) -> Recorded:
        env, policy, controller = self.prepare(config)
        asked = {"seed": seed, "episodes": episodes, "num_steps": config.num_flow_steps, "record_poses": True}
        records = executor.rollout(Recorder(env), policy, controller, **asked)
        evaluation.require_finite(records, f"recording of level {self.level.name}")
        return Recorded(*records.poses, records.actions, records.length, records.solved)

    def costs(self, config: EvalConfig) -> Costs:
        env, policy, controller = self.prepare(config)
        return costs.of(policy, controller.method, env, self.steps(config))

    def origin(self) -> dict[str, str]:
        return {"checkpoint": identity.shown(self.checkpoint), "level_path": identity.shown(self.level.path)}


def load(
    run_path: str | Path,
    level_path: str,
    step: int = -1,
    size: ModelSize | None = None,
    file: str | Path | None = None,
) -> FlowSubject:
    """Loads a level and a run's policy for it.

    Args:
        run_path: directory of the run, logs-bc/<run>.
        level_path: world file or level name.
        step: epoch of the checkpoint; -1 takes the last one.
        size: the size that the policy must have; None takes it as it is.
        file: the policy's file instead of the run's for this level.

    Raises:
        ValueError: unknown level, malformed world file, damaged checkpoint or one of another size.
        FileNotFoundError: no such world file, run or epoch.
    """
    level = levels.load(level_path)
    path = checkpoints.find_policy(run_path, level_path, step, file)
    kind = kinds.of(path)
    policy, training = kind.load(path)
    checkpoints.check_level(path, training, level.name, level.sha256, chosen=file is not None)
    if size is not None:
        wanted = size.wanted(policy.config, trust=path.suffix != checkpoints.PICKLE)
        policy, training = kind.load(path, wanted)
    return FlowSubject(level, level_path, policy, path, checkpoints.sha256(path), training, Path(run_path), kind)
