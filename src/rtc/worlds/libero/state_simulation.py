"""LIBERO's simulation without images: robosuite's `ControlEnv` with soft resets, and a step that skips what is unused.

A hard reset of robosuite compiles the model again, which takes seconds. A soft one does not, and leaves two things as
the last episode left them; both are put back here: the command that the gripper remembers, and the places of the
fixtures, relative to which the places of objects on them are drawn.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from jaxtyping import Float

from rtc.worlds.libero.scene import Scene
from rtc.worlds.libero.tasks import StateTask

# NumPy's global generator, which robosuite draws from, takes 32 bits.
SEEDS = 2**32


class StateSimulation:
    """The simulation of one task, without a renderer.

    Attributes:
        env: LIBERO's `ControlEnv`.
        fast: whether `step` skips what is unused; if not, it is robosuite's own.
    """

    def __init__(self, task: StateTask, *, fast: bool = True, hard_reset: bool = False):
        """Builds the model, which takes seconds.

        Args:
            task: from `rtc.worlds.libero.tasks.find_tasks`.
            fast: see the attribute.
            hard_reset: build the model again at every reset, as LIBERO does by default.
        """
        make = importlib.import_module("libero.libero.envs.env_wrapper").ControlEnv
        with seeded(0):
            self.env = make(
                bddl_file_name=str(task.bddl_file),
                has_renderer=False,
                has_offscreen_renderer=False,
                use_camera_obs=False,
                hard_reset=hard_reset,
            )
        self.fast = fast
        self._mujoco = importlib.import_module("mujoco")
        self._hard_reset = hard_reset
        self._bowl, self._plate = self.env.obj_of_interest[:2]
        self._fixtures = self._fixture_places()

    def reset(self, seed: int) -> None:
        """Draws the places of objects and fixtures anew. The same seed gives the same places, whatever came before."""
        if not self._hard_reset:
            self._repair()
        with seeded(seed):
            self.env.reset()

    def set_state(self, state: Float[np.ndarray, " s"]) -> None:
        """Takes time, positions and velocities of all joints from a flat state, as of LIBERO's initial states.

        Raises:
            ValueError: it is a state of another model.
        """
        size = 1 + self.sim.model.nq + self.sim.model.nv
        if state.shape != (size,):
            raise ValueError(f"initial state has shape {state.shape}: ({size},) is needed, of this task")
        self.env.set_state(state)
        self.sim.forward()

    def step(self, action: Float[np.ndarray, " 7"]) -> bool:
        """One control tick of 50 ms; returns whether the task is done, by LIBERO's own test."""
        if not self.fast:
            return bool(self.env.step(action)[2])
        env, model, data = self.env.env, self.sim.model._model, self.sim.data._data
        env.timestep += 1
        with _without_forward(self.sim):
            for substep in range(int(env.control_timestep / env.model_timestep)):
                self._mujoco.mj_step1(model, data)
                env._pre_action(action, substep == 0)
                self._mujoco.mj_step2(model, data)
        env.cur_time += env.control_timestep
        return bool(env._check_success())

    def scene(self) -> Scene:
        """The scene as robosuite's own observables see it after a step: at the start of its last 2 ms."""
        data, robot = self.sim.data, self.env.robots[0]
        bodies = self.env.env.obj_body_id
        site, gripper = robot.eef_site_id, robot.gripper
        return Scene(
            hand=np.array(data.site_xpos[site]),
            hand_axes=np.array(data.site_xmat[site]).reshape(3, 3),
            hand_velocity=np.array(data.get_site_xvelp(gripper.important_sites["grip_site"])),
            fingers=np.array(data.qpos[robot._ref_gripper_joint_pos_indexes]),
            gripper=float(gripper.current_action[-1]),
            bowl=np.array(data.body_xpos[bodies[self._bowl]]),
            bowl_up=np.array(data.body_xmat[bodies[self._bowl]]).reshape(3, 3)[:, 2],
            plate=np.array(data.body_xpos[bodies[self._plate]]),
        )

    @property
    def sim(self) -> Any:
        """robosuite's wrapper of the MuJoCo model and its data."""
        return self.env.sim

    def close(self) -> None:
        self.env.close()

    def _repair(self) -> None:
        """Puts back what a soft reset leaves as the last episode left it."""
        for robot in self.env.robots:
            robot.gripper.current_action = np.zeros_like(robot.gripper.current_action)
        for body, (position, quaternion) in self._fixtures.items():
            self.sim.model.body_pos[body] = position
            self.sim.model.body_quat[body] = quaternion

    def _fixture_places(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Position and quaternion of every fixture's body as its model was written, before any reset moved it."""
        written = {body.get("name"): body for body in self.env.env.model.worldbody.iter("body")}
        places = {}
        for fixture in self.env.env.fixtures_dict.values():
            body = written[fixture.root_body]
            position, quaternion = body.get("pos", "0 0 0"), body.get("quat", "1 0 0 0")
            number = self.sim.model.body_name2id(fixture.root_body)
            places[number] = np.array(position.split(), float), np.array(quaternion.split(), float)
        return places


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """NumPy's global generator starts from this seed inside, and goes on as if nothing had been drawn outside."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed % SEEDS)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


@contextmanager
def _without_forward(sim: Any) -> Iterator[None]:
    """The controller finds positions and velocities computed by the first half of the step: it need not do it again."""
    sim.forward = _nothing
    try:
        yield
    finally:
        del sim.forward


def _nothing() -> None:
    pass
