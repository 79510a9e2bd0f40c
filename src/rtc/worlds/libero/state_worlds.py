"""LIBERO's tasks on state observations as a kind of worlds, `libero_state:libero_spatial_3`: stepped from Python.

A task is a world of its own, and the tasks of a suite share a policy, which knows the task by a one-hot vector. Episode
n starts from the benchmark's initial state n, whatever the seed.
"""

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, NoReturn

import numpy as np
from jaxtyping import Bool, Float, Int

from rtc.control.host.environments import Step
from rtc.shared import identity, provenance
from rtc.shared.validation import require_choice
from rtc.worlds.libero import tasks
from rtc.worlds.libero.constants import ACTION_DIM, OFFICIAL_TRIALS, Suite, find_suite
from rtc.worlds.libero.scene import CENTRE, ENTRIES, ROBOT, SCALE, STATE_DIM
from rtc.worlds.libero.state import StateEnvironment, opened

# What simulates them, by the names of the distributions.
SIMULATOR = ("hf-libero", "robosuite", "mujoco")
# Of every task the hash of its files (`content`), by suite.
CONTENTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "libero_spatial": (
            "1286d14f4dccd16f20431ddbb70c6170347aebc645b48c414f9804a2d409951b",
            "357665f56531379a678fb9cce79d59099d15df47e683ad6803e91130809bc5b0",
            "45ad37664305a9995bd9e79ffce5c4e0dfb5cfabbcd7ab243ab4637e663f917a",
            "fb0673ddc221a962185680acaa0aa4c5ae8dce490ffcfebe8636d62d95f96f4e",
            "5cbe68214485f816795082898c7cbc353d0884c88c7f6d0cf50697a9b44ca1a9",
            "f6d8648a634ae3b86a91c4aa9e37ad848d90ead7d1502dea9cbb3f9a6aff9658",
            "0626f3289bb7f34352e67149289f808137cfc0c45c33ac22d988502f8a93d299",
            "4d6875dd0be0ca5eb38d43d62a4d80e6c0a42f1a3146dbf3d7792289ea185354",
            "7664947dfe561b557d24c4dc15cbaf54cac709d5c01fb4495f526a9552092bfa",
            "004b6f28c9d35a651d36d160fb61e6548152cf35e6a2714c7553eecdfebd7b2d",
        )
    }
)


@dataclass(frozen=True)
class StateSuite:
    """The tasks of a suite on state observations: what a policy is trained for.

    Attributes:
        name: as LIBERO calls it.
    """

    name: str

    @property
    def suite(self) -> Suite:
        return find_suite(self.name)

    @property
    def worlds(self) -> tuple["StateWorld", ...]:
        """Its tasks."""
        return tuple(StateWorld(self, task) for task in range(self.suite.num_tasks))

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of all that its tasks are, and of what is observed in them; versions of simulators are no part of it."""
        return _sha256([self._shown, [world.sha256 for world in self.worlds]])

    @property
    def _shown(self) -> list[object]:
        return [[(entry.name, entry.size) for entry in ENTRIES], CENTRE.tolist(), SCALE.tolist()]


@dataclass(frozen=True)
class StateWorld:
    """A task on state observations.

    Observations are those of `rtc.worlds.libero.state.StateEnvironment`, centred and scaled for networks (`scaled`).

    Attributes:
        home: its suite.
        task: its number there, from 0.
    """

    kind: ClassVar[str] = "libero_state"
    action_dim: ClassVar[int] = ACTION_DIM
    num_starts: ClassVar[int] = OFFICIAL_TRIALS

    home: StateSuite
    task: int

    @property
    def name(self) -> str:
        return f"{self.home.name}_{self.task}"

    @property
    def path(self) -> str:
        """Where it is found."""
        return f"libero:{self.home.name}/{self.task}"

    @property
    def observation_dim(self) -> int:
        return STATE_DIM + self.home.suite.num_tasks

    @property
    def bound_actions(self) -> Bool[np.ndarray, " a"]:
        """All actions drive something."""
        return np.ones(ACTION_DIM, bool)

    @property
    def sha256(self) -> str:
        """Hash of what it is: objects, places, goal, initial states, time limit."""
        return _sha256([self.name, self.home.suite.max_steps, CONTENTS[self.home.name][self.task]])

    @property
    def robot(self) -> Bool[np.ndarray, " o"]:
        """Which entries of the observation are those of the hand."""
        return np.concatenate([ROBOT, np.zeros(self.home.suite.num_tasks, bool)])

    @property
    def simulator(self) -> dict[str, str]:
        """Versions of what simulates it, as far as that is installed."""
        return identity.installed(SIMULATOR)


def _sha256(value: object) -> str:
    return provenance.sha256(provenance.canonical_json(value).encode())


def find_state_suite(name: str) -> StateSuite:
    """The suite of that name. Raises ValueError, with the closest name, where it has no state observations."""
    require_choice("suite with state observations", name, CONTENTS)
    return StateSuite(name)


def load(level: str | Path) -> StateWorld:
    """The task of that name, as in "libero_spatial_3". LIBERO need not be installed.

    Raises:
        ValueError: an unknown one; with the closest name.
    """
    names = {world.name: world for suite in CONTENTS for world in StateSuite(suite).worlds}
    require_choice("task of LIBERO with state observations", str(level), names)
    return names[str(level)]


class ScaledEnvironment:
    """A task whose observations are centred and scaled for networks."""

    action_dim = ACTION_DIM

    def __init__(self, inside: StateEnvironment):
        self.inside = inside
        self.max_ticks, self.bound_actions = inside.max_ticks, inside.bound_actions
        self.begin_episode, self.close = inside.begin_episode, inside.close

    def reset(self, seed: int) -> Float[np.ndarray, " o"]:
        """See `ExternalEnvironment`."""
        return scaled(self.inside.reset(seed))

    def step(self, action: Float[np.ndarray, " 7"]) -> Step:
        """See `ExternalEnvironment`."""
        step = self.inside.step(action)
        return replace(step, obs=scaled(step.obs))


def scaled(obs: Float[np.ndarray, "*n o"]) -> Float[np.ndarray, "*n o"]:
    """Observations as networks read them: what the scene tells, centred and scaled; the task stays as it is."""
    state = (obs[..., :STATE_DIM] - CENTRE) / SCALE
    return np.concatenate([state, obs[..., STATE_DIM:]], axis=-1).astype(np.float32)


def open_env(level: StateWorld) -> ScaledEnvironment:
    """Its environment, whose episodes start from the benchmark's initial states.

    Raises:
        ValueError: LIBERO is not installed, or another one, with other files.
    """
    _require_known(level)
    return ScaledEnvironment(opened(level.task, suite=level.home.name, benchmark=True))


def open_training(level: StateWorld) -> ScaledEnvironment:
    """The same with places that the seed draws, none of the benchmark's."""
    _require_known(level)
    return ScaledEnvironment(opened(level.task, suite=level.home.name))


def _require_known(level: StateWorld) -> None:
    found = tasks.find_tasks(level.home.suite)[level.task]
    if content(found) != CONTENTS[level.home.name][level.task]:
        raise ValueError(
            f"{found.bddl_file} or {found.states_file} is not that of hf-libero 0.1.4, by which "
            f"world='libero_state:{level.name}' is known: reinstall it"
        )


def content(task: tasks.StateTask) -> str:
    """Hash of a task's file of objects, places and goal, and of its file of initial states."""
    digest = hashlib.sha256()
    for path in (task.bddl_file, task.states_file):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def make_env(level: StateWorld, physics: str, start_noise: float) -> NoReturn:
    """Raises ValueError: there is no batched environment of LIBERO."""
    raise ValueError(
        f"world='libero_state:{level.name}' is simulated one environment at a time and has no batched one: run it in "
        "a study (docs/libero.md) or with rtc.evaluate, or choose a level of Kinetix"
    )


def varying_observation_entries(level: StateWorld) -> Int[np.ndarray, " v"]:
    """All of them: the suite's policy reads them all."""
    return np.arange(level.observation_dim)
