"""Gymnasium's tasks as worlds: what success is, experts, demonstrations, and cells of a study."""

import dataclasses
import importlib.util

import gymnasium
import jax
import numpy as np
import pandas as pd
import pytest
from flax import nnx

import rtc
from rtc import worlds
from rtc.control.controller import ExecutionConfig
from rtc.control.environment import start_keys
from rtc.delay.profiles import DelayProfileConfig
from rtc.policies import checkpoints
from rtc.policies.flow import FlowPolicy
from rtc.policies.mixer import ModelConfig
from rtc.programs import eval_flow, train_gym
from rtc.programs import study as program
from rtc.study import files, hosted, plan, runner
from rtc.study.arguments import StudyArguments
from rtc.study.evaluation import EvalConfig
from rtc.study.outcome import Outcome
from rtc.training import cloning, demonstrations, gym_demonstrations
from rtc.training.cloning import CloningConfig
from rtc.training.gym_demonstrations import RecordingConfig
from rtc.worlds import registry
from rtc.worlds.gym import tasks
from rtc.worlds.gym.experts import EXPERTS
from rtc.worlds.gym.tasks import TaskEnvironment

PENDULUM = tasks.TASKS["Pendulum-v1"]
SMALL = ModelConfig(8, 8, 4, num_layers=1, action_chunk_size=4)
NAMES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            task.extra is not None and importlib.util.find_spec(task.extra) is None,
            reason=f"{name} needs pip install 'exp-delta[{task.extra}]'",
        ),
    )
    for name, task in tasks.TASKS.items()
]


@pytest.mark.parametrize("name", NAMES)
def test_a_task_is_gymnasiums_environment_in_numbers_for_networks(name):
    task = tasks.find(name)
    env, plain = TaskEnvironment(task), gymnasium.make(name)
    assert plain.spec.max_episode_steps == task.max_ticks
    assert plain.action_space.shape == (task.action_dim,)
    scale, bound = np.asarray(task.scale), plain.action_space.high
    first, _ = plain.reset(seed=5)
    np.testing.assert_allclose(env.reset(5) * scale, first, rtol=1e-5)
    for half in (0.5, -2.0):  # beyond the bounds is the bound
        step = env.step(np.full(task.action_dim, half))
        obs, reward, *_ = plain.step(np.float32(np.clip(half, -1, 1) * bound))
        np.testing.assert_allclose(step.obs * scale, obs, rtol=1e-4, atol=1e-6)
        assert step.reward == pytest.approx(reward, rel=1e-5)
        assert step.obs.dtype == np.float32
    env.close()


@pytest.mark.parametrize("name", NAMES)
def test_the_expert_solves_the_task(name):
    task = tasks.find(name)
    env, scale, solved = TaskEnvironment(task), np.asarray(task.scale), 0
    for seed in range(10):
        obs = env.reset(seed)
        while True:
            step = env.step(EXPERTS[name](obs * scale))
            obs = step.obs
            if step.terminated or step.truncated:
                break
        assert step.terminated == step.solved
        solved += step.solved
    assert solved == 10
    env.close()


def test_success_is_to_stay_near_the_goal_for_so_many_ticks():
    errors = []
    task = dataclasses.replace(PENDULUM, hold=3, error=lambda obs: errors.pop(0))
    env = TaskEnvironment(task)
    env.reset(0)
    errors[:] = [0.1, 0.1, 0.3, 0.1, 0.1, 0.1]
    steps = [env.step(np.zeros(1)) for _ in range(6)]
    assert [step.solved for step in steps] == [False] * 5 + [True]
    assert steps[-1].terminated
    env.reset(0)  # an episode starts from nothing
    errors[:] = [0.1]
    assert not env.step(np.zeros(1)).solved
    lasting = TaskEnvironment(task, stops=False)
    lasting.reset(0)
    errors[:] = [0.1] * 4
    steps = [lasting.step(np.zeros(1)) for _ in range(4)]
    assert [step.solved for step in steps] == [False, False, True, True]
    assert not any(step.terminated for step in steps)


def test_a_task_is_a_world_that_is_stepped_from_python():
    world = worlds.load("gym:Pendulum-v1")
    assert world is PENDULUM is world.home
    assert list(tasks.TASKS["Reacher-v5"].robot) == [True] * 4 + [False] * 2 + [True] * 2 + [False] * 2
    assert worlds.is_hosted("gym:Pendulum-v1")
    assert not worlds.is_hosted("grasp_easy")
    assert world.sha256 != dataclasses.replace(world, tolerance=0.3).sha256
    assert list(worlds.varying_observation_entries(world)) == [0, 1, 2]
    with pytest.raises(ValueError, match="one environment at a time and has no batched one"):
        worlds.make_env(world)
    with pytest.raises(ValueError, match=r"did you mean 'Pendulum-v1'"):
        worlds.load("gym:Pendulum-v2")
    with pytest.raises(ValueError, match="is not opened by its name"):
        worlds.open_env(registry.load("libero:libero_goal"))


def test_a_simulator_that_is_missing_is_named_with_the_fix(monkeypatch):
    def make(name, **options):
        raise gymnasium.error.DependencyNotInstalled("no simulator")

    monkeypatch.setattr(gymnasium, "make", make)
    with pytest.raises(
        ValueError, match=r"gym:Reacher-v5.*no simulator.*pip --python .* install 'exp-delta\[mujoco\]'"
    ):
        worlds.open_env(worlds.load("gym:Reacher-v5"))
    with pytest.raises(ValueError, match=r"gym:Pendulum-v1.*no simulator.*pip --python .* install gymnasium"):
        worlds.open_env(worlds.load("gym:Pendulum-v1"))


def test_a_world_runs_by_its_name_with_any_policy():
    def swing(obs):
        return np.repeat([EXPERTS["Pendulum-v1"](obs * np.asarray(PENDULUM.scale))], 2, axis=0)

    found = rtc.evaluate(env="gym:Pendulum-v1", policy=swing, episodes=2)
    assert found.solve_rate.value == 1
    assert (found.episodes["returned_episode_lengths"] < 200).all()


# --- demonstrations -------------------------------------------------------------------------------------------


def test_demonstrations_are_whole_episodes_with_labels_without_noise(tmp_path):
    config = RecordingConfig(num_transitions=300, noise=0.2)
    path = tmp_path / "pendulum.npz"
    data = gym_demonstrations.recorded(path, PENDULUM, config, resume=True)
    assert data.facts["transitions"] == 400
    assert data.facts["episodes"] == 2
    assert data.facts["solve_rate"] == 1
    assert list(np.flatnonzero(data.done)) == [199, 399]
    labels = np.array([EXPERTS["Pendulum-v1"](obs * np.asarray(PENDULUM.scale)) for obs in data.obs])
    np.testing.assert_allclose(data.action, labels, atol=1e-5)
    assert (data.action != data.other).any()
    again = gym_demonstrations.recorded(path, PENDULUM, config, resume=True)
    np.testing.assert_array_equal(again.obs, data.obs)
    np.testing.assert_array_equal(gym_demonstrations.record(PENDULUM, config).other, data.other)
    with pytest.raises(ValueError, match=r"noise = 0\.2, not 0\.1"):
        gym_demonstrations.recorded(path, PENDULUM, dataclasses.replace(config, noise=0.1), resume=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with a policy for Pendulum, trained for a moment by the program."""
    folder = tmp_path_factory.mktemp("gym")
    config = CloningConfig(
        num_epochs=1, save_every=1, batch_size=64, parts=1, run_path=folder / "experts", model=SMALL, warmup_steps=1
    )
    args = train_gym.Arguments(RecordingConfig(num_transitions=200), config, ("Pendulum-v1",), folder / "run")
    (path,) = train_gym.train(args)
    assert path.name == "worlds_l_Pendulum-v1"
    return folder / "run"


def test_the_program_trains_what_cloning_trains(run):
    policy, facts = checkpoints.load_policy(checkpoints.policy_path(run, "Pendulum-v1"), obs_dim=3, action_dim=1)
    assert policy.action_chunk_size == 4
    assert facts["level_sha256"] == PENDULUM.sha256
    assert facts["data_transitions"] == 200
    with pytest.raises(ValueError, match="tasks entry='Pendulum'"):
        train_gym.Arguments(tasks=("Pendulum",))
    with pytest.raises(ValueError, match="have no effect on these tasks"):
        train_gym.Arguments(config=dataclasses.replace(train_gym.CONFIG, labels="mode"))
    assert demonstrations.load(run.parent / "experts/data/worlds_l_Pendulum-v1.npz").facts["level"] == "Pendulum-v1"
    assert cloning.policy_path(run, 1, "x").parent == checkpoints.policy_path(run, "Pendulum-v1").parent


# --- cells of a study -----------------------------------------------------------------------------------------

STUDY = """
name = "study_pendulum"
levels = ["gym:Pendulum-v1"]
num_evals = 2
[profiles."d{d}"]
for = { d = [0, 1] }
fixed_delay = "{d}"
[defaults]
estimator = { kind = "oracle" }
[methods.naive]
run_path = "%s"
[[comparisons]]
candidate = ["d1", "naive"]
reference = ["d0", "naive"]
"""


@pytest.fixture(scope="module")
def done(run, tmp_path_factory):
    """A study of two cells that has run, and its arguments."""
    folder = tmp_path_factory.mktemp("study")
    path = folder / "pendulum.toml"
    path.write_text(STUDY % run)
    study = files.read(path)
    args = StudyArguments(output_root=str(folder / "out"))
    program.run(study, args)
    return study, args.of(study)


def test_its_cells_are_those_of_any_study(done):
    study, args = done
    assert runner.check(study, args).startswith("0 of 2 cells")
    outcome = Outcome.read(study, args, required=None)
    cell = outcome.cells["Pendulum-v1", "d1", "naive"][0]
    assert cell.delay_counts.keys() == {1}
    assert cell.result["query_multiplications"] > 0
    assert cell.provenance["level_path"] == "gymnasium:Pendulum-v1"
    assert cell.inputs["simulator"] == {"gymnasium": gymnasium.__version__}
    assert (args.root / "episodes.parquet").is_file()
    assert "Pendulum-v1" in (args.root / "summary.md").read_text()
    assert not (args.root / "preview.mp4").exists()


def test_a_cell_is_what_the_host_executor_finds(done):
    study, args = done
    planned = plan.planned(study, args, study.arms[1], "gym:Pendulum-v1", 0)
    direct = rtc.evaluate(
        env="gym:Pendulum-v1",
        policy=planned.subject.policy,
        delay=DelayProfileConfig(fixed_delay=1),
        estimator=planned.config.estimator,
        execution=ExecutionConfig(),
        episodes=2,
    )
    kept = planned.read().episodes
    column = "returned_episode_returns"
    pd.testing.assert_series_equal(kept[column], direct.episodes[column], rtol=1e-5)
    again = planned.subject.rollout(planned.config, seed=0, episodes=np.array([1]))
    assert float(again.returned[0]) == pytest.approx(kept[column][1], rel=1e-5)


def test_what_has_no_effect_or_cannot_be_is_refused(run, monkeypatch):
    subject = hosted.load(str(run), "gym:Pendulum-v1")
    with pytest.raises(ValueError, match=r"start_noise=0\.1 has no effect in gym:Pendulum-v1"):
        subject.check(EvalConfig(start_noise=0.1))
    with pytest.raises(ValueError, match="physics='stock' has no effect"):
        subject.check(EvalConfig(physics="stock"))
    with pytest.raises(ValueError, match="execute_horizon=5 exceeds"):
        subject.check(EvalConfig(execution=ExecutionConfig(execute_horizon=5)))
    monkeypatch.setattr(tasks, "TASKS", {"Pendulum-v1": dataclasses.replace(PENDULUM, tolerance=0.3)})
    hosted.load.cache_clear()
    with pytest.raises(ValueError, match="was trained on level 'Pendulum-v1' with content"):
        hosted.load(str(run), "gym:Pendulum-v1")
    hosted.load.cache_clear()


def test_costs_are_those_of_a_batched_world_with_such_observations(run):
    subject = hosted.load(str(run), "gym:Pendulum-v1")
    found = subject.costs(EvalConfig())
    other = FlowPolicy(obs_dim=5, action_dim=1, config=SMALL, rngs=nnx.Rngs(0))
    more = dataclasses.replace(subject, policy=other, level=dataclasses.replace(PENDULUM, scale=(1.0,) * 5))
    assert found.query > 0
    assert more.costs(EvalConfig()).query - found.query == 2 * SMALL.channel_dim
    assert jax.eval_shape(hosted._Outside(3).reset, start_keys(2))[1].shape == (2, 3)


def test_settings_of_training_that_would_have_no_effect_are_refused():
    with pytest.raises(ValueError, match="tasks has no entry"):
        train_gym.Arguments(tasks=())
    with pytest.raises(ValueError, match="push_every=20 has no effect with push_ticks=0"):
        RecordingConfig(push_every=20, push_ticks=0)
    assert RecordingConfig(push_ticks=0).push_every == 40


def test_the_program_of_kinetix_s_levels_points_to_studies(tmp_path):
    args = eval_flow.Arguments("logs-bc/gym", level_paths=("gym:Pendulum-v1",), output_dir=str(tmp_path))
    with pytest.raises(ValueError, match=r"'gym:Pendulum-v1' is a world .* study file \(docs/studies.md\)"):
        eval_flow.run(args)
