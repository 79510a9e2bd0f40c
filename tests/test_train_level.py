"""From a level's file to a policy by one command."""

import dataclasses
import shlex
from pathlib import Path

import pytest
import tyro

from line_world import DEVICES, SMALL_CLONING, SMALL_PPO
from rtc.programs import console, eval_flow, train_level
from rtc.training.cloning import CloningConfig
from rtc.training.demonstrations import DataConfig


def test_a_level_becomes_a_policy_and_nothing_is_done_twice(line_world, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    level = tmp_path / "mine.json"
    level.write_text("{}")
    data = DataConfig(num_transitions=800, num_envs=8 * DEVICES, ticks_per_part=20)
    args = train_level.Arguments(level, expert=SMALL_PPO, data=data, policy=SMALL_CLONING)
    policy = train_level.run(args)
    assert policy.is_relative_to("logs-bc/mine")
    assert policy.with_suffix(".safetensors").is_file()
    shown = capsys.readouterr().out
    assert [line[0] for line in shown.splitlines() if line[1:6] == " of 3"] == ["1", "2", "3"]
    assert shown.splitlines()[-1] == f"open first: {policy}.json"
    assert "--run-path logs-bc/mine" in shown
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert train_level.run(args) == policy
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == written
    with pytest.raises(ValueError, match="is of another run"):
        train_level.run(dataclasses.replace(args, policy=dataclasses.replace(SMALL_CLONING, seed=3)))


@pytest.mark.parametrize("rules", [None, "dump", "importer"])
def test_the_command_that_evaluates_it_is_one_that_works(rules):
    args = train_level.Arguments(Path("my levels/it's mine.json"), world_rules=rules)
    said = train_level.evaluation(args, "it's mine", Path("logs-bc/it's mine"))
    program, *words = shlex.split(said)
    module, rest = console.find(words)
    assert (program, module) == ("exp-delta", "rtc.programs.eval_flow")
    read = tyro.cli(eval_flow.Arguments, args=rest)
    assert read.level_paths == ("my levels/it's mine.json",)
    assert (read.run_path, read.world_rules) == ("logs-bc/it's mine", rules)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": DataConfig(run_path=Path("elsewhere"))}, "data.run_path='elsewhere' has no effect"),
        ({"policy": CloningConfig(run_path=Path("elsewhere"))}, "policy.run_path='elsewhere' has no effect"),
        ({"data": DataConfig(folder="more")}, "data.folder='more'"),
    ],
)
def test_settings_that_would_have_no_effect_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        train_level.Arguments(Path("mine.json"), **changes)


def test_the_command_takes_a_file(monkeypatch):
    started = []
    monkeypatch.setattr(console.entry, "start", lambda module, argv: started.append((module, argv)))
    console.main(["train", "my_level.json", "--no-resume"])
    assert started == [("rtc.programs.train_level", ["my_level.json", "--no-resume"])]
