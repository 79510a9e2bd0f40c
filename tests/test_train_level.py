"""From a level's file to a policy by one command, and the starter file."""

import dataclasses
import shlex
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tyro

from line_world import DEVICES, SMALL_CLONING, SMALL_PPO
from rtc.programs import console, eval_flow, train_level
from rtc.training.cloning import CloningConfig
from rtc.training.demonstrations import DataConfig
from rtc.worlds.kinetix import levels

STARTER = Path(__file__).parents[1] / "worlds/starter/my_level.json"


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


def test_the_starter_is_a_level_that_a_policy_can_drive():
    level = levels.load(str(STARTER))
    assert level.name == "my_level"
    assert level.bound_actions.any()
    roles = STARTER.read_text()
    assert all(f'"{role}"' in roles for role in ("ball", "goal", "hazard"))


@pytest.mark.parametrize(("thruster", "solved"), [(5, True), (4, False)])
def test_the_starter_is_solved_by_thrust_to_the_right_and_ends_at_the_red_wall(thruster, solved):
    env = levels.make_env(levels.load(str(STARTER)), "fast")
    state, _ = env.reset(jax.random.split(jax.random.key(0), 1))
    action = jnp.zeros((1, env.action_dim)).at[:, thruster].set(1.0)

    def step(state, _):
        state, transition = env.step(state, action)
        return state, (transition.done[0], transition.solved[0])

    done, reached = jax.jit(lambda state: jax.lax.scan(step, state, length=env.max_timesteps)[1])(state)
    end = int(np.argmax(done))
    assert bool(reached[end]) == solved
    assert end < env.max_timesteps - 1
