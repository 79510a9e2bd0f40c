"""The delay sweep: which points, whose averages, and a small run from start to report."""

import numpy as np
import pandas as pd
import pytest
from flax import nnx

import eval_flow
import run_delay_sweep
from model import FlowPolicy
from rtc.control.controller import ExecutionConfig
from rtc.policies import checkpoints
from rtc.report import published_curve as delay_sweep_report
from rtc.shared import files
from rtc.study import cells as results_cells
from rtc.study import runner, statistics
from rtc.study.evaluation import EvalConfig
from rtc.study.protocols import published_curve
from rtc.study.protocols.published_curve import Point, Sweep
from stubs import TINY


def test_the_curve_executes_as_long_as_a_query_takes():
    points = published_curve.curve((0, 1, 2, 3, 4), 8)
    assert [(p.delay, p.horizon) for p in points] == [(0, 1), (1, 1), (2, 2), (3, 3), (4, 4)]
    with pytest.raises(ValueError, match="delays=5"):
        published_curve.curve((5,), 8)


def test_the_grid_holds_every_horizon_that_no_tick_starves_at():
    points = published_curve.grid((0, 3), 8)
    assert [p.horizon for p in points if p.delay == 0] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [p.horizon for p in points if p.delay == 3] == [3, 4, 5]


def test_cells_have_a_constant_delay_that_the_controller_knows():
    base = EvalConfig(model=TINY, num_evals=4)
    cells = published_curve.plan("grasp_easy", ("naive", "realtime"), [Point(2, 2), Point(0, 3)], base)
    assert [str(c.cell) for c in cells] == [
        f"{p}/{m}/seed_0" for m in ("naive", "realtime") for p in ("d2_s2", "d0_s3")
    ]
    config = cells[0].config
    assert (config.delay_profile.mode, config.delay_profile.fixed_delay) == ("fixed", 2)
    assert (config.estimator.kind, config.execution.execute_horizon) == ("oracle", 2)


def test_eval_flow_sweeps_the_grid_with_its_own_seed_and_execution():
    config = EvalConfig(model=TINY, execution=ExecutionConfig(fallback="zero"))
    cells = eval_flow.plan(eval_flow.Arguments("logs-bc/tiny", sweep=True, seed=3, config=config), "grasp_easy")
    profiles = ["d0_s1", "d0_s2", "d0_s3", "d0_s4", "d1_s1", "d1_s2", "d1_s3", "d2_s2"]
    assert [c.cell.profile for c in cells if c.cell.method == "bid"] == profiles
    assert {c.cell.seed for c in cells} == {3}
    assert {c.config.execution.fallback for c in cells} == {"zero"}


def test_a_mean_over_levels_weighs_them_alike_and_knows_what_they_share():
    rng = np.random.default_rng(0)
    one = rng.integers(0, 2, 400).astype(float)
    mean = statistics.mean_over_levels([one, np.ones(400)])
    assert mean.value == pytest.approx((one.mean() + 1) / 2)
    assert mean.high - mean.low == pytest.approx(2 * 1.959964 * one.std(ddof=1) / 20 / 2, rel=1e-6)
    same = statistics.mean_over_levels([one, one])
    assert same.high - same.low == pytest.approx(2 * 1.959964 * one.std(ddof=1) / 20, rel=1e-6)
    draws = [statistics.mean_over_levels([rng.integers(0, 2, 50).astype(float)]) for _ in range(400)]
    assert 0.9 < np.mean([draw.low <= 0.5 <= draw.high for draw in draws]) < 0.99
    with pytest.raises(ValueError, match="at least two"):
        statistics.mean_over_levels([np.ones(1)])
    with pytest.raises(ValueError, match=r"\[2, 3\] episodes"):
        statistics.mean_over_levels([np.ones(2), np.ones(3)])


def fake_sweep(outcomes):
    """A sweep from {(level, method, point): solved per episode}."""
    cells = {}
    for (level, method, point), solved in outcomes.items():
        cell = results_cells.Cell(point.profile, method, 0, level)
        episodes = pd.DataFrame({"episode": range(len(solved)), statistics.SOLVED: solved})
        record = {"git_commit": "abc", "git_dirty": False, "wall_s": 60.0}
        cells[level, method, point] = results_cells.CellData(cell, "", {"wall_s": 1.0}, episodes, {}, {}, record)
    return Sweep(cells)


@pytest.fixture
def sweep():
    zero, one = Point(0, 1), Point(1, 1)
    return fake_sweep(
        {
            ("a", "naive", zero): [1, 1, 1, 0],
            ("a", "naive", one): [0, 0, 1, 0],
            ("a", "realtime", one): [0, 1, 1, 0],
            ("b", "naive", zero): [1, 1, 1, 1],
            ("b", "naive", one): [1, 0, 0, 0],
            ("b", "realtime", one): [1, 1, 0, 0],
        }
    )


def test_differences_are_paired_and_averaged_over_levels(sweep):
    gain = sweep.gain("realtime", "naive", Point(1, 1))
    assert gain.value == pytest.approx(0.25)
    assert sweep.mean("naive", Point(0, 1)).value == pytest.approx((0.75 + 1.0) / 2)


def test_points_that_a_level_lacks_are_left_out_of_means(sweep):
    table = published_curve.mean_table(sweep, published_curve.curve((0, 1), 4))
    assert table["realtime"].tolist()[0] == "n/a"
    assert table["naive"].tolist()[0].startswith("87.5 [")
    assert table["realtime - naive"].tolist()[1].startswith("+25.0 [")
    assert table["published naive"].tolist() == ["90.8", "78.1"]


def test_the_page_says_which_is_better_only_where_the_interval_does(sweep):
    assert "not told apart" in delay_sweep_report.verdict(sweep, [Point(1, 1)])
    many = fake_sweep({key: list(cell.episodes[statistics.SOLVED]) * 50 for key, cell in sweep.cells.items()})
    assert "realtime is above naive" in delay_sweep_report.verdict(many, [Point(1, 1)])
    assert delay_sweep_report.page(many, [Point(0, 1), Point(1, 1)], []).count("abc") == 1


def test_a_small_sweep_from_start_to_report(tmp_path, monkeypatch, capsys):
    policy = FlowPolicy(obs_dim=679, action_dim=6, config=TINY, rngs=nnx.Rngs(0))
    checkpoints.save_policy(tmp_path / "run/1/policies/worlds_l_grasp_easy", policy, {})
    common = {"levels": ("grasp_easy",), "delays": (0, 1), "methods": ("naive",), "num_evals": 4, "num_slots": 4}
    args = run_delay_sweep.Arguments(**common, run_path=str(tmp_path / "run"), output_root=str(tmp_path / "sweep"))
    run_delay_sweep.run(args)
    table = files.read_csv(tmp_path / "sweep/results.csv")
    assert table[["level", "method", "delay", "horizon", "episodes"]].to_numpy().tolist() == [
        ["grasp_easy", "naive", 0, 1, 4],
        ["grasp_easy", "naive", 1, 1, 4],
    ]
    assert (tmp_path / "sweep/figures/solve_rate.png").stat().st_size > 10_000
    before = (tmp_path / "sweep/summary.md").read_text()
    assert "d = 1, s = 1" in before

    capsys.readouterr()
    monkeypatch.setattr(runner, "_compute", None)  # nothing is left to compute
    run_delay_sweep.run(args)
    assert "0 of 2 cells to compute" in capsys.readouterr().out


def test_a_report_without_cells_says_so(tmp_path):
    with pytest.raises(ValueError, match="no finished cells"):
        delay_sweep_report.write(Sweep({}), [], [], tmp_path)
