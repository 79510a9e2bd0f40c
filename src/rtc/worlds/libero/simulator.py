"""LIBERO's suites in its own simulation: MuJoCo by way of robosuite 1.4, headless.

Needs the extra `libero`, assets, and a library that renders without a display: see `rtc.worlds.libero.setup_check`.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from rtc.shared import identity
from rtc.worlds.libero import setup_check
from rtc.worlds.libero.constants import ENVIRONMENT_SEED, IMAGE_PIXELS, Suite
from rtc.worlds.libero.episodes import Simulation

# What a result depends on besides this project: recorded, and never mixed.
DISTRIBUTIONS = ("hf-libero", "libero", "robosuite", "mujoco", "numpy")


class TaskSource(Protocol):
    """The tasks of a suite."""

    def task_names(self) -> list[str]: ...

    def instruction(self, task_id: int) -> str: ...

    def initial_states(self, task_id: int) -> Float[np.ndarray, "n s"]: ...

    def environment(self, task_id: int) -> Any:
        """A context manager that gives the task's `Simulation`, seeded and not yet reset."""
        ...

    def versions(self) -> dict[str, str]: ...


class LiberoTasks:
    """The tasks of a suite, from the installed LIBERO (`libero/libero/benchmark/__init__.py`)."""

    def __init__(self, suite: Suite):
        """Checks the set-up and imports LIBERO.

        Raises:
            ValueError: something is missing, or the installed LIBERO has another number of tasks.
        """
        assets = setup_check.require()
        libero = import_libero(assets)
        self._benchmark = importlib.import_module("libero.libero.benchmark").get_benchmark(suite.name)()
        self._bddl_files = Path(libero.get_libero_path("bddl_files"))
        if self._benchmark.get_num_tasks() != suite.num_tasks:
            number = self._benchmark.get_num_tasks()
            raise ValueError(f"suite={suite.name!r} has {number} tasks here, {suite.num_tasks} in LIBERO: reinstall it")

    def task_names(self) -> list[str]:
        return self._benchmark.get_task_names()

    def instruction(self, task_id: int) -> str:
        return self._benchmark.get_task(task_id).language

    def initial_states(self, task_id: int) -> Float[np.ndarray, "n s"]:
        return np.asarray(self._benchmark.get_task_init_states(task_id))

    @contextmanager
    def environment(self, task_id: int) -> Iterator[Simulation]:
        """As `get_libero_env` in OpenVLA-OFT's `experiments/robot/libero/libero_utils.py` makes it."""
        task = self._benchmark.get_task(task_id)
        path = self._bddl_files / task.problem_folder / task.bddl_file
        make = importlib.import_module("libero.libero.envs").OffScreenRenderEnv
        env = make(bddl_file_name=str(path), camera_heights=IMAGE_PIXELS, camera_widths=IMAGE_PIXELS)
        try:
            env.seed(ENVIRONMENT_SEED)
            yield env
        finally:
            env.close()

    def versions(self) -> dict[str, str]:
        """Versions of what a result depends on, by distribution."""
        return identity.installed(DISTRIBUTIONS)


def import_libero(assets: Path) -> Any:
    """LIBERO's package, configured without its question, and with its assets where they are."""
    if setup_check.write_default_config(setup_check.package_root()):
        print(f"wrote LIBERO's default paths to {setup_check.config_file()}")
    libero = importlib.import_module("libero.libero")
    if hasattr(libero, "get_assets_path"):
        # hf-libero would look in two places and then download. Its modules take this function by name when they are
        # imported, which is later.
        libero.get_assets_path = lambda: str(assets)
    return libero
