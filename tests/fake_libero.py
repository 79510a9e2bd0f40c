"""A stand-in for LIBERO, robosuite and their files: the same names and calls, no physics."""

from pathlib import Path

import numpy as np

from rtc.worlds.libero import setup_check

PIXELS = 16

# Like the real package, it asks on standard input if it is not configured.
PACKAGE = """
import os
config_file = os.path.join(os.environ.get("LIBERO_CONFIG_PATH", os.path.expanduser("~/.libero")), "config.yaml")
if not os.path.exists(config_file):
    input("Do you want to specify a custom path for the dataset folder? (Y/N): ")

def get_libero_path(key):
    lines = dict(line.strip().split(": ") for line in open(config_file))
    return lines[key].strip('"')

def get_assets_path():
    raise ConnectionError("would download")
"""
BENCHMARK = """
import types
import numpy as np

class Suite:
    tasks = [types.SimpleNamespace(language=f"do {i}", problem_folder="fake", bddl_file=f"{i}.bddl") for i in range(10)]
    get_num_tasks = lambda self: len(self.tasks)
    get_task_names = lambda self: [f"task_{i}" for i in range(10)]
    get_task = lambda self, i: self.tasks[i]
    get_task_init_states = lambda self, i: np.arange(6.0).reshape(3, 2)

def get_benchmark(name):
    return Suite
"""
ENVS = """
from libero.libero import get_assets_path
import fake_libero

class OffScreenRenderEnv(fake_libero.FakeEnvironment):
    def __init__(self, bddl_file_name, camera_heights, camera_widths):
        assert (camera_heights, camera_widths) == (256, 256)
        assert open(bddl_file_name).read() == "task"
        print("assets", get_assets_path())
        super().__init__(done_at=18)

    def seed(self, seed):
        print("seed", seed)

    def close(self):
        print("closed")
"""


def raw_observation(value: int = 0) -> dict[str, np.ndarray]:
    """An observation with LIBERO's entries."""
    rng = np.random.default_rng(value)
    images = rng.integers(0, 256, (2, PIXELS, PIXELS, 3), dtype=np.uint8)
    return {
        "agentview_image": images[0],
        "robot0_eye_in_hand_image": images[1],
        "robot0_eef_pos": np.array([0.1, 0.2, 0.3]),
        "robot0_eef_quat": np.array([0.0, 0.0, 0.0, 1.0]),
        "robot0_gripper_qpos": np.array([0.04, -0.04]),
        "robot0_joint_pos": np.zeros(7),
    }


class FakeEnvironment:
    """Counts what is done to it; done from step `done_at` on (counted from the reset, with the settling steps)."""

    def __init__(self, done_at: float = float("inf"), fails_in_reset: int | None = None):
        self.done_at = done_at
        self.fails_in_reset = fails_in_reset
        self.resets = 0
        self.states: list[np.ndarray] = []
        self.actions: list[list[float]] = []

    def reset(self) -> dict[str, np.ndarray]:
        self.resets += 1
        if self.resets == self.fails_in_reset:
            raise KeyboardInterrupt
        self.actions = []
        return raw_observation()

    def set_init_state(self, state: np.ndarray) -> dict[str, np.ndarray]:
        self.states.append(state)
        return raw_observation()

    def step(self, action: list[float]):
        self.actions.append(action)
        step = len(self.actions)
        return raw_observation(step), 0.0, step >= self.done_at, {}


def install(folder: Path, assets: bool = True) -> Path:
    """Writes the stand-in packages to a folder for PYTHONPATH; returns it."""
    root = folder / "libero" / "libero"
    files = {
        folder / "libero/__init__.py": "",
        root / "__init__.py": PACKAGE,
        root / "benchmark/__init__.py": BENCHMARK,
        root / "envs/__init__.py": ENVS,
        root / "init_files/fake/0.pruned_init": "",
        folder / "robosuite-1.4.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: robosuite\nVersion: 1.4.0\n",
    }
    files |= {root / f"bddl_files/fake/{task}.bddl": "task" for task in range(10)}
    files |= {folder / f"{name}/__init__.py": "" for name in setup_check.PACKAGES if name != "libero"}
    if assets:
        files |= {root / "assets" / name / "some.xml": "<mujoco/>" for name in setup_check.ASSET_FOLDERS}
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder
