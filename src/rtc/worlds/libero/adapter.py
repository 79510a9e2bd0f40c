"""Between LIBERO and a policy: what the policy sees, and what the simulator gets for its actions.

The conventions are those of OpenVLA-OFT: `prepare_observation` and `process_action` in
`experiments/robot/libero/run_libero_eval.py`, `experiments/robot/libero/libero_utils.py` and
`experiments/robot/robot_utils.py` of moojink/openvla-oft.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from rtc.worlds.libero.constants import ACTION_DIM, CHUNK_LENGTH, MAIN_CAMERA, PROPRIO_DIM, WRIST_CAMERA

PROPRIO_ENTRIES = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")


@dataclass(frozen=True)
class Observation:
    """What a policy sees.

    Attributes:
        image: the scene, RGB, upright.
        wrist_image: what the gripper sees, RGB, upright.
        proprio: position of the gripper in m (3), its orientation as axis-angle in rad (3), finger positions in m (2).
        instruction: the task in words.
    """

    image: UInt8[np.ndarray, "h w 3"]
    wrist_image: UInt8[np.ndarray, "h w 3"]
    proprio: Float[np.ndarray, " 8"]
    instruction: str


def observe(raw: Mapping[str, np.ndarray], instruction: str) -> Observation:
    """A policy's view of a LIBERO observation.

    LIBERO's images are OpenGL's, bottom row first; they are turned by 180°, as the training data were.

    Raises:
        ValueError: an entry is missing, or has another shape or type.
    """
    missing = [name for name in (MAIN_CAMERA, WRIST_CAMERA, *PROPRIO_ENTRIES) if name not in raw]
    if missing:
        raise ValueError(
            f"observation lacks {', '.join(missing)}: make the environment with both cameras and the robot"
        )
    position, quaternion, fingers = (np.asarray(raw[name], np.float64) for name in PROPRIO_ENTRIES)
    proprio = np.concatenate([position, axis_angle(quaternion), fingers])
    if proprio.shape != (PROPRIO_DIM,):
        raise ValueError(f"observation has {proprio.size} numbers on the robot: {PROPRIO_DIM} are needed (3 + 3 + 2)")
    return Observation(_upright(raw, MAIN_CAMERA), _upright(raw, WRIST_CAMERA), proprio, instruction)


def _upright(raw: Mapping[str, np.ndarray], camera: str) -> UInt8[np.ndarray, "h w 3"]:
    image = np.asarray(raw[camera])
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"{camera} has shape {image.shape} and type {image.dtype}: (height, width, 3) uint8 is needed")
    return np.ascontiguousarray(image[::-1, ::-1])


def axis_angle(quaternion: Float[np.ndarray, " 4"]) -> Float[np.ndarray, " 3"]:
    """A unit quaternion (x, y, z, w) as rotation axis times angle in rad.

    The angle is 2 arccos w, from 0 to 2π: it is not brought below π, since policies were trained on it as it is
    (robosuite 1.4, `utils/transform_utils.py`, `quat2axisangle`).

    Raises:
        ValueError: not four numbers.
    """
    if np.shape(quaternion) != (4,):
        raise ValueError(f"quaternion has shape {np.shape(quaternion)}: (4,) is needed, in the order x, y, z, w")
    w = np.clip(quaternion[3], -1.0, 1.0)
    sine = np.sqrt(1.0 - w * w)
    if sine == 0:
        return np.zeros(3)
    return np.asarray(quaternion[:3]) * (2.0 * np.arccos(w) / sine)


def environment_action(action: Float[np.ndarray, " 7"]) -> Float[np.ndarray, " 7"]:
    """The simulator's action for a policy's.

    The first six entries, the arm's motion, stay. A policy's gripper is 0 for closed to 1 for open; the simulator's is
    1 for closed and -1 for open, so it is stretched to -1…1, rounded to its sign, and inverted.
    """
    converted = np.array(action, np.float64)
    converted[-1] = -np.sign(2.0 * converted[-1] - 1.0)
    return converted


def check_chunk(chunk: np.ndarray, policy: str) -> Float[np.ndarray, "8 7"]:
    """The chunk, if it is one. Raises ValueError if it has another shape or is not finite."""
    chunk = np.asarray(chunk)
    if chunk.shape != (CHUNK_LENGTH, ACTION_DIM) or not np.isfinite(chunk).all():
        wanted = f"({CHUNK_LENGTH}, {ACTION_DIM}) finite numbers are needed"
        raise ValueError(
            f"policy={policy!r} gave a chunk of shape {chunk.shape}, or numbers that are not finite: {wanted}"
        )
    return chunk
