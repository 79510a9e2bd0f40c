"""The delay sweep: which points, whose averages, and a small run from start to report."""

import dataclasses

import numpy as np
import pytest
from flax import nnx

from model import FlowPolicy
from rtc.control.controller import ExecutionConfig
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.methods import MethodOptions
from rtc.policies import checkpoints
from rtc.programs import delay_sweep, eval_flow
from rtc.shared import files
from rtc.study import runner, statistics
from rtc.study.evaluation import EvalConfig
from rtc.study.outcome import Outcome
from rtc.study.protocols import published_curve
from rtc.study.protocols.published_curve import Point
from rtc.study.runner import ConflictError
from stubs import TINY

pytestmark = pytest.mark.usefixtures("without_physics")


def test_the_curve_executes_as_long_as_a_query_takes():
    points = published_curve.curve((0, 1, 2, 3, 4), 8)
    assert [(p.delay, p.horizon) for p in points] == [(0, 1), (1, 1), (2, 2), (3, 3), (4, 4)]
    assert published_curve.curve((8,), 8) == [Point(8, 8)]
    with pytest.raises(ValueError, match="delays=9"):
        published_curve.curve((9,), 8)


def test_the_grid_holds_every_horizon_that_no_tick_starves_at():
    points = published_curve.grid((0, 3), 8)
    assert [p.horizon for p in points if p.delay == 0] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [p.horizon for p in points if p.delay == 3] == [3, 4, 5]


def test_published_values_are_found_by_delay_and_horizon():
    rates = published_curve.PUBLISHED
    assert rates["naive"]["d0_s1"] == pytest.approx(0.908)
    assert rates["realtime"]["d2_s6"] == pytest.approx(0.748)
    assert rates["a2c2"]["d4_s4"] == pytest.approx(0.865)
    grid = {point.profile for point in published_curve.grid(range(5), 8)}
    assert rates["vlash"] == rates["vlash_simulator"] == {"d4_s4": pytest.approx(0.817)}
    assert all(set(of_method) == grid for method, of_method in rates.items() if not method.startswith("vlash"))


def test_arms_have_a_constant_delay_that_the_controller_knows():
    arms = published_curve.arms(("naive", "realtime"), [Point(2, 2), Point(0, 3)], EvalConfig(num_evals=4))
    assert [arm.key for arm in arms] == [(p, m) for m in ("naive", "realtime") for p in ("d2_s2", "d0_s3")]
    config = arms[0].config
    assert (config.delay_profile.mode, config.delay_profile.fixed_delay) == ("fixed", 2)
    assert (config.estimator.kind, config.execution.execute_horizon) == ("oracle", 2)


def test_the_grid_is_for_its_methods_and_naive_is_the_reference():
    study = published_curve.study(("naive", "realtime", "bid"), ("naive",), (0, 1), 4, EvalConfig())
    points = {method: [arm.profile for arm in study.arms if arm.method == method] for method in study.methods}
    line, plane = ["d0_s1", "d1_s1"], ["d0_s1", "d0_s2", "d0_s3", "d0_s4", "d1_s1", "d1_s2", "d1_s3"]
    assert points == {"naive": plane, "realtime": line, "bid": line}
    assert [str(comparison) for comparison in study.comparisons] == [
        "realtime - naive (d1_s1)",
        "bid - naive (d1_s1)",
    ]


def test_eval_flow_sweeps_the_grid_with_its_own_execution():
    config = EvalConfig(execution=ExecutionConfig(fallback="zero"))
    arms = eval_flow.arms(eval_flow.Arguments("logs-bc/tiny", sweep=True, seed=3, config=config), 4)
    profiles = ["d0_s1", "d0_s2", "d0_s3", "d0_s4", "d1_s1", "d1_s2", "d1_s3", "d2_s2"]
    assert [arm.profile for arm in arms if arm.method == "bid"] == profiles
    assert {arm.config.execution.fallback for arm in arms} == {"zero"}
    own = eval_flow.Arguments("logs-bc/tiny", ("grasp_easy",), policy="one.safetensors", sweep=True)
    assert {arm.policy for arm in eval_flow.arms(own, 4)} == {"one.safetensors"}
    with pytest.raises(ValueError, match="the sweep sets the delays"):
        eval_flow.Arguments("logs-bc/tiny", sweep=True, profile="burst")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"method": "realtime"}, "method"),
        ({"delay_profile": DelayProfileConfig(fixed_delay=1)}, "delay_profile"),
        ({"estimator": EstimatorConfig("oracle")}, "estimator"),
        ({"execution": ExecutionConfig(execute_horizon=2)}, "execute_horizon"),
    ],
)
def test_what_the_sweep_sets_itself_must_not_be_given(given, name):
    with pytest.raises(ValueError, match=f"{name} has no effect with sweep=True"):
        eval_flow.Arguments("logs-bc/tiny", sweep=True, config=EvalConfig(**given))


def test_the_methods_of_a_sweep_get_the_options_that_they_read():
    config = EvalConfig(method_options=MethodOptions(bid_num_samples=4))
    arms = eval_flow.arms(eval_flow.Arguments("logs-bc/tiny", sweep=True, config=config), 4)
    assert {arm.method: arm.config.method_options.bid_num_samples for arm in arms} == {
        "naive": None,
        "realtime": None,
        "bid": 4,
        "hard_masking": None,
    }
    unread = EvalConfig(method_options=MethodOptions(ensemble_decay=0.1))
    with pytest.raises(ValueError, match="ensemble_decay"):
        eval_flow.arms(eval_flow.Arguments("logs-bc/tiny", sweep=True, config=unread), 4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"grid": True, "grid_methods": ("naiv",)}, "grid_methods entry='naiv' is unknown; did you mean 'naive'"),
        ({"grid_methods": ("naive",)}, r"grid_methods=\('naive',\) has no effect without a grid: give --grid too"),
    ],
)
def test_methods_of_the_grid_exist_and_need_one(given, message):
    with pytest.raises(ValueError, match=message):
        delay_sweep.Arguments(**given)


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


@pytest.fixture
def small(tmp_path):
    policy = FlowPolicy(obs_dim=679, action_dim=6, config=TINY, rngs=nnx.Rngs(0))
    checkpoints.save_policy(tmp_path / "run/1/policies/worlds_l_grasp_easy", policy, {})
    common = {"levels": ("grasp_easy",), "delays": (0, 1), "methods": ("naive",), "num_evals": 4, "num_slots": 4}
    return delay_sweep.Arguments(**common, run_path=str(tmp_path / "run"), output_root=str(tmp_path / "sweep"))


def test_a_small_sweep_from_start_to_report(small, tmp_path, monkeypatch, capsys):
    delay_sweep.run(small)
    table = files.read_csv(tmp_path / "sweep/results_all.csv")
    assert table[["level", "method", "profile", "num_evals"]].to_numpy().tolist() == [
        ["grasp_easy", "naive", "d0_s1", 4],
        ["grasp_easy", "naive", "d1_s1", 4],
    ]
    assert (tmp_path / "sweep/figures/solve_rate.png").stat().st_size > 10_000
    assert "published naive" in (tmp_path / "sweep/summary.md").read_text()

    capsys.readouterr()
    monkeypatch.setattr(runner, "compute", None)  # nothing is left to compute
    delay_sweep.run(small)
    assert "0 of 2 cells to compute" in capsys.readouterr().out
    other = dataclasses.replace(small, num_flow_steps=2)
    with pytest.raises(ConflictError, match="num_flow_steps = 5, not 2"):
        delay_sweep.run(other)
    assert not Outcome.read(other.study(), other.of_study()).cells


def test_a_report_without_cells_says_so(small):
    with pytest.raises(ValueError, match="no finished cells"):
        delay_sweep.run(dataclasses.replace(small, report_only=True))
