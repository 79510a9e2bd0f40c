"""The tasks of LIBERO's suites, without its benchmark module, which imports PyTorch: names, files, initial states."""

import importlib
import importlib.util
import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import Float

from rtc.shared import pickles
from rtc.worlds.libero import setup_check
from rtc.worlds.libero.constants import Suite
from rtc.worlds.libero.simulator import import_libero

# Suites and their tasks as a dictionary: a module of LIBERO that imports nothing.
_TASK_MAP = Path("benchmark") / "libero_suite_task_map.py"


@dataclass(frozen=True)
class StateTask:
    """A task of a suite.

    Attributes:
        number: its place in the suite, from 0.
        name: as LIBERO calls it.
        bddl_file: objects, places and goal.
        states_file: the benchmark's initial states.
    """

    number: int
    name: str
    bddl_file: Path
    states_file: Path

    @property
    def instruction(self) -> str:
        """The task in words."""
        return self.name.replace("_", " ")


def find_tasks(suite: Suite) -> tuple[StateTask, ...]:
    """The tasks of a suite, in LIBERO's order, from the installed LIBERO, which is then ready to be imported.

    Raises:
        ValueError: something is missing, or the installed LIBERO has another number of tasks.
    """
    assets = setup_check.require(images=False)
    libero = import_libero(assets)
    root = setup_check.package_root()
    names = _module(root / _TASK_MAP).libero_task_map[suite.name]
    if len(names) != suite.num_tasks:
        raise ValueError(f"suite={suite.name!r} has {len(names)} tasks here, {suite.num_tasks} in LIBERO: reinstall it")
    bddl, states = (Path(libero.get_libero_path(name)) / suite.name for name in ("bddl_files", "init_states"))
    return tuple(
        StateTask(number, name, bddl / f"{name}.bddl", states / f"{name}.pruned_init")
        for number, name in enumerate(names)
    )


def _module(path: Path) -> Any:
    """A Python file as a module by itself: importing its package would import PyTorch."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_states(path: Path) -> Float[np.ndarray, "n s"]:
    """The initial states in a file of LIBERO's, one per row: time, positions, velocities of all joints.

    PyTorch wrote it: a zip archive with a pickle of one array, which the restricted reader reads.

    Raises:
        ValueError: it is something else, is damaged, or asks for code.
    """
    fix = "reinstall hf-libero"
    try:
        with zipfile.ZipFile(path) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            content = archive.read(name)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, ValueError) as error:
        raise ValueError(f"{path} is no file of initial states ({error}); {fix}") from error
    with TemporaryDirectory() as folder:
        pickle = Path(folder) / path.name
        pickle.write_bytes(content)
        try:
            arrays = pickles.read_arrays(pickle)
        except ValueError as error:
            raise ValueError(f"{path} holds no initial states: {error}") from error
    states = arrays.get("")
    if len(arrays) != 1 or states is None or states.ndim != 2 or states.dtype != np.float64:
        raise ValueError(f"{path} holds something else than one array of states (n x s, float64); {fix}")
    if not np.isfinite(states).all():
        raise ValueError(f"{path} holds states that are not finite; {fix}")
    return states
