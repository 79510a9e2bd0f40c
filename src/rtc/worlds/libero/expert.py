"""A scripted expert that moves a bowl onto a plate, by the privileged state: it grasps the rim and carries the bowl.

It is a machine of phases. What it commands in a phase depends on the scene, and on where the bowl was grasped, not on
time: a perturbed hand is led back, and a bowl that is lost on the way is fetched again.
"""

import enum
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from rtc.worlds.libero.constants import ACTION_DIM
from rtc.worlds.libero.scene import Scene

# What an action of 1 asks for (robosuite 1.4, controllers/config/osc_pose.json).
METRES_PER_UNIT = 0.05
RADIANS_PER_UNIT = 0.5
OPEN, CLOSE = -1.0, 1.0
# Sides of the bowl, in the world; the fingers open along them.
LEFT_SIDE, NEAR_SIDE = np.array([0.0, 1.0, 0.0]), np.array([-1.0, 0.0, 0.0])

# Lengths in m, angles in rad, times in ticks of 50 ms.
FAR = 0.05  # x of a bowl that is grasped on its near side
RIM = 0.046  # from the bowl's centre to where its rim is grasped
GRASP_HEIGHT = 0.033  # of the grip site above the bowl's origin
CLEARANCE = 0.10  # of the grip site above the bowl's origin, when the hand comes from above
CLOSING_TICKS = 12
DESCENDING_TICKS, LOWERING_TICKS = 35, 60  # after which something is in the way
OVER_PLATE = 0.16  # height of the bowl over the plate when it is carried
OVER_START = 0.12  # height over where it was grasped, at least
PULLED = 0.025  # how far a far bowl is pulled towards the plate first, from under the cabinet's top
PULL, EASED = 0.012, 0.004  # what is commanded then, horizontally and upwards
LIFTED = 0.02  # how far below that height the carrying may begin
CENTRED = 0.014  # horizontal distance of bowl and plate at which the bowl is lowered
OFF_CENTRE = 0.028  # and at which it is lifted again
RELEASE_HEIGHT = 0.012  # of the bowl's origin over the plate's, at which the hand opens
ABOVE = 0.018  # horizontal distance from the grasp point at which the hand goes down
BESIDE = 0.035  # and at which it goes up again
ALIGNED = 0.012  # and at which it goes down fast
REACHED = 0.008  # distance from the grasp point at which the hand closes
TURNED = 0.15  # deviation from the wanted orientation with which the hand goes down
SLIPPED = 0.03  # change of the bowl's place in the hand that means that it is lost
OPEN_FINGERS = 0.03  # position of a finger that is open wide enough for the rim
SLOW = 0.3  # largest command downwards beside the grasp point
LOWERING_SPEED = 0.7  # and with the bowl in the hand
POSITION_GAIN = 2.5  # with 1.6 the last centimetre takes twice as long: small commands move the hand too little
ROTATION_GAIN = 0.6


class Phase(enum.Enum):
    """What the expert is doing."""

    APPROACH = enum.auto()  # over the rim, hand open
    DESCEND = enum.auto()  # down to the rim
    GRASP = enum.auto()  # close the fingers
    LIFT = enum.auto()  # up; a far bowl is pulled a little first
    CENTRE = enum.auto()  # over the plate
    LOWER = enum.auto()  # onto the plate
    RELEASE = enum.auto()  # open the fingers, then go up


@dataclass(frozen=True)
class Grasp:
    """How the bowl is held.

    Attributes:
        place: of the bowl relative to the hand, in m.
        bowl: its position when it was grasped, in m.
    """

    place: Float[np.ndarray, " 3"]
    bowl: Float[np.ndarray, " 3"]


class BowlExpert:
    """Picks the bowl up and puts it onto the plate.

    Attributes:
        phase: what it is doing.
        attempts: grasps that failed so far.
    """

    def __init__(self):
        """A fresh expert; `reset` before every episode."""
        self.reset()

    def reset(self) -> None:
        """Forgets the last episode."""
        self.phase, self.attempts = Phase.APPROACH, 0
        self._ticks, self._side, self._grasp = 0, None, None

    def act(self, scene: Scene) -> Float[np.ndarray, " 7"]:
        """The action for a scene (`rtc.worlds.libero.state.StateEnvironment`), within -1…1."""
        if self._side is None:
            self._choose_side(scene)
        while (following := self._following(scene)) is not self.phase:
            self._enter(following, scene)
        self._ticks += 1
        return self._command(scene)

    def _choose_side(self, scene: Scene) -> None:
        """Chooses on which side of the bowl its rim is grasped.

        Far from the base, and so in the drawer, it is the near side, with the hand turned by 90°: a stretched arm sinks
        into its singularity. Elsewhere it is the left side, and after a failure the near one.
        """
        self._side = NEAR_SIDE if scene.bowl[0] > FAR or self.attempts % 2 else LEFT_SIDE

    def _enter(self, phase: Phase, scene: Scene) -> None:
        stuck = self.phase is Phase.DESCEND and self._ticks >= DESCENDING_TICKS
        if phase is Phase.APPROACH and (stuck or self.phase is not Phase.DESCEND):
            self.attempts += 1
            self._choose_side(scene)
        if phase is Phase.LIFT and self.phase is Phase.GRASP:
            self._grasp = Grasp(scene.bowl - scene.hand, scene.bowl)
        self.phase, self._ticks = phase, 0

    def _following(self, scene: Scene) -> Phase:
        """The phase that a scene calls for."""
        way = self._rim(scene) - scene.hand
        match self.phase:
            case Phase.APPROACH:
                ready = _level(way) < ABOVE and self._turn(scene) < TURNED and scene.fingers[0] > OPEN_FINGERS
                return Phase.DESCEND if ready else Phase.APPROACH
            case Phase.DESCEND if _level(way) > BESIDE or self._ticks >= DESCENDING_TICKS:
                return Phase.APPROACH
            case Phase.DESCEND if np.linalg.norm(way) < REACHED:
                return Phase.GRASP
            case Phase.GRASP if self._ticks >= CLOSING_TICKS:
                return Phase.LIFT
            case Phase.LIFT | Phase.CENTRE | Phase.LOWER if self._lost(scene):
                return Phase.APPROACH
            case Phase.LIFT if scene.bowl[2] > self._carrying_height(scene) - LIFTED:
                return Phase.CENTRE
            case Phase.CENTRE if _level(scene.plate - scene.bowl) < CENTRED:
                return Phase.LOWER
            case Phase.LOWER if _level(scene.plate - scene.bowl) > OFF_CENTRE:
                return Phase.CENTRE
            case Phase.LOWER if scene.bowl[2] - scene.plate[2] < RELEASE_HEIGHT or self._ticks >= LOWERING_TICKS:
                return Phase.RELEASE
            case Phase.RELEASE if self._ticks >= 2 * CLOSING_TICKS:
                return Phase.APPROACH
        return self.phase

    def _command(self, scene: Scene) -> Float[np.ndarray, " 7"]:
        way, gripper, lowest = np.zeros(3), OPEN, -1.0
        over_plate = scene.plate - scene.bowl
        match self.phase:
            case Phase.APPROACH:
                way = self._rim(scene) + np.array([0, 0, CLEARANCE - GRASP_HEIGHT]) - scene.hand
                if _level(way) > BESIDE and scene.hand[2] > scene.bowl[2] + CLEARANCE:
                    way[2] = max(way[2], -_level(way))
            case Phase.DESCEND:
                way = self._rim(scene) - scene.hand
                lowest = -1.0 if _level(way) < ALIGNED else -SLOW
            case Phase.GRASP:
                way, gripper = self._rim(scene) - scene.hand, CLOSE  # the arm sinks a little if nothing is commanded
            case Phase.LIFT:
                way, gripper = np.array([0, 0, self._carrying_height(scene) - scene.bowl[2]]), CLOSE
                pulled, left = _level(scene.bowl - self._grasp.bowl), _level(over_plate)
                if self._side is NEAR_SIDE and pulled < PULLED < left:
                    way = np.array([*(PULL * over_plate[:2] / left), EASED])
            case Phase.CENTRE:
                way, gripper = np.array([*over_plate[:2], self._carrying_height(scene) - scene.bowl[2]]), CLOSE
            case Phase.LOWER:
                way, gripper, lowest = over_plate, CLOSE, -LOWERING_SPEED
            case Phase.RELEASE:
                way[2] = CLEARANCE if self._ticks > CLOSING_TICKS else 0.0
        action = np.zeros(ACTION_DIM)
        action[:3] = np.clip(POSITION_GAIN * way / METRES_PER_UNIT, [-1, -1, lowest], 1)
        action[3:6] = np.clip(ROTATION_GAIN * self._rotation(scene) / RADIANS_PER_UNIT, -1, 1)
        action[6] = gripper
        return action

    def _rim(self, scene: Scene) -> Float[np.ndarray, " 3"]:
        """Where the grip site is when the fingers close."""
        return scene.bowl + RIM * self._side + np.array([0, 0, GRASP_HEIGHT])

    def _rotation(self, scene: Scene) -> Float[np.ndarray, " 3"]:
        """What turns the hand as it is wanted: pointing down, the fingers opening along the side; rotation vector."""
        down = np.array([0.0, 0.0, -1.0])
        wanted = np.stack([self._side, np.cross(down, self._side), down], axis=1)
        return Rotation.from_matrix(wanted @ scene.hand_axes.T).as_rotvec()

    def _turn(self, scene: Scene) -> float:
        return float(np.linalg.norm(self._rotation(scene)))

    def _carrying_height(self, scene: Scene) -> float:
        return max(scene.plate[2] + OVER_PLATE, self._grasp.bowl[2] + OVER_START)

    def _lost(self, scene: Scene) -> bool:
        return bool(np.linalg.norm(scene.bowl - scene.hand - self._grasp.place) > SLIPPED)


def _level(way: Float[np.ndarray, " 3"]) -> float:
    """Horizontal length."""
    return float(np.hypot(way[0], way[1]))
