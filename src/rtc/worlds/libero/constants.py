"""LIBERO's suites and the constants of OpenVLA-OFT's evaluation.

Sources, in the repository moojink/openvla-oft: `prismatic/vla/constants.py` (chunk and dimensions),
`experiments/robot/libero/run_libero_eval.py` (step limits, settling steps, image size, trials, seed),
`experiments/robot/libero/libero_utils.py` (cameras, settling action, seed of the environment). The numbers of tasks are
from LIBERO's `libero/libero/benchmark/libero_suite_task_map.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from rtc.shared.validation import require_choice

CHUNK_LENGTH = 8
ACTION_DIM = 7
PROPRIO_DIM = 8
MAIN_CAMERA = "agentview_image"
WRIST_CAMERA = "robot0_eye_in_hand_image"
IMAGE_PIXELS = 256  # height and width of both images
SETTLING_STEPS = 10
SETTLING_ACTION = (0, 0, 0, 0, 0, 0, -1)  # stay, gripper open
OFFICIAL_TRIALS = 50  # per task; as many initial states come with every task
ENVIRONMENT_SEED = 0  # of the simulation: it moves objects even if the initial state is set


@dataclass(frozen=True)
class Suite:
    """A suite of tasks.

    Attributes:
        name: as LIBERO calls it.
        num_tasks: tasks in the suite.
        max_steps: steps after which an episode counts as failed, without the settling steps.
    """

    kind: ClassVar[str] = "libero"

    name: str
    num_tasks: int
    max_steps: int


SUITES: Mapping[str, Suite] = MappingProxyType(
    {
        suite.name: suite
        for suite in (
            Suite("libero_spatial", 10, 220),
            Suite("libero_object", 10, 280),
            Suite("libero_goal", 10, 300),
            Suite("libero_10", 10, 520),
            Suite("libero_90", 90, 400),
        )
    }
)


def find_suite(name: str) -> Suite:
    """The suite of that name. Raises ValueError, with the closest name, for an unknown one."""
    require_choice("suite", name, SUITES)
    return SUITES[name]
