"""The LIBERO path: OpenVLA-OFT's constants and conversions, episodes, results. Needs neither LIBERO nor its assets."""

import contextlib
import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fake_libero import PIXELS, FakeEnvironment, raw_observation
from rtc.delay.profiles import read_trace
from rtc.shared import files
from rtc.study import libero
from rtc.study.libero import Plan
from rtc.study.runner import ConflictError
from rtc.worlds.libero import adapter, constants, policies
from rtc.worlds.libero.constants import SUITES, Suite
from rtc.worlds.libero.episodes import run_episode
from rtc.worlds.libero.policies import PolicyConfig, StubPolicy

SUITE = Suite("libero_spatial", 10, 20)


class CountingPolicy:
    """Chunks of rising numbers; remembers what it saw."""

    def __init__(self):
        self.seen = []

    def predict(self, observation):
        self.seen.append(observation)
        chunk = np.arange(56.0).reshape(8, 7) + 100 * len(self.seen)
        chunk[:, -1] = [0, 1] * 4
        return chunk


class PolicyWithStats(CountingPolicy):
    def get_stats(self):
        return {"inference_ms": float(len(self.seen))}


class FakeTasks:
    """Ten tasks; task 1 is done after 4 actions."""

    def __init__(self, fails_in_reset=None, versions=None):
        self.fails_in_reset = fails_in_reset
        self.environments = []
        self._versions = versions or {"mujoco": "1"}

    def task_names(self):
        return [f"task_{i}" for i in range(10)]

    def instruction(self, task_id):
        return f"do {task_id}"

    def initial_states(self, task_id):
        return np.arange(10.0).reshape(5, 2)

    @contextlib.contextmanager
    def environment(self, task_id):
        env = FakeEnvironment(done_at=14 if task_id == 1 else np.inf, fails_in_reset=self.fails_in_reset)
        self.environments.append(env)
        yield env

    def versions(self):
        return self._versions


def plan(**changes):
    return Plan(
        **{"suite": SUITE, "policy": "stub", "settings": {"seed": 0}, "num_trials": 2, "task_ids": (0, 1)} | changes
    )


def test_constants_are_those_of_openvla_oft():
    limits = {"libero_spatial": 220, "libero_object": 280, "libero_goal": 300, "libero_10": 520, "libero_90": 400}
    assert {name: suite.max_steps for name, suite in SUITES.items()} == limits
    assert {name: suite.num_tasks for name, suite in SUITES.items()} == dict.fromkeys(limits, 10) | {"libero_90": 90}
    assert (constants.CHUNK_LENGTH, constants.ACTION_DIM, constants.PROPRIO_DIM) == (8, 7, 8)
    assert (constants.SETTLING_STEPS, constants.SETTLING_ACTION) == (10, (0, 0, 0, 0, 0, 0, -1))
    assert (constants.IMAGE_PIXELS, constants.OFFICIAL_TRIALS, constants.ENVIRONMENT_SEED) == (256, 50, 0)


def test_unknown_names_get_a_suggestion():
    with pytest.raises(ValueError, match=r"suite='libero_goals' is unknown; did you mean 'libero_goal'\?"):
        constants.find_suite("libero_goals")
    with (
        pytest.raises(ValueError, match=r"did you mean 'openvla_oft'\?"),
        policies.opened("openvla", PolicyConfig(), SUITE),
    ):
        pass


def test_images_are_turned_by_half_a_turn():
    raw = raw_observation()
    seen = adapter.observe(raw, "do it")
    for image, name in ((seen.image, "agentview_image"), (seen.wrist_image, "robot0_eye_in_hand_image")):
        np.testing.assert_array_equal(image, np.rot90(raw[name], 2))
        assert image.flags.c_contiguous
    assert seen.instruction == "do it"


def test_axis_angle_is_the_rotation():
    rotations = Rotation.random(200, random_state=0)
    quaternions = rotations.as_quat()
    for sign in (1, -1):
        # The same rotation, by the short way and by the long one.
        ours = np.array([adapter.axis_angle(q) for q in sign * np.sign(quaternions[:, 3:]) * quaternions])
        np.testing.assert_allclose((Rotation.from_rotvec(ours) * rotations.inv()).magnitude(), 0, atol=1e-7)
        assert ((np.linalg.norm(ours, axis=1) <= np.pi) == (sign > 0)).all()
    np.testing.assert_array_equal(adapter.axis_angle(np.array([0.0, 0, 0, 1])), np.zeros(3))
    np.testing.assert_array_equal(adapter.axis_angle(np.array([1e-9, 0, 0, 1.0000001])), np.zeros(3))
    with pytest.raises(ValueError, match=r"shape \(3,\): \(4,\) is needed"):
        adapter.axis_angle(np.zeros(3))


def test_proprio_is_position_orientation_and_fingers():
    raw = raw_observation() | {"robot0_eef_quat": Rotation.from_rotvec([0.3, -0.2, 0.5]).as_quat()}
    quaternion = raw["robot0_eef_quat"].copy()
    np.testing.assert_allclose(adapter.observe(raw, "").proprio, [0.1, 0.2, 0.3, 0.3, -0.2, 0.5, 0.04, -0.04])
    np.testing.assert_array_equal(raw["robot0_eef_quat"], quaternion)


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("agentview_image", None, "observation lacks agentview_image"),
        ("agentview_image", np.zeros((8, 8, 3)), r"agentview_image has shape \(8, 8, 3\) and type float64"),
        ("robot0_gripper_qpos", np.zeros(1), "observation has 7 numbers on the robot: 8 are needed"),
    ],
)
def test_wrong_observations_are_refused(entry, value, message):
    raw = raw_observation() | {entry: value}
    with pytest.raises(ValueError, match=message):
        adapter.observe({name: entry for name, entry in raw.items() if entry is not None}, "")


@pytest.mark.parametrize(("gripper", "command"), [(0.0, 1), (0.49, 1), (0.51, -1), (1.0, -1), (1.3, -1), (0.5, 0)])
def test_gripper_is_stretched_rounded_and_inverted(gripper, command):
    action = np.array([0.1, -0.2, 0.3, -0.4, 0.5, -0.6, gripper])
    np.testing.assert_array_equal(adapter.environment_action(action), [*action[:6], command])
    assert action[-1] == gripper


def test_settling_steps_come_first_and_see_no_policy():
    env, policy = FakeEnvironment(done_at=1), CountingPolicy()
    episode = run_episode(env, policy, SUITE, "do it", np.ones(2), "counting")
    # The simulation says done from its first step on: while objects settle that does not count.
    assert (episode.success, episode.steps, len(policy.seen)) == (True, 1, 1)
    assert env.actions[:10] == [[0, 0, 0, 0, 0, 0, -1]] * 10
    assert len(env.actions) == 11
    assert env.resets == 1
    np.testing.assert_array_equal(env.states, [np.ones(2)])
    np.testing.assert_array_equal(policy.seen[0].image, raw_observation(10)["agentview_image"][::-1, ::-1])


def test_whole_chunks_are_executed_up_to_the_step_limit():
    env, policy = FakeEnvironment(), CountingPolicy()
    episode = run_episode(env, policy, SUITE, "do it", np.zeros(2), "counting")
    assert (episode.success, episode.steps) == (False, 20)
    assert [query.step for query in episode.queries] == [0, 8, 16]
    assert all(query.latency_ms >= 0 and query.stats == {} for query in episode.queries)
    chunks = [np.arange(56.0).reshape(8, 7) + 100 * (query + 1) for query in range(3)]
    executed = np.concatenate(chunks)[:20]
    executed[:, -1] = [1, -1] * 10
    np.testing.assert_array_equal(env.actions[10:], executed)
    for query, observation in enumerate(policy.seen):
        expected = raw_observation(10 + 8 * query)["robot0_eye_in_hand_image"][::-1, ::-1]
        np.testing.assert_array_equal(observation.wrist_image, expected)


@pytest.mark.parametrize(("done_at", "success", "steps"), [(14, True, 4), (30, True, 20), (31, False, 20)])
def test_success_is_done_within_the_limit(done_at, success, steps):
    episode = run_episode(FakeEnvironment(done_at), PolicyWithStats(), SUITE, "", np.zeros(2), "counting")
    assert (episode.success, episode.steps) == (success, steps)
    assert [query.stats["inference_ms"] for query in episode.queries] == [1 + i for i in range(-(-steps // 8))]


@pytest.mark.parametrize("chunk", [np.zeros((7, 7)), np.full((8, 7), np.nan)])
def test_what_is_no_chunk_is_refused(chunk):
    policy = CountingPolicy()
    policy.predict = lambda observation: chunk
    with pytest.raises(ValueError, match="policy='mine' gave a chunk of shape"):
        run_episode(FakeEnvironment(), policy, SUITE, "", np.zeros(2), "mine")


def test_stub_depends_on_its_seed_and_on_what_it_sees():
    first, second = (adapter.observe(raw_observation(i), "") for i in range(2))
    chunk = StubPolicy(0).predict(first)
    assert chunk.shape == (8, 7)
    assert np.abs(chunk).max() <= 1
    assert (chunk[:, -1] >= 0).all()
    np.testing.assert_array_equal(chunk, StubPolicy(0).predict(first))
    assert not np.allclose(chunk, StubPolicy(0).predict(second))
    assert not np.allclose(chunk, StubPolicy(1).predict(first))
    assert PIXELS % StubPolicy.BLOCKS == 0


def test_results_are_tables_and_a_latency_trace(tmp_path):
    directory = libero.evaluate(plan(), FakeTasks(), PolicyWithStats(), tmp_path)
    assert directory == tmp_path / "stub" / "libero_spatial"
    episodes = files.read_csv(directory / "episodes.csv")
    assert list(episodes["task_id"]) == [0, 0, 1, 1]
    assert list(episodes["trial"]) == [0, 1, 0, 1]
    assert list(episodes["success"]) == [0, 0, 1, 1]
    assert list(episodes["steps"]) == [20, 20, 4, 4]
    queries = files.read_csv(directory / "queries.csv")
    assert len(queries) == episodes["queries"].sum() == 8
    assert list(queries["inference_ms"]) == list(range(2, 10))  # the first one was the warm-up
    np.testing.assert_array_equal(read_trace(directory / "queries.csv"), queries["latency_ms"])
    summary = files.read_csv(directory / "summary.csv").set_index("task")
    assert list(summary.index) == ["task_0", "task_1", "all"]
    assert list(summary["success_rate"]) == [0, 1, 0.5]
    # Wilson (1927) for 2 of 2, worked out by hand: n / (n + z²); the pooled tasks have no interval.
    np.testing.assert_allclose(summary.loc["task_1", ["success_low", "success_high"]].astype(float), [2 / 5.841459, 1])
    assert summary.loc["all", ["success_low", "success_high"]].isna().all()
    facts = json.loads((directory / "run.json").read_text())
    assert facts["inputs"]["versions"] == {"mujoco": "1"}
    assert facts["last_run"]["git_commit"]


def test_a_killed_run_goes_on_with_the_same_randomness(tmp_path):
    broken = FakeTasks(fails_in_reset=2)
    with pytest.raises(KeyboardInterrupt):
        libero.evaluate(plan(num_trials=3), broken, StubPolicy(), tmp_path)
    source = FakeTasks()
    directory = libero.evaluate(plan(num_trials=3), source, StubPolicy(), tmp_path)
    assert len(files.read_csv(directory / "episodes.csv")) == 6
    # Task 0 resets for its finished trial too, but runs the other two only.
    assert [env.resets for env in source.environments] == [3, 3]
    assert [[list(s) for s in env.states] for env in source.environments] == [
        [[2, 3], [4, 5]],
        [[0, 1], [2, 3], [4, 5]],
    ]
    again = FakeTasks()
    libero.evaluate(plan(num_trials=3), again, StubPolicy(), tmp_path)
    assert again.environments == []


def test_a_damaged_trial_is_run_again(tmp_path):
    directory = libero.evaluate(plan(), FakeTasks(), StubPolicy(), tmp_path)
    episodes = files.read_csv(directory / "episodes.csv")
    (directory / "cells/task_01/no_delay/stub/seed_1/queries.csv").unlink()
    source = FakeTasks()
    libero.evaluate(plan(), source, StubPolicy(), tmp_path)
    assert len(source.environments) == 1
    assert files.read_csv(directory / "episodes.csv").equals(episodes)
    assert len(files.read_csv(directory / "queries.csv")) == episodes["queries"].sum()


def test_results_of_another_configuration_are_not_mixed(tmp_path):
    libero.evaluate(plan(), FakeTasks(), StubPolicy(), tmp_path)
    with pytest.raises(ConflictError, match=r"config\.settings\.seed = 0, not 1.*choose another --output-root"):
        libero.evaluate(plan(settings={"seed": 1}), FakeTasks(), StubPolicy(), tmp_path)
    with pytest.raises(ConflictError, match=r"versions\.mujoco = 1, not 2"):
        libero.evaluate(plan(), FakeTasks(versions={"mujoco": "2"}), StubPolicy(), tmp_path)
    source = FakeTasks()
    fewer = plan(settings={"seed": 1}, num_trials=1)
    directory = libero.evaluate(fewer, source, StubPolicy(), tmp_path, overwrite=True)
    assert len(source.environments) == 2
    assert files.read_csv(directory / "episodes.csv")["trial"].tolist() == [0, 0]


def test_plans_are_checked(tmp_path):
    with pytest.raises(ValueError, match="num_trials=0 must be an integer, at least 1"):
        plan(num_trials=0)
    with pytest.raises(ValueError, match="task_ids entry=10 must be an integer, between 0 and 9"):
        plan(task_ids=(10,))
    with pytest.raises(ValueError, match="num_trials=6: task_0 has 5 initial states"):
        libero.evaluate(plan(num_trials=6), FakeTasks(), StubPolicy(), tmp_path)
