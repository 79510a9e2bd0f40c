"""LIBERO's own simulation on state observations, bit for bit. Skipped where LIBERO is not installed."""

import sys

import numpy as np
import pytest

from rtc import worlds
from rtc.worlds.libero import setup_check, state, state_worlds, tasks
from rtc.worlds.libero.constants import OFFICIAL_TRIALS, find_suite
from rtc.worlds.libero.expert import BowlExpert
from rtc.worlds.libero.scene import CENTRE, SCALE
from rtc.worlds.libero.state_simulation import StateSimulation

MISSING = setup_check.missing_parts(images=False)
pytestmark = pytest.mark.skipif(bool(MISSING), reason="LIBERO is not installed: docs/libero.md says how")
SUITE = find_suite("libero_spatial")
STOVE, CABINET, DRAWER = 7, 9, 4


@pytest.fixture(scope="module")
def found():
    return tasks.find_tasks(SUITE)


@pytest.fixture
def made(found):
    """Makes simulations and closes them."""
    simulations = []

    def make(task, **options):
        simulations.append(StateSimulation(found[task], **options))
        return simulations[-1]

    yield make
    for simulation in simulations:
        simulation.close()


def bits(simulation):
    """All that the next step depends on, and the observation."""
    data, model = simulation.sim.data, simulation.sim.model
    return [np.array(one) for one in (data.qpos, data.qvel, model.body_pos, model.body_quat)] + [
        simulation.scene().vector()
    ]


def assert_same(one, other):
    for left, right in zip(bits(one), bits(other), strict=True):
        np.testing.assert_array_equal(left, right)


def test_tasks_are_the_suite_s_and_pytorch_is_not_needed(found):
    assert len(found) == SUITE.num_tasks
    assert found[DRAWER].instruction.startswith("pick up the black bowl in the top drawer")
    for task in found:
        states = tasks.read_states(task.states_file)
        assert states.shape[0] == OFFICIAL_TRIALS
        assert not states[:, 0].any()  # time
    assert "torch" not in sys.modules
    assert "libero.libero.benchmark" not in sys.modules


@pytest.mark.parametrize("task", [0, STOVE])
def test_the_fast_step_is_robosuite_s_bit_for_bit(made, found, task):
    fast, own = made(task), made(task, fast=False)
    rng = np.random.default_rng(0)
    for simulation in (fast, own):
        simulation.reset(3)
        simulation.set_state(tasks.read_states(found[task].states_file)[1])
    assert_same(fast, own)
    for _ in range(230):
        action = rng.uniform(-1, 1, 7)
        assert fast.step(action) == own.step(action)
        assert_same(fast, own)


def test_success_comes_at_the_same_tick_of_both_steps(made):
    fast, own, expert = made(2), made(2, fast=False), BowlExpert()
    for simulation in (fast, own):
        simulation.reset(0)
    ticks, done = 0, False
    while not done and ticks < 200:
        action = expert.act(fast.scene())
        done = fast.step(action)
        assert own.step(action) == done
        ticks += 1
    assert done
    assert ticks > 50
    assert_same(fast, own)


@pytest.mark.parametrize("task", [STOVE, CABINET])
def test_a_soft_reset_is_a_hard_one(made, task):
    """Where objects stand on fixtures. (Hard resets of the drawer's task draw more numbers each time.)"""
    soft, hard = made(task), made(task, hard_reset=True)
    for seed in (5, 6):
        for simulation in (soft, hard):
            simulation.reset(seed)
        assert_same(soft, hard)
        for _ in range(8):
            close = np.array([0.5, 0, 0, 0, 0, 0, 1.0])
            assert soft.step(close) == hard.step(close)
        assert_same(soft, hard)


@pytest.mark.parametrize("task", [STOVE, CABINET, DRAWER])
def test_what_came_before_a_reset_does_not_matter(made, task):
    fresh, used = made(task), made(task)
    used.reset(1)
    for _ in range(12):
        used.step(np.array([1.0, 0, 0, 0, 0, 0, 1.0]))
    for simulation in (fresh, used):
        simulation.reset(2)
    for _ in range(5):
        assert_same(fresh, used)
        for simulation in (fresh, used):
            simulation.step(np.array([0, 0, 0, 0, 0, 0, -1.0]))


@pytest.mark.parametrize(("repair", "differs"), [("gripper", "gripper"), ("fixtures", "places")])
def test_without_its_two_repairs_a_soft_reset_remembers(made, monkeypatch, repair, differs):
    fresh, used = made(CABINET), made(CABINET)
    used.reset(1)
    for _ in range(12):
        used.step(np.array([0, 0, 0, 0, 0, 0, 1.0]))
    command = [np.array(robot.gripper.current_action) for robot in used.env.robots]
    places = np.array(used.sim.model.body_pos), np.array(used.sim.model.body_quat)
    repaired = used._repair

    def all_but_one():
        repaired()
        if repair == "gripper":
            for robot, remembered in zip(used.env.robots, command, strict=True):
                robot.gripper.current_action = remembered
        else:
            used.sim.model.body_pos[:], used.sim.model.body_quat[:] = places

    monkeypatch.setattr(used, "_repair", all_but_one)
    for simulation in (fresh, used):
        simulation.reset(2)
    same_gripper = fresh.scene().gripper == used.scene().gripper
    same_places = np.array_equal(fresh.scene().bowl, used.scene().bowl)
    assert (same_gripper, same_places) == (differs != "gripper", differs != "places")


def test_resets_leave_numpy_s_global_generator_alone(made):
    simulation = made(0)
    np.random.seed(1)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    simulation.reset(7)
    assert np.random.random() == expected  # noqa: NPY002


@pytest.mark.parametrize("task", [0, DRAWER])
def test_the_expert_solves_the_benchmark_s_first_state(task):
    env, expert = state.opened(task, benchmark=True), BowlExpert()
    env.begin_episode(0)
    obs = env.reset(0)
    assert obs.shape == (env.observation_dim,)
    assert np.isfinite(obs).all()
    outcome = None
    while outcome is None or not (outcome.terminated or outcome.truncated):
        outcome = env.step(expert.act(env.scene()))
    env.close()
    assert outcome.solved


def test_the_worlds_are_known_by_the_installed_files(found):
    assert [state_worlds.content(task) for task in found] == list(state_worlds.CONTENTS["libero_spatial"])


def test_episode_n_of_a_world_starts_from_the_benchmark_s_state_n_whatever_the_seed(found):
    world = worlds.load("libero_state:libero_spatial_0")
    assert world.simulator.keys() == {"hf-libero", "robosuite", "mujoco"}
    env, simulation = worlds.open_env(world), StateSimulation(found[0])
    wanted = tasks.read_states(found[0].states_file)[3]
    starts = []
    for seed in (1, 2**40 + 7):
        env.begin_episode(3)
        starts.append(env.reset(seed))
    with pytest.raises(ValueError, match="episode 50 has no initial state"):
        env.begin_episode(50)
    env.close()
    np.testing.assert_allclose(
        starts[0], starts[1], atol=0.05
    )  # in units of the scale: furniture moves, objects do not
    simulation.reset(1)
    simulation.set_state(wanted)
    bowl = (simulation.scene().bowl - CENTRE[12:15]) / SCALE[12:15]
    np.testing.assert_allclose(starts[0][12:14], bowl[:2], atol=0.05)  # in that state it is yet to fall onto the table
    simulation.close()
    drawn = worlds.open_training(world)
    different = [drawn.reset(seed)[12:14] for seed in (1, 2)]
    drawn.close()
    assert np.abs(different[0] - different[1]).max() > 0.01


def test_states_of_another_task_are_refused(made):
    simulation = made(0)
    with pytest.raises(ValueError, match=r"initial state has shape \(3,\)"):
        simulation.set_state(np.zeros(3))
