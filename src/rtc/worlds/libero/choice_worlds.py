"""Tasks with two right answers in LIBERO's simulation as a kind of worlds, `libero_choice:two_bowls`.

Both tasks share a policy, which knows the task by a one-hot vector. The episode's seed draws where everything stands.
"""

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, NoReturn

import numpy as np
from jaxtyping import Bool, Float, Int

from rtc.control.host.environments import Step
from rtc.shared import identity, provenance
from rtc.shared.validation import require_choice
from rtc.worlds.libero.choice import CENTRE, ENTRIES, ROBOT, SCALE, STATE_DIM, SUITE, TASKS, ChoiceEnvironment, opened
from rtc.worlds.libero.constants import ACTION_DIM, Suite
from rtc.worlds.libero.state_worlds import SIMULATOR


@dataclass(frozen=True)
class ChoiceSuite:
    """The tasks: what a policy is trained for."""

    name: ClassVar[str] = SUITE.name

    @property
    def suite(self) -> Suite:
        return SUITE

    @property
    def worlds(self) -> tuple["ChoiceWorld", ...]:
        """Its tasks."""
        return tuple(ChoiceWorld(task) for task in range(SUITE.num_tasks))

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of all that its tasks are, and of what is observed in them; versions of simulators are no part of it."""
        shown = [[(entry.name, entry.size) for entry in ENTRIES], CENTRE.tolist(), SCALE.tolist()]
        return _sha256([shown, [world.sha256 for world in self.worlds]])


@dataclass(frozen=True)
class ChoiceWorld:
    """A task. Observations are those of `ChoiceEnvironment`, centred and scaled for networks (`scaled`).

    Attributes:
        task: its number.
    """

    kind: ClassVar[str] = "libero_choice"
    action_dim: ClassVar[int] = ACTION_DIM
    num_starts: ClassVar[None] = None
    observation_dim: ClassVar[int] = STATE_DIM + SUITE.num_tasks
    home: ClassVar[ChoiceSuite] = ChoiceSuite()

    task: int

    @property
    def name(self) -> str:
        return TASKS[self.task].name

    @property
    def path(self) -> str:
        """Where it is found."""
        return f"rtc/worlds/libero/scenes/{self.name}.bddl"

    @property
    def bound_actions(self) -> Bool[np.ndarray, " a"]:
        """All actions drive something."""
        return np.ones(ACTION_DIM, bool)

    @property
    def sha256(self) -> str:
        """Hash of what it is: objects, places, answers, time limit."""
        task = TASKS[self.task]
        return _sha256([task.name, task.answers, SUITE.max_steps, provenance.sha256(task.bddl_file.read_bytes())])

    @property
    def robot(self) -> Bool[np.ndarray, " o"]:
        """Which entries of the observation are those of the hand."""
        return np.concatenate([ROBOT, np.zeros(SUITE.num_tasks, bool)])

    @property
    def simulator(self) -> dict[str, str]:
        """Versions of what simulates it, as far as that is installed."""
        return identity.installed(SIMULATOR)


def _sha256(value: object) -> str:
    return provenance.sha256(provenance.canonical_json(value).encode())


def load(level: str | Path) -> ChoiceWorld:
    """The task of that name. LIBERO need not be installed.

    Raises:
        ValueError: an unknown one; with the closest name.
    """
    names = [task.name for task in TASKS]
    require_choice("task with two right answers", str(level), names)
    return ChoiceWorld(names.index(str(level)))


class ScaledChoice:
    """A task whose observations are centred and scaled for networks."""

    action_dim = ACTION_DIM

    def __init__(self, inside: ChoiceEnvironment):
        self.inside = inside
        self.max_ticks, self.bound_actions, self.notes = inside.max_ticks, inside.bound_actions, inside.notes
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


def open_env(level: ChoiceWorld) -> ScaledChoice:
    """Its environment. Raises ValueError where LIBERO is not installed."""
    return ScaledChoice(opened(level.task))


def make_env(level: ChoiceWorld, physics: str, start_noise: float) -> NoReturn:
    """Raises ValueError: there is no batched environment of LIBERO."""
    raise ValueError(
        f"world='libero_choice:{level.name}' is simulated one environment at a time and has no batched one: run it in "
        "a study (docs/several-answers.md) or with rtc.evaluate, or choose a level of Kinetix"
    )


def varying_observation_entries(level: ChoiceWorld) -> Int[np.ndarray, " v"]:
    """All of them: the policy of both tasks reads them all."""
    return np.arange(level.observation_dim)
