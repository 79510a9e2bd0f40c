"""What step E reads: cells that are missing, damaged or of another protocol are no part of a verdict."""

import dataclasses
import shlex

import numpy as np
import pandas as pd
import pytest
import tyro

from rtc.control.controller import ExecutionConfig
from rtc.control.metrics import EPISODE_MEANS
from rtc.delay.estimators import EstimatorConfig
from rtc.programs import tail_matrix, tail_summary
from rtc.study import cells, plan
from rtc.study.cells import CellError
from rtc.study.protocols import tail_v1

BASELINE = ("grasp_easy", *tail_v1.BASELINE)


def fill(study, how):
    """Made-up results in the place of every cell."""
    for planned in plan.cells(study, how):
        row = dict.fromkeys(cells.MAIN_COLUMNS[4:], 0.5)
        table = pd.DataFrame({"episode": range(4), **{name: np.arange(4) % 2 for name in EPISODE_MEANS}})
        facts = {"git_commit": "abc", "git_dirty": False, "wall_s": 1.0}
        cells.write_cell(planned.directory, planned.cell, planned.inputs, row, table, facts, delay_counts={0: 3})


@pytest.fixture
def args(tmp_path):
    """Finished cells of two seeds, and their baseline."""
    places = {"output_root": str(tmp_path / "tail"), "baseline_root": str(tmp_path / "base")}
    args = tail_summary.Arguments(seeds=(0, 1), num_evals=4, **places)
    fill(tail_v1.study(args.config()), args.of_study(args.output_root))
    fill(tail_v1.baseline_study(args.config()), args.of_study(args.baseline_root))
    return args


def test_everything_is_read(args):
    outcome = tail_summary.load(args)
    assert len(outcome.cells) == 5
    assert not outcome.missing
    assert outcome.complete(tail_v1.BASELINE)


def test_missing_and_damaged_cells_are_named(args, tmp_path):
    (tmp_path / "tail/long_tail/naive/seed_1/cell.json").unlink()
    (tmp_path / "tail/tail_controlled/realtime/seed_0/episodes.csv").write_text("episode\n")
    with pytest.raises(CellError) as caught:
        tail_summary.load(args)
    text = str(caught.value)
    assert "2 arms are incomplete" in text
    assert "long_tail/naive/seed_1: not computed yet" in text
    assert "episodes.csv does not match" in text
    assert "Compute them with: python exp/run_stepD_tail_v1.py" in text


def test_the_command_computes_the_cells_that_are_wanted(args):
    wanted = dataclasses.replace(
        args,
        profiles=("long_tail", "tail_controlled", "burst"),
        estimator=EstimatorConfig("quantile", q=0.8, initial=0),
        execution=ExecutionConfig(execute_horizon=2),
        physics="stock",
        output_root="runs of mine",
    )
    program, script, *flags = shlex.split(tail_summary.command(wanted))
    assert (program, script) == ("python", "exp/run_stepD_tail_v1.py")
    found = tyro.cli(tail_matrix.Arguments, args=flags)
    assert dataclasses.asdict(found) | {"baseline_root": args.baseline_root} == dataclasses.asdict(wanted)


@pytest.mark.parametrize("change", [{"num_evals": 5}, {"num_flow_steps": 3}, {"physics": "stock"}])
def test_another_protocol_is_an_error_that_says_what_differs(args, change):
    (name,) = change
    with pytest.raises(CellError, match=rf"another configuration: config\.{name} = "):
        tail_summary.load(dataclasses.replace(args, **change))


@pytest.mark.parametrize("damage", ["cell.json", "results.csv"])
def test_a_baseline_that_cannot_be_read_is_left_out_with_the_reason(args, tmp_path, damage):
    (tmp_path / "base/no_delay/naive/seed_0" / damage).unlink()
    outcome = tail_summary.load(args)
    assert not outcome.complete(tail_v1.BASELINE)
    assert "not computed yet" in outcome.missing[BASELINE] or "is missing" in outcome.missing[BASELINE]


def test_versions_of_the_code_are_not_mixed(args, monkeypatch):
    real = plan.subject.identity.code
    changed = {"naive": "another"}
    monkeypatch.setattr(
        plan.subject.identity, "code", lambda config, *to: changed.get(config.method) or real(config, *to)
    )
    with pytest.raises(ValueError, match="different versions of the code: run it again"):
        tail_summary.load(args)


def test_arguments_need_what_the_verdict_compares():
    with pytest.raises(ValueError, match="lacks tail_controlled"):
        tail_summary.Arguments(profiles=("long_tail",))
    with pytest.raises(ValueError, match="lacks realtime"):
        tail_summary.Arguments(methods=("naive",))
