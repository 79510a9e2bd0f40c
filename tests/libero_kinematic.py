"""A tabletop without physics in the place of LIBERO's simulation: the hand goes where it is told, bowls stick to it."""

import numpy as np
from scipy.spatial.transform import Rotation

from rtc.worlds import modes
from rtc.worlds.libero.choice import TASKS, ChoiceEnvironment, ChoiceScene
from rtc.worlds.libero.constants import find_suite
from rtc.worlds.libero.expert import GRASP_HEIGHT, RIM
from rtc.worlds.libero.scene import Scene
from rtc.worlds.libero.state import StateEnvironment

PLATE = np.array([0.05, 0.2, 0.90])
TABLE = 0.898  # z of a bowl that stands on it
REST = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
METRES, RADIANS = 0.015, 0.15  # that an action of 1 moves in a tick
RELEASED = 0.5  # command of the gripper below which it holds nothing


class KinematicTabletop:
    """The protocol of `rtc.worlds.libero.state_simulation.StateSimulation`.

    Attributes:
        bowl_at: where bowls stand at first; by default the seed draws it around (-0.1, -0.05).
        slips: the bowl is lost once, as soon as it is 8 cm over the table.
        topples: seeds whose bowls lie down.
        plate: where the plate is.
    """

    def __init__(self, bowl_at=None, slips=False, topples=(), plate=PLATE):
        self.plate = plate
        self.bowl_at, self.slips, self.topples = bowl_at, slips, topples
        self.seeds, self.states, self.actions, self.closed = [], [], [], False

    def reset(self, seed):
        self.seeds.append(seed)
        self.actions = []
        place = np.random.default_rng(seed).uniform([-0.15, -0.1], [-0.05, 0.0])
        self.bowl = np.array([*(place if self.bowl_at is None else self.bowl_at), TABLE])
        self.up = np.array([1.0, 0.0, 0.0]) if seed in self.topples else np.array([0.0, 0.0, 1.0])
        self.hand, self.axes = np.array([-0.2, 0.0, 1.17]), REST.copy()
        self.velocity, self.gripper, self.held = np.zeros(3), 0.0, None

    def set_state(self, state):
        self.states.append(state)

    def step(self, action):
        self.actions.append(np.array(action))
        self.velocity = METRES * action[:3] / 0.05
        self.hand = self.hand + METRES * action[:3]
        self.axes = Rotation.from_rotvec(RADIANS * action[3:6]).as_matrix() @ self.axes
        self.gripper = float(np.clip(self.gripper + 0.25 * np.sign(action[6]), -1, 1))
        if self.gripper < RELEASED or (self.slips and self.bowl[2] > TABLE + 0.08):
            self.slips = self.slips and self.held is None
            self.held = None
        elif self.held is None and self.gripper == 1.0 and self._fits():
            self.held = self.bowl - self.hand
        if self.held is not None:
            self.bowl = self.hand + self.held
        else:
            self.bowl[2] = TABLE
        on = np.hypot(*(self.bowl - self.plate)[:2]) < 0.03 and abs(self.bowl[2] - self.plate[2]) < 0.01
        return bool(on)

    def _fits(self):
        """Whether the fingers are around the rim: the wanted distance from the centre, along the hand's x axis."""
        side = self.hand - self.bowl
        along = abs(side[:2] @ self.axes[:2, 0])
        return abs(along - RIM) < 0.015 and np.hypot(*side[:2]) < RIM + 0.015 and abs(side[2] - GRASP_HEIGHT) < 0.015

    def scene(self):
        fingers = 0.02 * (1 - self.gripper) * np.array([1.0, -1.0])
        return Scene(
            self.hand.copy(),
            self.axes,
            self.velocity,
            fingers,
            self.gripper,
            self.bowl.copy(),
            self.up,
            self.plate.copy(),
        )

    def close(self):
        self.closed = True


def environment(simulation=None, task=3, states=None):
    """An environment of libero_spatial on such a tabletop."""
    return StateEnvironment(simulation or KinematicTabletop(), find_suite("libero_spatial"), task, states)


class KinematicChoice:
    """The protocol of `rtc.worlds.libero.choice.ChoiceSimulation`: a tabletop per answer, with the same hand.

    Attributes:
        tops: the tabletops.
    """

    def __init__(self, bowls=True):
        left, right = (0.1, -0.2) if bowls else (0.18, -0.18)
        places = [([-0.12, y], np.array([0.09, 0.0, 0.9])) for y in (left, right)]
        if not bowls:
            places = [([-0.12, 0.0], np.array([0.04, y, 0.9])) for y in (left, right)]
        self.tops = [KinematicTabletop(bowl, plate=plate) for bowl, plate in places]
        self._done, self.closed = [False, False], False

    def reset(self, seed):
        self._done = [False, False]
        for one in self.tops:
            one.reset(seed)

    def step(self, action):
        self._done = [one.step(action) for one in self.tops]
        return any(self._done)

    def reached(self):
        return self._done.index(True) if any(self._done) else modes.NONE

    def scene(self):
        first, second = (one.scene() for one in self.tops)
        return ChoiceScene((first, second))

    def close(self):
        self.closed = True


def choice_environment(task=0):
    """A task with two right answers on such a tabletop."""
    return ChoiceEnvironment(KinematicChoice(TASKS[task].bowls), task)
