"""Recordings of a policy's own rollouts, for what is learned from them: under delay, and those without that succeed."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Int

from rtc.control.controller import ExecutionConfig
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.shared.validation import require_int
from rtc.study.evaluation import EvalConfig
from rtc.study.subject import Recorded
from rtc.training import npz, trajectories
from rtc.training.trajectories import Trajectories
from rtc.worlds import Home


class Recordable(Protocol):
    """A policy whose rollouts can be recorded: a `FlowSubject`, or a `rtc.study.hosted_suite.HostedSuite`."""

    level: Home
    checkpoint_sha256: str

    @property
    def chunk_size(self) -> int: ...

    def seen(self) -> tuple[Int[np.ndarray, " o"], Bool[np.ndarray, " o"]]: ...

    def record(
        self, configs: Sequence[EvalConfig], *, seed: int, episodes: Int[np.ndarray, " n"]
    ) -> list[Recorded]: ...


@dataclass(frozen=True)
class RolloutKind:
    """Episodes of one kind.

    Attributes:
        delay: constant delay in control ticks, which is known; the execute horizon is the same, but at least 1.
        action_noise: standard deviation of the noise on executed actions.
    """

    delay: int
    action_noise: float = 0.1


# With and without delay, and now and then thrown off course.
KINDS = (
    RolloutKind(0),
    RolloutKind(0, 0.3),
    RolloutKind(1),
    RolloutKind(2),
    RolloutKind(4),
    RolloutKind(4, 0.3),
)
AT_ONCE = RolloutKind(0)


def kinds(chunk_size: int) -> list[RolloutKind]:
    """The kinds of rollouts in which no tick starves: at longer delays chunks of this size end too soon."""
    return [kind for kind in KINDS if 2 * kind.delay <= chunk_size]


@dataclass(frozen=True)
class RecordingConfig:
    """How much to record.

    Attributes:
        episodes: per kind of rollout.
        seed: of all randomness; evaluations have others.
        num_flow_steps: flow steps per query.
    """

    episodes: int = 768
    seed: int = 1000
    num_flow_steps: int = 5

    def __post_init__(self):
        require_int("episodes", self.episodes, low=1)
        require_int("seed", self.seed, low=0)
        require_int("num_flow_steps", self.num_flow_steps, low=1)


def record(subject: Recordable, config: RecordingConfig, path: Path, *, resume: bool = True) -> Trajectories:
    """The policy's rollouts by naive execution, from `path` or made and written there.

    Raises:
        ValueError: what is there was recorded otherwise.
        NonFiniteError: policy or simulator broke down.
    """
    wanted = kinds(subject.chunk_size)
    facts = _facts(subject, config) | {"kinds": [dataclasses.asdict(kind) for kind in wanted]}
    if (found := _kept(path, facts, resume)) is not None:
        return found
    recorded = _rollouts(subject, config, wanted)
    parts = [(one.obs, one.action, one.length) for one in recorded]
    return _keep(path, subject, parts, facts | {"solved": [float(one.solved.mean()) for one in recorded]})


def demonstrate(subject: Recordable, config: RecordingConfig, path: Path, *, resume: bool = True) -> Trajectories:
    """The policy's own solved episodes without delay, asked for a new chunk at every tick: demonstrations by itself.

    The actions are what was commanded, before the action noise, within the actions' range. From `path` or made and
    written there.

    Raises:
        ValueError: what is there was recorded otherwise, or no episode was solved.
        NonFiniteError: policy or simulator broke down.
    """
    facts = _facts(subject, config) | {"kind": dataclasses.asdict(AT_ONCE)}
    if (found := _kept(path, facts, resume)) is not None:
        return found
    (recorded,) = _rollouts(subject, config, [AT_ONCE])
    if not recorded.solved.any():
        raise ValueError(
            f"the policy solved none of {config.episodes} episodes of level {subject.level.name}, from which it was to "
            "learn: record more, or give demonstrations"
        )
    solved = recorded.solved
    parts = [(recorded.obs[solved], np.clip(recorded.commanded[solved], -1, 1), recorded.length[solved])]
    return _keep(path, subject, parts, facts | {"solved": float(solved.mean())})


def of_subject(subject: Recordable) -> dict[str, Any]:
    """Whose rollouts they are, and where: of a policy that several worlds share, also in which of them."""
    found = {
        "level": subject.level.name,
        "level_sha256": subject.level.sha256,
        "policy_sha256": subject.checkpoint_sha256,
    }
    names = list(getattr(subject, "worlds", [subject.level.name]))
    return found | ({} if names == [subject.level.name] else {"worlds": names})


def _facts(subject: Recordable, config: RecordingConfig) -> dict[str, Any]:
    return of_subject(subject) | dataclasses.asdict(config)


def _kept(path: Path, facts: dict[str, Any], resume: bool) -> Trajectories | None:
    if not (resume and path.exists()):
        return None
    found = trajectories.load(path)
    npz.require_same(path, found.facts, facts)
    return found


def _keep(path: Path, subject: Recordable, parts: list[Any], facts: dict[str, Any]) -> Trajectories:
    entries, robot = subject.seen()
    data = trajectories.joined(parts, robot=robot, entries=entries, facts=facts)
    trajectories.save(path, data)
    return data


def _rollouts(subject: Recordable, config: RecordingConfig, wanted: Sequence[RolloutKind]) -> list[Recorded]:
    settings = [
        EvalConfig(
            num_flow_steps=config.num_flow_steps,
            delay_profile=DelayProfileConfig(fixed_delay=kind.delay),
            estimator=EstimatorConfig(kind="oracle"),
            execution=ExecutionConfig(execute_horizon=max(kind.delay, 1), action_noise=kind.action_noise),
        )
        for kind in wanted
    ]
    return subject.record(settings, seed=config.seed, episodes=np.arange(config.episodes))
