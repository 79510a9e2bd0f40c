"""Kinds of worlds by name. A kind is a module, imported when one of its worlds is first named.

A world is written `kind:name`, as in "kinetix:grasp_easy"; without a kind it is a level of Kinetix, by name or by the
path of its file. Another simulator is one module with the functions of `Kind` and one line: `register`.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Int

from rtc.control.environment import Environment
from rtc.control.host.environments import ExternalEnvironment
from rtc.shared import paths
from rtc.shared.validation import unknown

DEFAULT = "kinetix"
_MODULES = {
    "gym": "rtc.worlds.gym.worlds",
    "kinetix": "rtc.worlds.kinetix.levels",
    "libero": "rtc.worlds.libero.worlds",
    "libero_state": "rtc.worlds.libero.state_worlds",
}


class World(Protocol):
    """A place to act in. Worlds of one kind, name and content are equal.

    Attributes:
        kind: name of its kind.
        name: what tables and checkpoints call it.
    """

    kind: str
    name: str


class BatchedWorld(World, Protocol):
    """A world with an `Environment`.

    Attributes:
        sha256: hash of its content, however it was found.
        bound_actions: which action dimensions drive anything.
    """

    sha256: str
    bound_actions: Bool[np.ndarray, " a"]


class Home(Protocol):
    """What policies are trained for: a world, or a suite of worlds that share one.

    Attributes:
        name: under which policies and their networks are filed.
        sha256: hash of its content, which they note.
    """

    name: str
    sha256: str


class HostWorld(World, Protocol):
    """A world that is stepped from Python, one environment at a time (`open_env`).

    Attributes:
        sha256: hash of its content.
        bound_actions: which action dimensions drive anything.
        path: where it was found, for provenance.
        observation_dim, action_dim: sizes of what policies read and write.
        home: what its policy is trained for: itself, or the suite that it belongs to.
        num_starts: number of its start states, of which episode n gets number n; None where the seed draws them.
        simulator: versions of the packages that simulate it, by name, as far as they are installed.
        robot: which entries of the observation are those of the robot's own body.
    """

    sha256: str
    bound_actions: Bool[np.ndarray, " a"]
    path: str
    observation_dim: int
    action_dim: int
    home: Home
    num_starts: int | None
    simulator: Mapping[str, str]
    robot: Bool[np.ndarray, " o"]


class Kind(Protocol):
    """What a kind's module offers.

    One whose worlds are stepped from Python has `open_env(level)` besides; and `open_training(level)`, where training
    must not begin in the states that evaluations begin in.
    """

    def load(self, level: str | Path) -> World:
        """The world of a name or a file. Raises ValueError or FileNotFoundError, with the fix."""
        ...

    def make_env(self, level: Any, physics: str, start_noise: float) -> Environment:
        """It as a batch of environments. Raises ValueError where there is none with these settings."""
        ...

    def varying_observation_entries(self, level: Any) -> Int[np.ndarray, " v"]:
        """Sorted indices of the observation entries that can change."""
        ...


def register(kind: str, module: str) -> None:
    """Adds a kind of worlds.

    Args:
        kind: its name, the part before the colon.
        module: dotted name of the module with the functions of `Kind`.

    Raises:
        ValueError: the name is taken by another module.
    """
    if _MODULES.setdefault(kind, module) != module:
        raise ValueError(f"kind={kind!r} of worlds is {_MODULES[kind]} already; choose another name")


def kinds() -> tuple[str, ...]:
    """Names of the kinds."""
    return tuple(_MODULES)


def module_of(kind: str) -> str:
    """Dotted name of a kind's module. Raises ValueError, with the closest name, for an unknown one."""
    if kind not in _MODULES:
        raise unknown("kind of world", kind, _MODULES)
    return _MODULES[kind]


def load(world: str | Path) -> World:
    """The world that is meant: "grasp_easy", "kinetix:grasp_easy", "my/level.json", "libero:libero_goal".

    A Kinetix dump may be given with rules, "importer:my/level.json" (`rtc.shared.paths.WorldRules`).

    Raises:
        ValueError: an unknown kind or name, or a faulty file; names the fix.
        FileNotFoundError: no such file.
    """
    kind, name = _parsed(world)
    return _kind(kind).load(name)


def _parsed(world: str | Path) -> tuple[str, str | Path]:
    """Kind and name of a world."""
    kind, colon, name = str(world).partition(":")
    if not colon or "/" in kind or Path(world).exists() or paths.reading(world)[0]:
        return DEFAULT, world
    return kind, name


def make_env(world: BatchedWorld, physics: str = "fast", start_noise: float = 0.0) -> Environment:
    """A world as a batch of environments.

    Args:
        world: from `load`.
        physics: which of the kind's simulators; Kinetix has "fast" and "stock".
        start_noise: how far an episode's key perturbs its start state; 0 for the published one.

    Raises:
        ValueError: the kind has no environment with these settings.
    """
    return _kind(_kind_of(world)).make_env(world, physics, start_noise)


def is_hosted(world: str | Path) -> bool:
    """Whether a world, given as to `load`, is stepped from Python, one environment at a time.

    Raises:
        ValueError: an unknown kind.
    """
    return hasattr(_kind(_parsed(world)[0]), "open_env")


def open_env(world: HostWorld) -> ExternalEnvironment:
    """A world as an environment that is stepped from Python. Whoever opens it closes it.

    Raises:
        ValueError: the kind has no such environment, or something is missing on this machine.
    """
    if not hasattr(_kind(_kind_of(world)), "open_env"):
        raise ValueError(
            f"world={world.name!r} of kind {_kind_of(world)} is not opened by its name: make_env makes a batch of "
            "environments of those that have one"
        )
    return _kind(_kind_of(world)).open_env(world)


def open_training(world: HostWorld) -> ExternalEnvironment:
    """The same for episodes to learn from, which start elsewhere than those of evaluations.

    Raises:
        ValueError: as of `open_env`.
    """
    kind = _kind(_kind_of(world))
    return kind.open_training(world) if hasattr(kind, "open_training") else open_env(world)


def varying_observation_entries(world: BatchedWorld) -> Int[np.ndarray, " v"]:
    """Sorted indices of the observation entries that can change in this world; the others are constant."""
    return _kind(_kind_of(world)).varying_observation_entries(world)


def _kind_of(world: World) -> str:
    return getattr(world, "kind", DEFAULT)


def _kind(kind: str) -> Kind:
    return importlib.import_module(module_of(kind))
