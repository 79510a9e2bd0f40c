"""Tasks with two right answers in scenes of LIBERO's objects: either of two equal bowls, or either of two plates.

LIBERO's own scenes have one right bowl and one plate. These have files of their own (`scenes/`), which LIBERO's parser
reads. Its goals are conjunctions only, so the test of success is here: LIBERO's predicate On for either answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import numpy as np
from jaxtyping import Float

from rtc.control.host.environments import Step
from rtc.shared.validation import require_int
from rtc.worlds import modes
from rtc.worlds.libero import scene as single
from rtc.worlds.libero import setup_check
from rtc.worlds.libero.constants import Suite
from rtc.worlds.libero.expert import LEFT_SIDE, RIM
from rtc.worlds.libero.scene import Entry, Scene
from rtc.worlds.libero.simulator import import_libero
from rtc.worlds.libero.state import StateEnvironment
from rtc.worlds.libero.state_simulation import StateSimulation

FOLDER = Path(__file__).with_name("scenes")
LIFTED = 0.02  # m over where it stood at first: a bowl that is held
HAND = 5  # entries of the hand, which come first


@dataclass(frozen=True)
class ChoiceTask:
    """A task with two right answers.

    Attributes:
        name: its name.
        answers: what is put onto what, of each answer; names of objects in its file.
        bowls: the answers are two bowls, and not two plates.
    """

    name: str
    answers: tuple[tuple[str, str], tuple[str, str]]
    bowls: bool

    @property
    def bddl_file(self) -> Path:
        """Objects, places, and the goal of answer 0."""
        return FOLDER / f"{self.name}.bddl"


_BOWL, _PLATE = "akita_black_bowl_", "plate_"
TASKS = (
    ChoiceTask("two_bowls", ((_BOWL + "1", _PLATE + "1"), (_BOWL + "2", _PLATE + "1")), bowls=True),
    ChoiceTask("two_plates", ((_BOWL + "1", _PLATE + "1"), (_BOWL + "1", _PLATE + "2")), bowls=False),
)
SUITE = Suite("libero_choice", len(TASKS), 220)


def _centred(entry: Entry, number: int) -> Entry:
    """An object's entry, of one answer, as networks read it in these scenes: answers are left and right of the hand."""
    centre, scale = _NETWORK.get(entry.name, (entry.centre, entry.scale))
    return replace(entry, name=f"answer {number}: {entry.name}", centre=centre, scale=scale)


_NETWORK: Mapping[str, tuple[tuple[float, ...], float]] = MappingProxyType(
    {
        "bowl position (its centre, at the bottom)": ((0.0, 0.0, 1.0), 0.1),
        "plate position": ((0.05, 0.0, 0.9), 0.1),
    }
)
# The observation: the hand; then bowl and plate of answer 0, then those of answer 1; then the hand's velocity.
ENTRIES = (
    *single.ENTRIES[:HAND],
    *(_centred(entry, number) for number in (0, 1) for entry in single.ENTRIES[HAND:-1]),
    single.ENTRIES[-1],
)
STATE_DIM = sum(entry.size for entry in ENTRIES)
CENTRE = np.concatenate([entry.centre for entry in ENTRIES])
SCALE, ROBOT = (
    np.repeat([getattr(entry, name) for entry in ENTRIES], [entry.size for entry in ENTRIES])
    for name in ("scale", "robot")
)
_HAND_DIM = sum(entry.size for entry in single.ENTRIES[:HAND])


@dataclass(frozen=True)
class ChoiceScene:
    """The privileged state: one scene per answer, with the same hand.

    Attributes:
        answers: of each answer the bowl that is moved and the plate where it is put. Answer 0 stands to the hand's left
            at first, answer 1 to its right; what both share is in both.
    """

    answers: tuple[Scene, Scene]

    @property
    def bowl(self) -> Float[np.ndarray, " 3"]:
        """The lower bowl."""
        return min((one.bowl for one in self.answers), key=lambda place: place[2])

    @property
    def bowl_up(self) -> Float[np.ndarray, " 3"]:
        """The z axis of the bowl that is tilted more."""
        return min((one.bowl_up for one in self.answers), key=lambda axis: axis[2])

    def vector(self) -> Float[np.ndarray, " 45"]:
        """The numbers that `ENTRIES` lists."""
        first, second = (one.vector() for one in self.answers)
        end = single.STATE_DIM - single.ENTRIES[-1].size
        return np.concatenate([first[:end], second[_HAND_DIM:end], first[end:]])


class ChoiceSimulation(StateSimulation):
    """The simulation of one task, without a renderer."""

    def __init__(self, task: ChoiceTask, *, fast: bool = True):
        """Builds the model, which takes seconds; arguments as of `StateSimulation`."""
        super().__init__(task, fast=fast)
        self.task = task

    def step(self, action: Float[np.ndarray, " 7"]) -> bool:
        """One control tick of 50 ms; returns whether an answer is reached."""
        super().step(action)
        return self.reached() != modes.NONE

    def reached(self) -> int:
        """The answer that is reached by LIBERO's predicate On, or NONE."""
        objects = self.env.env.object_states_dict
        on = [objects[plate].check_ontop(objects[bowl]) for bowl, plate in self.task.answers]
        return on.index(True) if any(on) else modes.NONE

    def scene(self) -> ChoiceScene:
        """The scene, of the same instant as `StateSimulation.scene`."""
        data, bodies = self.sim.data, self.env.env.obj_body_id
        hand, found = super().scene(), []
        for bowl, plate in self.task.answers:
            up = np.array(data.body_xmat[bodies[bowl]]).reshape(3, 3)[:, 2]
            places = (np.array(data.body_xpos[bodies[name]]) for name in (bowl, plate))
            found.append(replace(hand, **dict(zip(("bowl", "plate"), places, strict=True)), bowl_up=up))
        return ChoiceScene((found[0], found[1]))


class ChoiceTabletop(Protocol):
    """What an environment needs of a simulation; see `ChoiceSimulation`."""

    def reset(self, seed: int) -> None: ...

    def step(self, action: np.ndarray) -> bool: ...

    def reached(self) -> int: ...

    def scene(self) -> ChoiceScene: ...

    def close(self) -> None: ...


class ChoiceEnvironment(StateEnvironment):
    """A task with two right answers; observations are what `ENTRIES` lists, then the task as a one-hot vector.

    Attributes:
        notes: of every episode, by its number, the columns of `rtc.worlds.modes`. Where answers are bowls, what moves
            is the hand, until a bowl is lifted, between the points where their rims are grasped, and the decision falls
            where the hand is lowest. Where they are plates, it is the bowl, once it is lifted, and where it ends.
    """

    def __init__(self, simulation: ChoiceTabletop, task: int):
        """An environment on a simulation; `opened` makes both. `task` is a number of `TASKS`."""
        super().__init__(simulation, SUITE, task)
        self.observation_dim = STATE_DIM + SUITE.num_tasks
        self.notes: dict[int, dict[str, float]] = {}
        self._number, self._bowls = 0, TASKS[task].bowls  # the episode's, which `begin_episode` sets

    def reset(self, seed: int) -> Float[np.ndarray, " o"]:
        """See `StateEnvironment`; the seed draws all places."""
        observation = super().reset(seed)
        scene = self.scene()
        self._stood = np.array([one.bowl for one in scene.answers])
        plates = np.array([one.plate for one in scene.answers])
        self._answers = self._stood + RIM * LEFT_SIDE if self._bowls else plates
        self._headings: list[int] = []
        self._lifted, self._lowest, self._decided = False, np.inf, np.nan
        return observation

    def step(self, action: Float[np.ndarray, " 7"]) -> Step:
        """See `StateEnvironment`."""
        self._watch(self.scene(), np.clip(np.asarray(action, float), -1, 1)[:3])
        step = super().step(action)
        answer = self.simulation.reached() if step.solved else modes.NONE
        self.notes[self._number] = modes.noted(self._headings, answer, self._decided)
        return step

    def _watch(self, scene: ChoiceScene, command: Float[np.ndarray, " 3"]) -> None:
        """Notes what a command, in the scene before it, says of the answer."""
        bowls = np.array([one.bowl for one in scene.answers])
        held = bool((bowls[:, 2] > self._stood[:, 2] + LIFTED).any())
        self._lifted = self._lifted or held
        if self._lifted if self._bowls else not self._lifted:
            return
        moved = scene.answers[0].hand if self._bowls else bowls[0]
        at = modes.place(moved[:2], self._answers[:, :2])
        if not self._bowls or moved[2] < self._lowest:
            self._lowest, self._decided = moved[2], at
        if held or self._bowls:
            self._headings.append(modes.heading(at, command[:2], self._answers[:, :2]))


def opened(task: int, *, fast: bool = True) -> ChoiceEnvironment:
    """The environment of a task.

    Raises:
        ValueError: there is no such task, or LIBERO is missing on this machine; the message has the fix.
    """
    require_int("task", task, low=0, high=len(TASKS) - 1)
    import_libero(setup_check.require(images=False))
    return ChoiceEnvironment(ChoiceSimulation(TASKS[task], fast=fast), task)
