"""LIBERO's tasks as worlds of the study framework, on a tabletop without physics: no LIBERO needed."""

import dataclasses
import types

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from libero_kinematic import KinematicTabletop, environment
from rtc import worlds
from rtc.policies import checkpoints, networks, weights
from rtc.policies.flow import FlowPolicy
from rtc.policies.forward import ForwardModel
from rtc.policies.mixer import ModelConfig
from rtc.programs import libero_demonstrations, train_libero, train_networks
from rtc.programs import study as program
from rtc.study import archive, files, hosted, hosted_suite, plan, runner
from rtc.study.arguments import StudyArguments
from rtc.study.cells import compared
from rtc.study.evaluation import EvalConfig
from rtc.study.recordings import RecordingConfig as RolloutConfig
from rtc.training import cloning, demonstrations
from rtc.training import libero_demonstrations as recorded
from rtc.training.cloning import CloningConfig
from rtc.training.forward import ForwardTraining
from rtc.training.heads import HeadTraining
from rtc.training.libero_demonstrations import RecordingConfig
from rtc.worlds.libero import state_worlds
from rtc.worlds.libero.constants import OFFICIAL_TRIALS
from rtc.worlds.libero.expert import BowlExpert
from rtc.worlds.libero.scene import CENTRE, SCALE, STATE_DIM
from rtc.worlds.libero.state_worlds import StateSuite

SMALL = ModelConfig(8, 8, 4, num_layers=1, action_chunk_size=8)
WORLDS = ("libero_state:libero_spatial_3", "libero_state:libero_spatial_5")
HOME = StateSuite("libero_spatial")
TICKS = 12  # of an episode


def test_a_task_is_a_world_whose_policy_is_the_suite_s():
    world = worlds.load(WORLDS[0])
    assert (world.name, world.home.name, world.task) == ("libero_spatial_3", "libero_spatial", 3)
    assert worlds.load(WORLDS[0]) == world
    assert worlds.is_hosted(WORLDS[0])
    assert (world.observation_dim, world.action_dim, world.num_starts) == (40, 7, OFFICIAL_TRIALS)
    assert len({one.sha256 for one in HOME.worlds} | {HOME.sha256}) == 11
    assert list(np.flatnonzero(world.robot)) == [*range(12), 27, 28, 29]
    assert list(worlds.varying_observation_entries(world)) == list(range(40))
    with pytest.raises(ValueError, match="one environment at a time and has no batched one"):
        worlds.make_env(world)
    with pytest.raises(ValueError, match="did you mean 'libero_spatial_3'"):
        worlds.load("libero_state:libero_spatial_33")
    with pytest.raises(ValueError, match="suite with state observations='libero_goal' is unknown"):
        state_worlds.find_state_suite("libero_goal")


def test_its_hash_covers_its_files(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"1")
    task = types.SimpleNamespace(bddl_file=tmp_path / "a", states_file=tmp_path / "b")
    first = state_worlds.content(task)
    (tmp_path / "b").write_bytes(b"2")
    assert state_worlds.content(task) != first
    world, before = worlds.load(WORLDS[0]), (worlds.load(WORLDS[0]).sha256, StateSuite("libero_spatial").sha256)
    monkeypatch.setattr(state_worlds, "CONTENTS", {"libero_spatial": ("other",) * 10})
    assert world.sha256 != before[0]
    assert StateSuite("libero_spatial").sha256 != before[1]
    monkeypatch.setattr(state_worlds.tasks, "find_tasks", lambda suite: [task] * 10)
    with pytest.raises(ValueError, match=r"is not that of hf-libero 0\.1\.4.*reinstall it"):
        worlds.open_env(world)


def test_networks_read_centred_and_scaled_numbers():
    plain, scaled = environment(), state_worlds.ScaledEnvironment(environment())
    for raw, seen in (
        (plain.reset(4), scaled.reset(4)),
        (plain.step(np.ones(7)).obs, scaled.step(np.ones(7)).obs),
    ):
        np.testing.assert_allclose(seen[:STATE_DIM] * SCALE + CENTRE, raw[:STATE_DIM], atol=1e-6)
        np.testing.assert_array_equal(seen[STATE_DIM:], raw[STATE_DIM:])
        assert seen.dtype == np.float32
    assert (scaled.max_ticks, scaled.action_dim, list(scaled.bound_actions)) == (220, 7, [True] * 7)


def test_demonstrations_of_tasks_are_joined_for_one_policy():
    config = RecordingConfig(episodes=2)
    tasks = [recorded.record(environment(task=task), BowlExpert(), task, config) for task in (3, 5)]
    data = recorded.joined(tasks)
    assert data.facts["transitions"] == sum(len(one.done) for one in tasks)
    assert (data.facts["episodes"], data.facts["solve_rate"]) == (4, 1.0)
    assert data.facts["level_sha256"] == HOME.sha256
    first = len(tasks[0].done)
    np.testing.assert_array_equal(data.obs[first, STATE_DIM:], np.eye(10)[5])
    np.testing.assert_array_equal(data.action[:first], tasks[0].action)
    np.testing.assert_allclose(data.obs[:first, :STATE_DIM] * SCALE + CENTRE, tasks[0].obs, atol=1e-5)


# --- a study ------------------------------------------------------------------------------------------------------

STUDY = """
name = "study_tabletop"
levels = ["%s", "%s"]
num_evals = 2
[profiles.d1]
fixed_delay = 1
[defaults]
estimator = { kind = "oracle" }
[methods.naive]
run_path = "%s"
"""


@pytest.fixture(scope="module")
def opened():
    """Worlds on tabletops without physics: the simulations of evaluations, and those of recordings."""
    kept = {"evaluation": [], "training": []}

    def make(what, states):
        def open_env(level):
            kept[what].append(KinematicTabletop())
            inside = environment(kept[what][-1], level.task, states)
            inside.max_ticks = TICKS
            return state_worlds.ScaledEnvironment(inside)

        return open_env

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state_worlds, "open_env", make("evaluation", np.arange(100.0).reshape(50, 2)))
        patch.setattr(state_worlds, "open_training", make("training", None))
        patch.setattr(libero_demonstrations.setup_check, "require", lambda images: None)
        patch.setattr(recorded.state, "opened", lambda task, suite: environment(task=task))
        patch.setattr(libero_demonstrations, "_record_all", _record_here)
        hosted._OPEN.clear()
        yield kept
        hosted._OPEN.clear()


def _record_here(tasks, args):
    for task in tasks:
        libero_demonstrations.record(task, args.config, args.folder)


@pytest.fixture(scope="module")
def run(opened, tmp_path_factory):
    """A run with a policy for the suite, trained for a moment by the program."""
    folder = tmp_path_factory.mktemp("libero")
    config = CloningConfig(
        num_epochs=1, save_every=1, batch_size=64, parts=1, run_path=folder / "experts", model=SMALL, warmup_steps=1
    )
    args = train_libero.Arguments(RecordingConfig(episodes=1), config, folder / "run")
    path = train_libero.train(args)
    assert path.name == "worlds_l_libero_spatial"
    assert train_libero.train(args) == path
    return folder / "run"


def test_the_program_trains_one_policy_for_the_suite(run):
    path = checkpoints.policy_path(run, "libero_spatial")
    policy, facts = checkpoints.load_policy(path, obs_dim=40, action_dim=7)
    assert policy.action_chunk_size == 8
    assert (facts["level"], facts["level_sha256"]) == ("libero_spatial", HOME.sha256)
    assert facts["data_episodes"] == 10
    data = demonstrations.load(run.parent / "experts" / "data" / "worlds_l_libero_spatial.npz")
    assert data.facts["tasks"] == list(range(10))
    with pytest.raises(ValueError, match="have no effect on LIBERO"):
        train_libero.Arguments(config=dataclasses.replace(train_libero.CONFIG, labels="mode"))
    assert cloning.policy_path(run, 1, "x").parent == path.parent


@pytest.fixture(scope="module")
def done(run, opened, tmp_path_factory):
    """A study of two tasks that has run, and its arguments."""
    folder = tmp_path_factory.mktemp("study")
    path = folder / "tabletop.toml"
    path.write_text(STUDY % (*WORLDS, run))
    study = files.read(path)
    args = StudyArguments(output_root=str(folder / "out"))
    program.run(study, args)
    return study, args.of(study)


def test_episodes_of_a_study_start_from_the_benchmark_s_states(done, opened):
    first, second = opened["evaluation"]
    for simulation in (first, second):
        assert [state[0] // 2 for state in simulation.states] == [0, 1]
    assert first.closed  # for the second world
    study, args = done
    assert runner.check(study, args).startswith("0 of 2 cells")


def test_a_cell_knows_the_simulator_s_versions(done, monkeypatch):
    study, args = done
    planned = plan.planned(study, args, study.arms[0], WORLDS[0], 0)
    assert planned.subject.filed_under == "libero_spatial"
    monkeypatch.setattr(state_worlds.identity, "installed", lambda names: dict.fromkeys(names, "1.0"))
    fresh = plan.planned(study, args, study.arms[0], WORLDS[0], 0)
    inputs = fresh.inputs
    assert inputs["simulator"] == {"hf-libero": "1.0", "robosuite": "1.0", "mujoco": "1.0"}
    newer = inputs | {"simulator": inputs["simulator"] | {"mujoco": "2.0"}}
    assert compared(newer, inputs).status == "older"
    assert compared(inputs, inputs).status == "complete"
    # Where it is not installed, its cells are read as they are.
    assert compared(newer, inputs | {"simulator": {}}).status == "complete"
    assert compared(newer, inputs | {"level_sha256": "other"}).status == "other"


def test_reports_are_written_without_the_simulator(done, monkeypatch):
    study, args = done
    kept = archive.read(args.root).cells
    assert {cell.level for cell in kept} == {"libero_spatial_3", "libero_spatial_5"}

    def missing(level):
        pytest.fail("opened a simulator")

    monkeypatch.setattr(state_worlds, "open_env", missing)
    program.run(study, dataclasses.replace(args, report_only=True))
    assert "libero_spatial_3" in (args.root / "summary.md").read_text()


def test_more_episodes_than_initial_states_are_refused(run):
    subject = hosted.load(str(run), WORLDS[0])
    with pytest.raises(ValueError, match=r"num_evals=51, but libero_state:libero_spatial_3 has 50 start states"):
        subject.check(EvalConfig(num_evals=51))
    subject.check(EvalConfig(num_evals=50))


# --- networks beside the policy -----------------------------------------------------------------------------------


def test_networks_of_a_suite_learn_from_rollouts_that_start_elsewhere(run, opened, tmp_path):
    opened["training"].clear()
    tiny = {"num_epochs": 1, "batch_size": 64, "warmup_steps": 1}
    args = train_networks.Arguments(
        run_path=run,
        level_paths=WORLDS,
        kinds=("forward", "correction", "head_only"),
        work_path=tmp_path,
        recording=RolloutConfig(episodes=4),
        forward=ForwardTraining(**tiny),
        head=HeadTraining(**tiny),
    )
    paths = train_networks.train(args)
    assert {path.name for path in paths} == {"worlds_l_libero_spatial"}
    assert len(opened["training"]) == 2  # worlds
    assert not any(simulation.states for simulation in opened["training"])
    model, facts = networks.load(weights.with_suffix(paths[0], weights.WEIGHTS), ForwardModel)
    np.testing.assert_array_equal(model.robot[...], worlds.load(WORLDS[0]).robot)
    assert facts["level_sha256"] == HOME.sha256
    assert facts["worlds"] == [worlds.load(name).name for name in WORLDS]
    # Those of one world are not those of all.
    of_one = dataclasses.replace(args, level_paths=WORLDS[:1])
    with pytest.raises(ValueError, match=r"was trained otherwise \(worlds\)"):
        train_networks.train(of_one)
    subject = hosted.load(str(run), WORLDS[1])
    for method in ("foresee_learned", "a2c2", "head_only"):
        config = EvalConfig(method=method, num_evals=1)
        subject.check(config)
        assert subject.inputs(config, 0)["assets"]
    with pytest.raises(ValueError, match="kinds=vlash is for levels of Kinetix"):
        train_networks.train(train_networks.Arguments(run_path=run, level_paths=WORLDS, kinds=("vlash",)))


def test_a_recording_has_what_was_seen_and_executed(run, opened):
    (suite,) = hosted_suite.load(str(run), WORLDS)
    assert isinstance(suite.observing, FlowPolicy)
    (found,) = suite.record([EvalConfig()], seed=3, episodes=np.arange(3))
    assert found.obs.shape == (3, TICKS, 40)
    assert found.action.shape == found.commanded.shape == (3, TICKS, 7)
    # Episodes 0 and 2 are in the first world.
    np.testing.assert_array_equal(found.obs[:, 0, STATE_DIM:], np.eye(10)[[3, 3, 5]])
    noise = np.abs(found.action - found.commanded)
    assert 0.03 < float(jnp.mean(noise)) < 0.2
    assert pd.Series(found.length).eq(TICKS).all()
