"""Tasks of Gymnasium as a kind of worlds, `gym:Pendulum-v1`: stepped one environment at a time, in Python."""

from pathlib import Path
from typing import NoReturn

import numpy as np
from jaxtyping import Int

from rtc.worlds.gym import tasks
from rtc.worlds.gym.tasks import Task, TaskEnvironment


def load(level: str | Path) -> Task:
    """The task of that name. Raises ValueError, with the closest name, for an unknown one."""
    return tasks.find(str(level))


def open_env(level: Task) -> TaskEnvironment:
    """Its environment. Raises ValueError where its simulator is not installed."""
    return TaskEnvironment(level)


def make_env(level: Task, physics: str, start_noise: float) -> NoReturn:
    """Raises ValueError: there is no batched environment of Gymnasium's tasks."""
    raise ValueError(
        f"world='gym:{level.name}' is simulated one environment at a time and has no batched one: run it in a study "
        "(docs/gymnasium.md) or with rtc.evaluate, or choose a level of Kinetix"
    )


def varying_observation_entries(level: Task) -> Int[np.ndarray, " v"]:
    """All of them."""
    return np.arange(level.observation_dim)
