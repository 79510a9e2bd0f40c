"""What is evaluated: a flow policy on a level, with everything that belongs to it."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rtc import methods
from rtc.control import executor
from rtc.control.controller import Controller
from rtc.control.environment import Environment
from rtc.control.records import Records
from rtc.policies import checkpoints
from rtc.policies.flow import FlowPolicy
from rtc.study import evaluation, identity
from rtc.study.evaluation import EvalConfig, Evaluation, ModelSize
from rtc.worlds.kinetix import levels
from rtc.worlds.kinetix.levels import Level


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

    def origin(self) -> dict[str, str]:
        """Where level and policy were found, for the provenance."""
        ...


@dataclass(frozen=True)
class FlowSubject:
    """A flow policy on a level.

    Attributes:
        level: the level.
        level_path: how the user named it.
        policy: the policy.
        checkpoint: its file.
        checkpoint_sha256: hash of that file.
        training: the facts stored with the checkpoint.
        weak_checkpoint: the run's first one for the level, where it has an earlier one.
    """

    level: Level
    level_path: str
    policy: FlowPolicy
    checkpoint: Path
    checkpoint_sha256: str
    training: dict
    weak_checkpoint: Path | None = None

    @functools.cached_property
    def weak(self) -> FlowPolicy | None:
        """The policy of `weak_checkpoint`, for methods that compare with one."""
        return None if self.weak_checkpoint is None else checkpoints.load_policy(self.weak_checkpoint)[0]

    @property
    def chunk_size(self) -> int:
        return self.policy.action_chunk_size

    def check(self, config: EvalConfig) -> None:
        evaluation.require_horizon(config.execution.execute_horizon, self.chunk_size)
        evaluation.check_policy(config, self.policy, weak_policy(config, self))
        evaluation.controller_for(config)

    def inputs(self, config: EvalConfig, seed: int) -> dict[str, Any]:
        found = {
            "config": {**identity.settings(config), "seed": seed},
            "checkpoint_sha256": self.checkpoint_sha256,
            "level_sha256": self.level.sha256,
            "code": identity.code(config),
        }
        if _needs_weak_policy(config) and self.weak_checkpoint is not None:
            found["weak_sha256"] = checkpoints.sha256(self.weak_checkpoint)
        return found

    def prepare(self, config: EvalConfig) -> tuple[Environment, FlowPolicy, Controller]:
        """What the executor runs, see `evaluation.prepare`."""
        return evaluation.prepare(config, self.level, self.policy, weak_policy(config, self))

    def rollout(self, config: EvalConfig, **options: Any) -> Records:
        """`executor.rollout` of this policy; `options` are its seed, episodes and what else it takes."""
        return executor.rollout(*self.prepare(config), num_steps=config.num_flow_steps, **options)

    def evaluate(self, config: EvalConfig, seed: int) -> Evaluation:
        weak = weak_policy(config, self)
        return evaluation.evaluate(config, self.level, self.policy, weak=weak, seed=seed)

    def origin(self) -> dict[str, str]:
        return {"checkpoint": identity.shown(self.checkpoint), "level_path": identity.shown(self.level.path)}


def _needs_weak_policy(config: EvalConfig) -> bool:
    return methods.make(config.method, config.method_options).needs_weak_policy


def weak_policy(config: EvalConfig, subject: FlowSubject) -> FlowPolicy | None:
    """The weak policy, if the method needs one and the run has one."""
    return subject.weak if _needs_weak_policy(config) else None


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
    policy, training = checkpoints.load_policy(path)
    checkpoints.check_level(path, training, level.name, level.sha256, chosen=file is not None)
    if size is not None:
        policy, training = checkpoints.load_policy(path, size.wanted(policy.config, trust=path.suffix != ".pkl"))
    early = checkpoints.first_policy_path(run_path, level_path) if file is None else path
    weak = None if early == path else early
    return FlowSubject(level, level_path, policy, path, checkpoints.sha256(path), training, weak)
