"""Recordings of rollouts, and what is learned from them: forward models and correction heads."""

import dataclasses
import hashlib
import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import train_networks
from model import FlowPolicy, ModelConfig
from rtc import methods
from rtc.policies import checkpoints, networks
from rtc.policies.forward import ForwardConfig, ForwardModel
from rtc.policies.heads import CorrectionHead, HeadConfig, HeadOnly
from rtc.policies.latents import LatentConfig, LatentModel
from rtc.programs import presets
from rtc.programs import train_networks as program
from rtc.study import preparation, recordings
from rtc.study.recordings import RecordingConfig
from rtc.study.subject import FlowSubject
from rtc.training import cloning, forward, heads, latents, trajectories, vlash
from rtc.training.demonstrations import Demonstrations
from rtc.training.forward import ForwardTraining
from rtc.training.heads import HeadTraining
from rtc.training.latents import LatentTraining
from rtc.training.networks import Job
from rtc.training.vlash import VlashTraining
from stubs import NoisePolicy, SmoothEnv

ENV = SmoothEnv((2, 3, 4), 24)
SHORT = {"num_epochs": 6, "batch_size": 32, "learning_rate": 3e-3, "warmup_steps": 10}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Rollouts of a policy that acts at random."""
    path = tmp_path_factory.mktemp("rollouts") / "some.npz"
    return path, record(path), record(path)


@dataclasses.dataclass
class Subject:
    """A `FlowSubject` without files, as far as it is recorded and trained for."""

    acting: object
    env: object = ENV
    policy: object = None
    observing: object = None
    level = SimpleNamespace(name="some", sha256="a" * 64)
    filed_under = "some"
    checkpoint_sha256 = "b" * 64
    chunk_size = 4

    def prepare(self, config):
        return self.env, self.acting, preparation.controller_for(config)

    record, _recorded, seen = FlowSubject.record, FlowSubject._recorded, FlowSubject.seen


SUBJECT = Subject(NoisePolicy())
FEW = RecordingConfig(episodes=16, num_flow_steps=1)


def record(path, **changes):
    return recordings.record(SUBJECT, dataclasses.replace(FEW, **changes), path)


def job(folder, **facts):
    return Job("some", folder / "work", folder / "some", facts)


def test_rollouts_are_what_happened(recorded):
    path, data, again = recorded
    np.testing.assert_array_equal(data.obs, again.obs)
    assert data.done[-1]
    assert data.done.sum() == 16 * len(recordings.kinds(4))
    start, length = 0, np.diff(np.flatnonzero(data.done), prepend=-1)
    for ticks in length[:5]:
        obs, action = data.obs[start : start + ticks], data.action[start : start + ticks]
        np.testing.assert_allclose(obs[0], [0.3, -0.2, 0.1], atol=1e-6)
        following = np.sin(0.9 * obs + 0.1 * action[:, :3] - 0.1 * action[:, 3:])
        np.testing.assert_allclose(obs[1:], following[:-1], atol=1e-5)
        start += ticks
    np.testing.assert_array_equal(data.robot, [True, False, False])
    assert data.facts["kinds"][0] == {"delay": 0, "action_noise": 0.1}
    assert len(data.facts["solved"]) == len(recordings.kinds(4)) == 4
    with pytest.raises(ValueError, match="was recorded otherwise"):
        record(path, seed=5)
    path.with_suffix(".txt").write_text("no")
    with pytest.raises(ValueError, match="is no file of trajectories"):
        trajectories.load(path.with_suffix(".txt"))


@dataclasses.dataclass(frozen=True)
class Pushing(NoisePolicy):
    """Pushes towards the goal in most of its chunks, more than the actions' range allows."""

    def action(self, rng, obs, num_steps, *, noise=None, flow_steps=None):
        push = 2.0 * jnp.array([1, 1, 1, -1, -1, -1])
        return jnp.where(noise[:, :1, :1] > 0.0, push, 0.0) * jnp.ones((1, 4, 1))


jax.tree_util.register_static(Pushing)


def pushing(env=ENV):
    return Subject(Pushing(), env)


def test_own_demonstrations_are_solved_episodes_and_what_was_commanded_in_them(tmp_path):
    path, template = tmp_path / "own.npz", np.array([1.5, -0.7, 0.3, -0.2, 0.1, 3.0, 0.4], np.float32)
    data = recordings.demonstrate(pushing(), FEW, path)
    solved = data.facts["solved"]
    assert 0 < solved < 1
    assert data.done.sum() == round(solved * FEW.episodes)
    # Commands within their range; what was executed, noise included, is not what is learned.
    assert {tuple(one) for one in data.action.tolist()} == {(1.0,) * 3 + (-1.0,) * 3, (0.0,) * 6}
    again = recordings.demonstrate(pushing(), FEW, path)
    np.testing.assert_array_equal(again.obs, data.obs)
    shown = trajectories.as_demonstrations(data, template)
    assert (shown.facts["episodes"], shown.facts["solve_rate"]) == (data.done.sum(), 1.0)
    dataset = cloning.make_dataset(shown, data.robot, 4)
    starts = np.flatnonzero(np.append(True, data.done[:-1]))
    np.testing.assert_allclose(cloning.chunks(dataset, jnp.asarray(starts), 4)[0], np.tile(template, (len(starts), 1)))
    with pytest.raises(ValueError, match="was recorded otherwise"):
        recordings.demonstrate(pushing(), dataclasses.replace(FEW, seed=5), path)
    with pytest.raises(ValueError, match="solved none of 16 episodes"):
        recordings.demonstrate(SUBJECT, FEW, tmp_path / "none.npz")


def test_a_policy_tuned_for_vlash_goes_by_the_robot(tmp_path):
    """What is right is the robot's own entry. In the demonstrations the other one is a copy of it, which is late."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-0.8, 0.8, (6000, 1)).astype(np.float32)
    done = np.arange(6000) % 50 == 49
    data = trajectories.as_demonstrations(
        trajectories.Trajectories(np.tile(x, 2), x, done, np.array([True, False]), np.array([2, 0]), {}), np.zeros(3)
    )
    sizes = ModelConfig(channel_dim=16, channel_hidden_dim=32, token_hidden_dim=8, num_layers=1, action_chunk_size=2)
    policy = FlowPolicy(obs_dim=3, action_dim=1, config=sizes, rngs=nnx.Rngs(0))
    config = VlashTraining(**{**SHORT, "batch_size": 128, "num_epochs": 12}, parts=1, ema_decay=0.9)
    facts = vlash.train(policy, data, np.array([True, False]), config, job(tmp_path))
    assert facts["held_out_loss"] < 0.9 * facts["untuned_loss"]
    assert (facts["data_transitions"], facts["data_episodes"], facts["data_solve_rate"]) == (6000, 120, 1.0)
    tuned, read = checkpoints.load_policy(tmp_path / "some", obs_dim=3, action_dim=1)
    assert (tuned.config.robot_ahead, policy.config.robot_ahead) == (4, None)
    assert read["held_out_loss"] == facts["held_out_loss"]
    robot, other = jnp.repeat(jnp.array([-0.6, 0.6]), 128), jnp.tile(jnp.array([0.6, -0.6]), 128)
    obs = jnp.stack([other, 0 * robot, robot], axis=1)
    acted = tuned.action(jax.random.key(0), obs, 5)[:, 0, 0]
    slope = float((acted * robot).mean() / (robot * robot).mean())
    late = float((acted * other).mean() / (other * other).mean())
    assert slope > 0.7
    assert abs(late) < 0.3 * slope


def test_a_forward_model_learns_the_dynamics(recorded, tmp_path):
    data = recorded[1]
    config = ForwardTraining(**{**SHORT, "num_epochs": 40}, model=ForwardConfig(64, 1))
    facts = forward.train(data, config, job(tmp_path, why="test"))
    assert facts["why"] == "test"
    assert [row["ticks"] for row in facts["errors"]] == list(range(1, 9))
    for row in facts["errors"]:
        # Some of the actions are larger than the model, which clips them, takes them to be.
        assert row["model"] < 0.6 * row["nothing"]
    model, read = networks.load(tmp_path / "some", ForwardModel)
    assert read["errors"] == facts["errors"]
    np.testing.assert_array_equal(model.robot[...], data.robot)
    obs, actions = jnp.asarray(data.obs[:5]), jnp.asarray(data.action[:5])[:, None] * jnp.ones((5, 3, 1))
    np.testing.assert_array_equal(model.ahead(obs, actions, jnp.zeros(5, jnp.int32)), obs)
    one, three = (model.ahead(obs, actions, jnp.full(5, k)) for k in (1, 3))
    np.testing.assert_allclose(model.ahead(one, actions, jnp.full(5, 2)), three, atol=1e-5)
    mixed = model.ahead(obs, actions, jnp.array([0, 1, 3, 3, 1]))
    expected = [obs[0], one[1], three[2], three[3], one[4]]
    np.testing.assert_allclose(mixed, jnp.stack(expected), atol=1e-5)


def test_predictions_beyond_the_end_of_an_episode_do_not_count():
    data = trajectories.joined(
        [(np.arange(12.0, dtype=np.float32).reshape(2, 3, 2), np.zeros((2, 3, 1), np.float32), np.array([2, 3]))],
        robot=np.zeros(2, bool),
        entries=np.arange(2),
        facts={},
    )
    np.testing.assert_array_equal(data.done, [False, True, False, False, True])
    model = forward.fresh(data, ForwardTraining(model=ForwardConfig(4, 1)))
    inputs = forward.dataset(model, data, 3)
    _, valid = forward._errors(model.net, inputs, jnp.arange(5))
    np.testing.assert_array_equal(valid, [[1, 0, 1, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]])


def test_a_split_keeps_episodes_whole(recorded, tmp_path):
    shown, held_out = recorded[1].split(0.8)
    assert shown.done[-1]
    assert held_out.done[-1]
    assert len(shown.done) + len(held_out.done) == len(recorded[1].done)
    with pytest.raises(ValueError, match="none is left"):
        recorded[1].split(0.9999)
    with pytest.raises(ValueError, match="none is left"):
        heads.train(Feedback(), shown.split(0.001)[0], HeadTraining(), job(tmp_path))


@dataclasses.dataclass(frozen=True)
class Mixing:
    """Its latent mixes the observed numbers."""

    action_chunk_size: int = 4

    def condition(self, obs):
        return obs @ jnp.array([[1.0, 0.5, 0.0, 2.0], [0.0, 1.0, -1.0, 0.5], [1.0, 0.0, 1.0, 1.0]]) + 3.0


def test_a_latent_predictor_learns_what_the_policy_will_see(recorded, tmp_path):
    data = recorded[1]
    config = LatentTraining(**{**SHORT, "num_epochs": 30, "learning_rate": 1e-3}, model=LatentConfig(32, 2, 1))
    facts = latents.train(Mixing(), data, config, job(tmp_path))
    assert [row["ticks"] for row in facts["errors"]] == [1, 2, 3, 4]
    for row in facts["errors"]:
        assert row["model"] < 0.7 * row["nothing"]
    model = networks.load(tmp_path / "some", LatentModel)[0]
    latent, actions = Mixing().condition(jnp.asarray(data.obs[:3])), jnp.ones((3, 4, 6))
    found = model.ahead(latent, actions, jnp.array([0, 2, 2]))
    np.testing.assert_array_equal(found[0], latent[0])
    # What comes after the committed actions has no say.
    other = model.ahead(latent, actions.at[:, 2:].set(-1.0), jnp.array([0, 2, 2]))
    np.testing.assert_allclose(found, other, atol=1e-6)


@dataclasses.dataclass(frozen=True)
class Feedback:
    """Wants to act against the first observed number; its chunks say so for all of their ticks."""

    action_chunk_size: int = 4
    action_dim: int = 6

    def action(self, rng, obs, num_steps, noise=None):
        return jnp.broadcast_to(-obs[:, None, :1], (len(obs), 4, 6))


jax.tree_util.register_static(Feedback)


@pytest.mark.parametrize("reads_base", [True, False])
def test_a_head_learns_what_the_policy_would_do_now(recorded, tmp_path, reads_base):
    data = recorded[1]
    config = HeadTraining(**{**SHORT, "num_epochs": 12}, draws=1, model=HeadConfig(reads_base=reads_base))
    facts = heads.train(Feedback(), data, config, job(tmp_path))
    assert facts["held_out_loss"] < 0.1 * facts["uncorrected_loss"]
    head = networks.load(tmp_path / "some", CorrectionHead if reads_base else HeadOnly)[0]
    obs, planned = jnp.asarray(data.obs[40:50]), jnp.full((10, 6), 0.1)
    acted = head(obs, planned, jnp.full(10, 0.5)) + (planned if reads_base else 0)
    np.testing.assert_allclose(acted, -obs[:, :1] * jnp.ones((1, 6)), atol=0.15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kinds", "forward", "--demonstrations", "some"], "demonstrations has no effect"),
        (["--kinds", "head_only", "--head.labels", "mean"], "head.labels='mean' has no effect"),
        (["--kinds", "correction", "--demonstrations", "some", "--head.labels", "mean"], "head.labels='mean' has no"),
        (["--kinds", "forward", "--head.draws", "3"], "head has no effect"),
        (["--kinds", "head_only", "--forward.ticks", "3"], "forward has no effect"),
        (["--kinds", "correction", "--demonstrations", "some", "--recording.seed", "3"], "recording has no effect"),
        (["--kinds", "forward", "--own-recording.seed", "3"], "own_recording has no effect"),
        (["--kinds", "vlash", "--recording.seed", "3"], "recording has no effect"),
        (["--kinds", "vlash", "--demonstrations", "some", "--own-recording.seed", "3"], "own_recording has no effect"),
        (["--kinds", "forward", "--vlash.robot-ahead", "3"], "vlash has no effect"),
        (["--head.model.no-reads-base"], "kinds=head_only is for"),
        (["--kinds"], r"kinds=\(\) is empty: give at least one"),
    ],
)
def test_the_program_names_what_has_no_effect(arguments, message):
    with pytest.raises(ValueError, match=message):
        presets.parse(train_networks.Arguments, {"default": train_networks.Arguments()}, arguments)


def test_the_program_trains_what_is_missing_and_keeps_what_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(program.subject, "load", lambda run_path, level_path: SUBJECT)
    small = ForwardTraining(**{**SHORT, "num_epochs": 1}, model=ForwardConfig(4, 1))
    args = train_networks.Arguments(
        tmp_path / "run", ("some",), ("forward",), tmp_path / "work", recording=FEW, forward=small
    )
    (path,) = train_networks.train(args)
    facts = networks.facts(path)
    assert (facts["level_sha256"], facts["policy_sha256"]) == ("a" * 64, "b" * 64)
    assert facts["rollouts"] == [dataclasses.asdict(kind) for kind in recordings.kinds(4)]
    before = path.with_suffix(".safetensors").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(program.recordings, "record", None)  # a clone without rollouts records none
        assert train_networks.train(args) == [path]
    longer = dataclasses.replace(args, forward=dataclasses.replace(small, num_epochs=2))
    with pytest.raises(ValueError, match=r"trained otherwise \(training\): --no-resume replaces it"):
        train_networks.train(longer)
    assert path.with_suffix(".safetensors").read_bytes() == before

    class Killed(Exception):
        pass

    def killed(*args):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(program.forward, "train", killed)
        with pytest.raises(Killed):
            train_networks.train(dataclasses.replace(longer, resume=False))
    path.with_suffix(".json").unlink()
    train_networks.train(longer)
    assert networks.facts(path)["epoch"] == 1
    assert path.with_suffix(".safetensors").read_bytes() != before


def test_policies_for_vlash_do_not_learn_from_rollouts_under_delay(tmp_path, monkeypatch):
    own, learned = SimpleNamespace(entries=[]), []
    monkeypatch.setattr(program.subject, "load", lambda run_path, level_path: SUBJECT)
    monkeypatch.setattr(program.recordings, "record", lambda *args, **kwargs: "rollouts")
    monkeypatch.setattr(program, "_own_episodes", lambda *args: own)
    monkeypatch.setattr(program.vlash, "robot_entries", lambda level, entries: [])
    for room in (program.forward, program.vlash):
        monkeypatch.setattr(room, "train", lambda *args: learned.append(args) or {"loss": 0.0})
    train_networks.train(train_networks.Arguments(tmp_path / "run", ("some",), ("forward", "vlash"), tmp_path / "work"))
    assert (learned[0][0], learned[1][1]) == ("rollouts", own)


def test_the_program_tunes_policies_for_vlash_in_a_run_beside(tmp_path, monkeypatch):
    sizes = ModelConfig(channel_dim=4, channel_hidden_dim=4, token_hidden_dim=4, num_layers=1, action_chunk_size=4)
    subject = pushing()
    subject.policy = FlowPolicy(obs_dim=7, action_dim=6, config=sizes, rngs=nnx.Rngs(0))
    monkeypatch.setattr(program.subject, "load", lambda run_path, level_path: subject)
    monkeypatch.setattr(program.preparation, "template", lambda level: np.zeros(7, np.float32))
    monkeypatch.setattr(program.vlash, "robot_entries", lambda level, entries: entries == 2)
    monkeypatch.setattr(program.recordings, "record", None)  # rollouts under delay are not needed
    args = train_networks.Arguments(
        tmp_path / "run",
        ("some",),
        ("vlash",),
        tmp_path / "work",
        own_recording=FEW,
        vlash=VlashTraining(**{**SHORT, "num_epochs": 1}, parts=1),
    )
    (path,) = train_networks.train(args)
    assert path == tmp_path / "run_vlash/1/policies/worlds_l_some"
    facts = checkpoints.facts(path)
    assert facts["demonstrations"] == vlash.OWN
    assert (facts["policy_sha256"], facts["training"]["robot_ahead"]) == ("b" * 64, 4)
    assert methods.make("vlash").problem(checkpoints.load_policy(path, obs_dim=7)[0]) is None
    before = path.with_suffix(".safetensors").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(program.recordings, "demonstrate", None)
        assert train_networks.train(args) == [path]
    longer = dataclasses.replace(args, vlash=dataclasses.replace(args.vlash, num_epochs=2))
    with pytest.raises(ValueError, match=r"trained otherwise \(training\): --no-resume replaces it"):
        train_networks.train(longer)
    assert path.with_suffix(".safetensors").read_bytes() == before
    assert train_networks.train(dataclasses.replace(longer, resume=False)) == [
        tmp_path / "run_vlash/2/policies/worlds_l_some"
    ]
    assert not path.with_suffix(".json").exists()


def test_the_program_reads_demonstrations_once_and_knows_them_by_their_content(recorded, tmp_path, monkeypatch):
    data, read = recorded[1], []
    names = ("experts", "masked_experts", "transitions", "episodes", "solve_rate", "seed", "sample_actions")
    facts = dict.fromkeys((*names, "record_mode", "action_noise_std", "max_experts"), 1)
    fields = {**dict.fromkeys(Demonstrations._fields), "obs": data.obs, "done": data.done, "entries": data.entries}
    shown = Demonstrations(**{**fields, "action": np.tile(data.obs[:, :1], (1, 6)), "facts": facts})
    file = tmp_path / "worlds_l_some.npz"
    file.write_bytes(b"one")
    subject = dataclasses.replace(SUBJECT, observing=Feedback())
    monkeypatch.setattr(program.subject, "load", lambda run_path, level_path: subject)
    monkeypatch.setattr(program.demonstrations, "load", lambda path: read.append(path) or shown)
    monkeypatch.setattr(program.recordings, "record", None)
    args = train_networks.Arguments(
        tmp_path / "run",
        ("some",),
        ("correction", "head_only"),
        tmp_path / "work",
        tmp_path,
        head=HeadTraining(**SHORT),
    )
    paths = train_networks.train(args)
    assert read == [file]
    assert all(networks.facts(path)["data_sha256"] == hashlib.sha256(b"one").hexdigest() for path in paths)
    assert all("recording" not in networks.facts(path) for path in paths)
    assert train_networks.train(args) == paths
    file.write_bytes(b"two")
    with pytest.raises(ValueError, match=r"trained otherwise \(data_sha256\)"):
        train_networks.train(args)


def test_the_facts_beside_a_network_are_json(recorded, tmp_path):
    config = ForwardTraining(**{**SHORT, "num_epochs": 1}, model=ForwardConfig(4, 1))
    forward.train(recorded[1], config, job(tmp_path))
    header = json.loads((tmp_path / "some.json").read_text())
    assert header["kind"] == "forward"
    assert header["facts"]["training"]["model"] == {"width": 4, "layers": 1}
