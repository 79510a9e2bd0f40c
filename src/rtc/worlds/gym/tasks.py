"""Tasks of Gymnasium with a plain test of success, as external environments for the host executor.

Numbers are scaled for networks: observations are divided by `Task.scale`, and actions in -1…1 cover the whole range of
the environment's own. Episodes start where Gymnasium draws them; dynamics and rewards are Gymnasium's.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

import gymnasium
import numpy as np
from gymnasium.error import DependencyNotInstalled
from jaxtyping import Bool, Float

from rtc.control.host.environments import Step
from rtc.shared import identity, provenance
from rtc.shared.entry import how_to_install
from rtc.shared.validation import require_choice
from rtc.worlds.gym.environment import GymEnvironment

Error = Callable[[Float[np.ndarray, " o"]], float]


def lean(obs: Float[np.ndarray, " 3"]) -> float:
    """Pendulum: the angle from upright, in rad; `obs` is (cos, sin, speed)."""
    return float(abs(np.arctan2(obs[1], obs[0])))


def gap(obs: Float[np.ndarray, " 10"]) -> float:
    """Reacher: the distance from fingertip to target, in m: the last two entries are the vector between them."""
    return float(np.hypot(*obs[8:10]))


@dataclass(frozen=True)
class Task:
    """A task: solved, and over, once its error has stayed below a tolerance for some ticks in a row.

    Attributes:
        name: Gymnasium's name of the environment.
        tolerance: the error has to be less, in rad or m.
        hold: for so many ticks.
        max_ticks: ticks after which an episode ends: the environment's own limit.
        scale: of every entry of the observation.
        action_dim: numbers per action.
        error: the error of an observation.
        outside: entries of the observation that are not of the robot's own body.
        extra: what has to be installed for it: an extra of this project.
    """

    kind: ClassVar[str] = "gym"
    num_starts: ClassVar[None] = None

    name: str
    tolerance: float
    hold: int
    max_ticks: int
    scale: tuple[float, ...]
    action_dim: int
    error: Error = field(compare=False)
    extra: str | None = None
    outside: tuple[int, ...] = ()

    @property
    def robot(self) -> Bool[np.ndarray, " o"]:
        """Which entries of the observation are those of the robot's own body."""
        return ~np.isin(np.arange(self.observation_dim), self.outside)

    @property
    def observation_dim(self) -> int:
        return len(self.scale)

    @property
    def bound_actions(self) -> Bool[np.ndarray, " a"]:
        """All actions drive something."""
        return np.ones(self.action_dim, bool)

    @property
    def home(self) -> "Task":
        """Every task has a policy of its own."""
        return self

    @property
    def simulator(self) -> dict[str, str]:
        """Versions of what simulates it, as far as that is installed."""
        return identity.installed(("gymnasium", "mujoco") if self.extra == "mujoco" else ("gymnasium",))

    @property
    def path(self) -> str:
        """Where it is found."""
        return f"gymnasium:{self.name}"

    @property
    def sha256(self) -> str:
        """Hash of what it is; its simulator's version is not part of it."""
        names = ("name", "tolerance", "hold", "max_ticks", "scale")
        return provenance.sha256(provenance.canonical_json({name: getattr(self, name) for name in names}).encode())


# Cosine, sine and angular speed; cosines and sines of both joints, target, angular speeds, fingertip to target.
_PENDULUM = (1.0, 1.0, 8.0)
_REACHER = (1.0, 1.0, 1.0, 1.0, 0.2, 0.2, 10.0, 10.0, 0.2, 0.2)
TASKS = MappingProxyType(
    {
        task.name: task
        for task in (
            Task("Pendulum-v1", 0.2, 20, 200, _PENDULUM, 1, lean),
            Task("Reacher-v5", 0.02, 10, 50, _REACHER, 2, gap, "mujoco", outside=(4, 5, 8, 9)),
        )
    }
)


def find(name: str) -> Task:
    """The task of that name. Raises ValueError, with the closest name, for an unknown one."""
    require_choice("task of Gymnasium", name, TASKS)
    return TASKS[name]


class TaskEnvironment:
    """A task as an external environment (`rtc.control.host.environments.ExternalEnvironment`)."""

    def __init__(self, task: Task, *, stops: bool = True):
        """Makes Gymnasium's environment.

        Args:
            task: the task.
            stops: a solved episode is over; False lets it go on to the time limit, for recordings.

        Raises:
            ValueError: its simulator is not installed.
        """
        try:
            env = gymnasium.make(task.name, max_episode_steps=task.max_ticks)
        except (DependencyNotInstalled, ImportError) as error:
            raise ValueError(
                f"world='gym:{task.name}' has no simulator here ({error}): "
                + how_to_install("gymnasium" if task.extra is None else f"exp-delta[{task.extra}]")
            ) from error
        self.task, self.max_ticks, self.action_dim = task, task.max_ticks, task.action_dim
        self.bound_actions = task.bound_actions
        scaled = gymnasium.wrappers.RescaleAction(env, np.float32(-1), np.float32(1))
        self._env, self._stops, self._held = scaled, stops, 0
        self._inside = GymEnvironment(scaled, solved=lambda step, info: task.error(step.obs) < task.tolerance)

    def reset(self, seed: int) -> Float[np.ndarray, " o"]:
        """See `ExternalEnvironment`."""
        self._held = 0
        return self._scaled(self._inside.reset(seed))

    def step(self, action: Float[np.ndarray, " a"]) -> Step:
        """See `ExternalEnvironment`."""
        step = self._inside.step(action)
        self._held = self._held + 1 if step.solved else 0
        solved = self._held >= self.task.hold
        over = step.terminated or (solved and self._stops)
        return Step(self._scaled(step.obs), step.reward, solved, over, step.truncated)

    def close(self) -> None:
        """Frees the simulator."""
        self._env.close()

    def _scaled(self, obs: Float[np.ndarray, " o"]) -> Float[np.ndarray, " o"]:
        return np.asarray(obs / np.asarray(self.task.scale), np.float32)
