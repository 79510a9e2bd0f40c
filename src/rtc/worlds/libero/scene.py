"""What can be known of a tabletop scene without images: the privileged state, and the observation made of it.

All positions are in LIBERO's world frame: x away from the robot's base, y to its left, z up, the table's top at about
z = 0.90 m.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Entry:
    """Some neighbouring numbers of the observation.

    Attributes:
        name: what they are.
        size: how many.
        unit: their unit; "" for pure numbers.
        frame: the frame that they are in; "" where there is none.
        centre, scale: for networks: what is subtracted, and what the rest is divided by.
        robot: they are the robot's own.
    """

    name: str
    size: int
    unit: str = ""
    frame: str = ""
    centre: tuple[float, ...] = (0.0, 0.0, 0.0)
    scale: float = 1.0
    robot: bool = False


# The observation, in its order; after these comes the task as a one-hot vector.
ENTRIES = (
    Entry("hand position (grip site, between the finger tips)", 3, "m", "world", (-0.05, 0.15, 1.05), 0.1, True),
    Entry("hand's x axis, along which the fingers open", 3, "", "world", scale=0.5, robot=True),
    Entry("hand's y axis", 3, "", "world", scale=0.5, robot=True),
    Entry("finger positions (right positive, left negative)", 2, "m", "hand", (0.02, -0.02), 0.02, True),
    Entry("gripper's remembered command, from -1 open to 1 closed", 1, centre=(0.0,), robot=True),
    Entry("bowl position (its centre, at the bottom)", 3, "m", "world", (0.0, 0.15, 1.0), 0.1),
    Entry("bowl position minus hand position", 3, "m", "world", (0.0, 0.0, -0.05), 0.05),
    Entry("plate position minus bowl position", 3, "m", "world", (0.0, 0.0, -0.05), 0.1),
    Entry("bowl's up vector", 3, "", "world", (0.0, 0.0, 1.0), 0.1),
    Entry("plate position", 3, "m", "world", (0.05, 0.2, 0.9), 0.02),
    Entry("hand velocity", 3, "m/s", "world", scale=0.1, robot=True),
)
STATE_DIM = sum(entry.size for entry in ENTRIES)
CENTRE = np.concatenate([entry.centre for entry in ENTRIES])
SCALE, ROBOT = (
    np.repeat([getattr(entry, name) for entry in ENTRIES], [entry.size for entry in ENTRIES])
    for name in ("scale", "robot")
)


@dataclass(frozen=True)
class Scene:
    """The privileged state of a task with one object to move and one place to move it to.

    Attributes:
        hand: position of the grip site in m.
        hand_axes: its rotation; the columns are the hand's axes. The third one points out of the hand.
        hand_velocity: its linear velocity in m/s.
        fingers: positions of the two finger joints in m; 0.04 and -0.04 when open.
        gripper: the command that the gripper remembers, from -1 (open) to 1 (closed).
        bowl: position of the object to be moved in m.
        bowl_up: its z axis.
        plate: position of where it is moved to, in m.
    """

    hand: Float[np.ndarray, " 3"]
    hand_axes: Float[np.ndarray, "3 3"]
    hand_velocity: Float[np.ndarray, " 3"]
    fingers: Float[np.ndarray, " 2"]
    gripper: float
    bowl: Float[np.ndarray, " 3"]
    bowl_up: Float[np.ndarray, " 3"]
    plate: Float[np.ndarray, " 3"]

    def vector(self) -> Float[np.ndarray, " 30"]:
        """The numbers that `ENTRIES` lists."""
        parts = (
            self.hand,
            self.hand_axes[:, 0],
            self.hand_axes[:, 1],
            self.fingers,
            np.array([self.gripper]),
            self.bowl,
            self.bowl - self.hand,
            self.plate - self.bowl,
            self.bowl_up,
            self.plate,
            self.hand_velocity,
        )
        return np.concatenate(parts)


def observation(scene: Scene, task: int, num_tasks: int) -> Float[np.ndarray, " o"]:
    """What a policy sees: the scene's numbers and the task as a one-hot vector, float32."""
    return np.concatenate([scene.vector(), np.arange(num_tasks) == task]).astype(np.float32)
