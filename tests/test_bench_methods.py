"""The bench of methods: what it compares, and that delays share a program."""

import dataclasses
from pathlib import Path

import pytest
from flax import nnx

from model import FlowPolicy
from rtc.control import executor
from rtc.policies import checkpoints
from rtc.programs import bench_methods
from stubs import TINY

pytestmark = pytest.mark.usefixtures("without_physics")


@pytest.fixture
def arguments(tmp_path):
    policy = FlowPolicy(obs_dim=679, action_dim=6, config=TINY, rngs=nnx.Rngs(0))
    checkpoints.save_policy(tmp_path / "run/1/policies/worlds_l_grasp_easy", policy, {})
    small = {"delays": (1, 2), "ticks": 4, "num_slots": 2, "repeats": 1}
    places = {"run_path": str(tmp_path / "run"), "prefix_run_path": str(tmp_path / "none")}
    return bench_methods.Arguments(**small, **places, output=str(tmp_path / "bench.md"))


def test_delays_share_a_program_and_naive_is_one(arguments):
    chosen = dataclasses.replace(arguments, methods=("foresee_simulator",))
    before = executor._run_sharded._cache_size()
    bench_methods.run(chosen)
    assert executor._run_sharded._cache_size() - before == 2
    lines = [line.split("|")[1:-1] for line in Path(chosen.output).read_text().splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line] for line in lines]
    assert rows[0] == ["method", "d", "µs per tick", "ratio"]
    assert [(row[0], row[1]) for row in rows[2:]] == [
        ("naive", "1"),
        ("naive", "2"),
        ("foresee_simulator", "1"),
        ("foresee_simulator", "2"),
    ]
    assert all(float(row[3]) == 1 for row in rows[2:4])


def test_methods_that_lack_something_are_left_out(arguments, capsys):
    found = bench_methods.chosen(arguments)
    assert {"naive", "realtime", "foresee_simulator"} <= set(found)
    assert not {"a2c2", "trained_prefix", "delay_expert"} & set(found)
    assert "a2c2 is left out: method='a2c2' needs a correction head" in capsys.readouterr().out
