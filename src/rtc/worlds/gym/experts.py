"""Scripted experts of the tasks: what to do in a state, from Gymnasium's own observation of it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import Float

Expert = Callable[[Float[np.ndarray, " o"]], Float[np.ndarray, " a"]]

# Pendulum-v1 is upright at 0 and obeys theta'' = 15 sin(theta) + 3 torque, with a torque of at most 2.
GRAVITY, LARGEST_TORQUE = 15.0, 2.0
ANGLE_GAIN, SPEED_GAIN = 10.0, 3.0
BALANCED, RECOVERABLE = 0.5, 8.0
# Reacher-v5: lengths of its links in m, the elbow's limit in rad, and gains that suit torques of 200 N m on inertias of
# about 1 kg m^2, 50 times a second.
UPPER, LOWER, ELBOW = 0.1, 0.11, 3.0
JOINT_GAIN, DAMPING = 1.2, 0.16


def swing_up(obs: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 1"]:
    """Pendulum: pumps energy until it has that of standing upright, and balances near the top, where it can."""
    cosine, sine, speed = obs
    wanted = ANGLE_GAIN * np.arctan2(sine, cosine) + SPEED_GAIN * speed
    if cosine > np.cos(BALANCED) and abs(wanted) < RECOVERABLE:
        torque = -wanted
    else:
        energy = speed**2 / 2 + GRAVITY * (cosine - 1)
        torque = -energy * (1 if speed >= 0 else -1)
    return np.clip([torque / LARGEST_TORQUE], -1, 1)


def reach(obs: Float[np.ndarray, " 10"]) -> Float[np.ndarray, " 2"]:
    """Reacher: a proportional-derivative controller to the joint angles that put the fingertip on the target.

    Of the two solutions, elbow left and elbow right, the one whose farther joint is nearer.
    """
    shoulder, elbow = np.arctan2(obs[2:4], obs[:2])
    (x, y), speeds = obs[4:6], obs[6:8]
    cosine = (x**2 + y**2 - UPPER**2 - LOWER**2) / (2 * UPPER * LOWER)
    errors = []
    for side in (1, -1):
        bend = side * np.arccos(np.clip(cosine, np.cos(ELBOW), 1))
        turn = np.arctan2(y, x) - np.arctan2(LOWER * np.sin(bend), UPPER + LOWER * np.cos(bend))
        errors.append(np.array([(turn - shoulder + np.pi) % (2 * np.pi) - np.pi, bend - elbow]))
    error = min(errors, key=lambda one: np.abs(one).max())
    return np.clip(JOINT_GAIN * error - DAMPING * speeds, -1, 1)


EXPERTS: Mapping[str, Expert] = MappingProxyType({"Pendulum-v1": swing_up, "Reacher-v5": reach})
