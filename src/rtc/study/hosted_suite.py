"""Worlds that are stepped from Python and share a policy, as what networks beside that policy are trained for."""

import contextlib
import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from rtc import worlds
from rtc.control import host
from rtc.control.host import ExternalEnvironment
from rtc.control.host.recording import Recording
from rtc.policies.kinds import ChunkPolicy
from rtc.study import evaluation, hosted
from rtc.study.evaluation import EvalConfig
from rtc.study.hosted import HostedSubject
from rtc.study.subject import Recorded
from rtc.worlds import Home


@dataclass(frozen=True)
class HostedSuite:
    """A policy in some worlds of its suite.

    Attributes:
        subjects: the policy in each of them; at least one.
    """

    subjects: tuple[HostedSubject, ...]

    @property
    def level(self) -> Home:
        """What the policy is trained for."""
        return self.subjects[0].level.home

    @property
    def filed_under(self) -> str:
        """The level as files of networks are named after it."""
        return self.level.name

    @property
    def worlds(self) -> tuple[str, ...]:
        """Names of the worlds."""
        return tuple(one.level.name for one in self.subjects)

    @property
    def checkpoint_sha256(self) -> str:
        return self.subjects[0].checkpoint_sha256

    @property
    def chunk_size(self) -> int:
        return self.subjects[0].chunk_size

    @property
    def policy(self) -> ChunkPolicy:
        return self.subjects[0].policy

    @property
    def observing(self) -> ChunkPolicy:
        """The policy, which reads the whole observation."""
        return self.policy

    def seen(self) -> tuple[Int[np.ndarray, " o"], Bool[np.ndarray, " o"]]:
        """All entries of the observation, and which of these are those of the robot's own body."""
        robot = self.subjects[0].level.robot
        return np.arange(len(robot), dtype=np.int32), robot

    def record(self, configs: Sequence[EvalConfig], *, seed: int, episodes: Int[np.ndarray, " n"]) -> list[Recorded]:
        """Some episodes to learn from, in the worlds in turn, by each configuration; none starts as evaluations do."""
        count, parts = len(self.subjects), []
        for number, one in enumerate(self.subjects[: len(episodes)]):
            with contextlib.closing(worlds.open_training(one.level)) as opened:
                parts.append([_recorded(opened, one, config, seed, episodes[number::count]) for config in configs])
        return [
            Recorded(*(np.concatenate(arrays) for arrays in zip(*of_config, strict=True)))
            for of_config in zip(*parts, strict=True)
        ]


def _recorded(
    opened: ExternalEnvironment, one: HostedSubject, config: EvalConfig, seed: int, episodes: Int[np.ndarray, " n"]
) -> Recorded:
    environment = Recording(opened)
    asked = {"num_steps": config.num_flow_steps, "method_name": config.method}
    rules = one.controller(config)
    found = host.rollout(environment, one.policy, rules, seed=seed, episodes=episodes, **asked).records
    evaluation.require_finite(found, f"recording of world {one.level.name}")
    ticks = found.actions.shape[1]
    obs, action = (_padded(rows, ticks) for rows in (environment.obs, environment.action))
    return Recorded(obs, action, found.actions, found.length, found.solved)


def _padded(episodes: Iterable[list[np.ndarray]], ticks: int) -> Float[np.ndarray, "n t k"]:
    rows = [np.stack(one) for one in episodes]
    return np.stack([np.pad(row, ((0, ticks - len(row)), (0, 0))) for row in rows])


def load(run_path: str | Path, level_paths: Iterable[str]) -> list[HostedSuite]:
    """A run's policies and the worlds among these that share each.

    Raises:
        ValueError: unknown world, damaged checkpoint, or one of another size or for another suite.
        FileNotFoundError: no such run.
    """
    suites: dict[str, HostedSuite] = {}
    for path in level_paths:
        one = hosted.load(run_path, path)
        name = one.level.home.name
        there = suites[name].subjects if name in suites else ()
        suites[name] = dataclasses.replace(suites[name], subjects=(*there, one)) if there else HostedSuite((one,))
    return list(suites.values())
