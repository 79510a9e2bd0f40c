"""What the three trainers share: state on disk, records, presets and checks."""

import dataclasses
import importlib
import json

import jax.numpy as jnp
import pytest

import generate_data
import train_expert
import train_flow
from line_world import assert_same
from model import ModelConfig
from rtc.policies import weights
from rtc.programs import presets
from rtc.training import progress, runs
from rtc.training.cloning import CloningConfig
from rtc.training.demonstrations import DataConfig
from rtc.training.ppo import PPOConfig
from rtc.training.ppo_training import TrainConfig

pytestmark = pytest.mark.usefixtures("line_world")


def test_saved_trees_are_checked_when_loaded(tmp_path):
    path, tree = tmp_path / "state.safetensors", {"a": jnp.arange(3.0), "n": 4}
    weights.save_tree(path, tree)
    assert_same(weights.load_tree(path, tree), tree)
    with pytest.raises(ValueError, match=r"\['a'\] has shape \(3,\), expected \(2,\)"):
        weights.load_tree(path, {**tree, "a": jnp.zeros(2)})
    with pytest.raises(ValueError, match=r"\['b'\].* differ"):
        weights.load_tree(path, {**tree, "b": 1})
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        weights.load_tree(path, tree)


def test_a_folder_belongs_to_one_run_at_a_time(tmp_path):
    config = {"gamma": 0.9, "length": 10}
    with (
        runs.claim(tmp_path, config, resume=True),
        pytest.raises(ValueError, match="in use"),
        runs.claim(tmp_path, config, resume=True),
    ):
        pass
    with runs.claim(tmp_path, {**config, "length": 20}, resume=True, may_differ=("length",)):
        pass
    with (
        pytest.raises(ValueError, match=r"gamma: 0.9 there, 0.8 now"),
        runs.claim(tmp_path, {**config, "gamma": 0.8}, resume=True, may_differ=("length",)),
    ):
        pass
    with runs.claim(tmp_path, {**config, "gamma": 0.8}, resume=False):
        assert json.loads((tmp_path / "config.json").read_text())["gamma"] == 0.8


def test_a_run_of_before_means_what_it_did(tmp_path):
    config = {"gamma": 0.9, "nested": {"old": 1}}
    with runs.claim(tmp_path, config, resume=True):
        pass
    before = {"parts": 1, "nested": {"new": None}}
    for changed in ({"parts": 1, "nested": {"old": 1, "new": 2}}, {"parts": 2, "nested": {"old": 1, "new": None}}):
        with (
            pytest.raises(ValueError, match="is of another run"),
            runs.claim(tmp_path, {"gamma": 0.9, **changed}, resume=True, before=before),
        ):
            pass
    now = {"gamma": 0.9, "parts": 1, "nested": {"old": 1, "new": None}}
    with runs.claim(tmp_path, now, resume=True, before=before):
        assert json.loads((tmp_path / "config.json").read_text()) == now


def test_recordings_without_what_is_recorded_now_are_refused(data, tmp_path):
    config = dataclasses.replace(DataConfig(run_path=data.parents[1]), folder=data.parent.name)
    facts = json.loads(data.with_suffix(".json").read_text())
    assert "other" in facts.pop("fields")
    path = tmp_path / "facts.json"
    path.write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="fields: None there"):
        runs.keep_facts(path, {**facts, "fields": ["other"]}, resume=True)
    assert config.folder == "data"


def test_a_resumed_record_drops_what_will_be_done_again(tmp_path):
    path = tmp_path / "stats.csv"
    with progress.Recorder(path, "update", 0, 5, "test") as recorder:
        for update in range(4):
            recorder.log({"update": update, "loss": update / 2}, {})
    path.write_text(path.read_text() + "4,1.")
    with progress.Recorder(path, "update", 2, 5, "test") as recorder:
        recorder.log({"update": 2, "loss": 9.0}, {})
    assert [(row["update"], row["loss"]) for row in progress.read_rows(path)] == [
        (0, 0.0),
        (1, 0.5),
        (2, 9.0),
    ]


@pytest.mark.parametrize("script", [train_expert, generate_data, train_flow])
def test_flags_override_a_preset(script, capsys):
    def parse(*argv):
        return presets.parse(script.Arguments, script.PRESETS, argv)

    assert parse() == script.PRESETS["cpu"]
    changed = parse("--preset", "published", "--config.seed", "5", "--no-resume")
    published = script.PRESETS["published"]
    config = dataclasses.replace(published.config, seed=5)
    assert changed == dataclasses.replace(published, config=config, resume=False)
    with pytest.raises(ValueError, match="did you mean 'published'"):
        parse("--preset=publishd")
    with pytest.raises(SystemExit) as leaving:
        parse("--help")
    assert leaving.value.code == 0
    assert "--level-paths" in capsys.readouterr().out


@pytest.mark.parametrize("program", ["train_expert", "generate_data", "train_flow", "train_networks"])
def test_without_levels_no_folder_is_claimed(program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"level_paths=\(\) is empty: give at least one"):
        importlib.import_module(f"rtc.programs.{program}").main(["--level-paths"])
    assert list(tmp_path.iterdir()) == []


def test_published_hyper_parameters():
    expert = train_expert.PRESETS["published"].config
    assert (expert.num_envs, expert.num_steps, expert.num_updates, expert.num_seeds) == (256, 256, 1000, 8)
    assert (expert.num_minibatches, expert.num_epochs, expert.width, expert.history) == (8, 4, 256, 4)
    assert (expert.gamma, expert.gae_lambda, expert.clip, expert.rpo_alpha) == (0.995, 0.9, 0.2, 0.3)
    assert generate_data.PRESETS["published"].config.num_transitions == 1_000_000
    flow = train_flow.PRESETS["published"].config
    assert (flow.num_epochs, flow.batch_size, flow.weight_decay) == (32, 512, 1e-2)
    assert flow.model == ModelConfig()


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [
        (PPOConfig, "num_envs", 0),
        (PPOConfig, "gamma", 1.5),
        (TrainConfig, "window", 0),
        (DataConfig, "min_solve_rate", -0.1),
        (CloningConfig, "batch_size", 0),
    ],
)
def test_values_out_of_range_are_named(config, field, value):
    with pytest.raises(ValueError, match=f"{field}={value}"):
        config(**{field: value})
