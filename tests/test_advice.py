"""Advice from a latency log: what is scaled, compared, ranked, recommended and written."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from flax import nnx

from model import FlowPolicy
from outcome_stubs import CLEAR, LEVELS, SCALE, log_of, outcome_of
from rtc.policies import checkpoints
from rtc.programs import advise, console
from rtc.report import advice as pages
from rtc.shared import entry
from rtc.study import advice as design
from rtc.study import agreement, ranking, runner, timed
from rtc.study.advice import CONSTANT, HALVED, LOG, Policies, Scale, Tails
from rtc.study.evaluation import NonFiniteError
from stubs import TINY

pytestmark = pytest.mark.usefixtures("without_physics")


def test_a_delay_keeps_its_share_of_a_chunk_and_is_rounded_to_one_at_least():
    # 8 ticks stand for 50: one for 6.25.
    np.testing.assert_array_equal(SCALE.delays([0, 1, 6, 7, 9, 10, 13, 25, 50, 51]), [0, 1, 1, 1, 1, 2, 2, 4, 8, 8])
    assert SCALE.delay(12.5) == 2
    assert SCALE.delay(3.125 * 3) == 2  # halves go up
    assert SCALE.tick == 6.25
    assert [SCALE.robot(s) for s in (1, 2, 4, 6, 8)] == [6.25, 12.5, 25, 37.5, 50]
    assert [SCALE.whole(s) for s in (0, 1, 2, 3, 4, 6, 8)] == [1, 6, 12, 19, 25, 37, 50]  # 12.5 and 37.5 go down
    same = Scale(30.0, 8, 8)
    np.testing.assert_array_equal(same.delays(range(9)), range(9))


@pytest.mark.parametrize("scale", [SCALE, Scale(50.0, 16, 8), Scale(7.0, 10, 4), Scale(30.0, 4, 8)])
def test_the_trace_replays_the_scaled_ticks(trace, scale):
    ticks = np.arange(1, 3 * scale.chunk)
    profile = scale.trace(trace(scale.replayed(ticks)))
    assert profile.law.trace_order == "replay"
    np.testing.assert_array_equal(profile.law.base().delays[: len(ticks)], scale.delays(ticks))


def test_a_trace_repeats_the_log_as_often_as_it_fits():
    ticks, scale = np.arange(1, 301), Scale(50.0, 8, 8)
    np.testing.assert_allclose(scale.replayed(ticks), np.tile(ticks * 20.0, 3))
    assert len(scale.replayed(np.arange(2000))) == 2000


@pytest.mark.parametrize(
    ("latency", "hz", "chunk", "message"),
    [
        ([30.0] * 19, 30.0, 50, "holds 19 delays, and at least 20 are needed"),
        ([30.0] * 20, 0.0, 50, "hz=0.0 must be positive"),
        ([30.0] * 20, 30.0, 0, "chunk=0 must be an integer, at least 2"),
        ([900.0] * 11 + [30.0] * 9, 30.0, 20, "55 % of the delays .*longer.*no method can help"),
    ],
)
def test_logs_that_no_advice_can_be_given_for(latency, hz, chunk, message):
    with pytest.raises(ValueError, match=message):
        design.require_usable(log_of(latency), hz, chunk)


def test_half_of_the_delays_may_be_too_long():
    ticks = design.require_usable(log_of([900.0] * 10 + [30.0] * 10), 30.0, 20)
    assert ticks.tolist() == [27] * 10 + [1] * 10


def test_tails_in_ticks_of_the_benchmark():
    # Of 100 delays the median is 7 ticks (1 of the benchmark), the p95 13 (2), the p99 20 (3), of which half is 10 (2).
    ticks = np.array([7] * 90 + [13] * 8 + [20] * 2)
    assert design.tails(ticks, SCALE) == Tails(constant=1, cap=2, deadline=2)
    assert design.tails(np.full(100, 25), SCALE) == Tails(None, 2, None)
    # A rare delay above the p99 leaves nothing of it to halve.
    assert design.tails(np.array([6] * 199 + [13]), SCALE) == Tails(1, None, 1)
    assert design.tails(np.full(100, 5), SCALE) == Tails(None, None, None)


@pytest.fixture
def conditions(trace):
    profile = SCALE.trace(trace([400.0] * 99 + [1500.0]))
    return design.profiles(profile, design.DelayProfileConfig(fixed_delay=2), Tails(2, 3, None))


def test_every_horizon_meets_every_condition(conditions):
    chosen = Policies("logs-bc/h8", 8, LEVELS, "logs-bc/h8_prefix")
    assert list(conditions) == [LOG, CONSTANT, HALVED]
    naive = list(design.arms("naive", chosen, conditions))
    assert [one.key for one in naive] == [(p, f"naive+s{s}") for s in (2, 4, 6) for p in (LOG, CONSTANT, HALVED)]
    prefix = list(design.arms("trained_prefix", chosen, conditions))
    assert {one.run_path for one in prefix} == {"logs-bc/h8_prefix"}
    assert [one.key for one in prefix if one.config.execution.execute_horizon == 4] == [
        *((LOG, "trained_prefix+s4+q80"), (LOG, "trained_prefix+s4+max10"), (CONSTANT, "trained_prefix+s4+q80")),
        *((HALVED, "trained_prefix+s4+q80"), (HALVED, "trained_prefix+s4+max10")),
    ]
    # Under a constant delay all estimates are that delay.
    longest = next(one for one in prefix if one.key == (LOG, "trained_prefix+s4+max10"))
    assert design.counterpart(longest, CONSTANT) == (CONSTANT, "trained_prefix+s4+q80")
    assert design.counterpart(longest, HALVED) == (HALVED, "trained_prefix+s4+max10")
    assert design.counterpart(naive[0], CONSTANT) == (CONSTANT, "naive+s2")
    assert {one.config.estimator.initial for one in prefix} == {2}  # the median
    assert {one.config.delay_profile.tail.tail_cap for one in prefix} == {None, 3}
    assert design.horizons("synchronous", 8) == [4, 8]
    assert design.horizons("naive", 4, thorough=True) == [1, 2, 3]
    assert len(design.study(chosen, naive, LEVELS, 8).comparisons) == 6
    assert len(design.study(chosen, prefix, LEVELS, 8).comparisons) == 12


def test_the_run_with_most_levels_that_resolves_the_median(tmp_path):
    def run(name, chunk, levels):
        return Policies(str(tmp_path / name), chunk, LEVELS[:levels], str(tmp_path / f"{name}_prefix"))

    short, middle, long = run("h4", 4, 3), run("h8", 8, 4), run("h32", 32, 2)
    assert design.choose([short, middle, long], 8, 3) is middle
    assert design.choose([short, middle, long], 50, 7) is middle
    # Below 6.25 ticks only the long chunks resolve it; below 1.6 none does.
    assert design.choose([short, middle, long], 50, 3) is long
    assert design.choose([short, middle], 50, 3) is middle
    twin = run("other", 8, 4)
    (tmp_path / "other_prefix").mkdir()
    assert design.choose([middle, twin], 8, 3) is twin
    with pytest.raises(ValueError, match="give --run-path"):
        design.choose([], 8, 3)


@pytest.mark.parametrize(("median", "chunks"), [(12, {8}), (7, {8}), (4, {16, 32}), (1, {16, 32})])
def test_long_chunks_are_asked_where_short_ones_cannot_tell_delays_apart(median, chunks):
    # Of 50 actions: one tick of chunks of 8 is 6.25 of them, of 16 it is 3.125. Runs of 32 need not be there.
    found = design.policies()
    chosen = design.choose(found, 50, median)
    assert chosen.chunk in chunks
    assert chosen in found


def test_a_run_of_long_chunks_is_there_as_soon_as_its_policies_are(tmp_path):
    for level in ("grasp_easy", "catapult", "catcher_v3"):
        save(tmp_path / "h8", 8, level)
        save(tmp_path / "h16", 16, level)
    assert design.choose(design.policies(tmp_path), 50, 2).chunk == 16
    (tmp_path / "h32/32").mkdir(parents=True)  # training has begun
    assert design.choose(design.policies(tmp_path), 50, 2).chunk == 16
    save(tmp_path / "h32", 32)
    chosen = design.choose(design.policies(tmp_path), 50, 2)
    assert (chosen.chunk, chosen.levels) == (32, ("grasp_easy",))
    assert design.choose(design.policies(tmp_path), 50, 4).chunk == 16  # more levels resolve that


def save(run, chunk, level="grasp_easy", simulated_delay=None):
    config = dataclasses.replace(TINY, action_chunk_size=chunk, simulated_delay=simulated_delay)
    policy = FlowPolicy(obs_dim=679, action_dim=6, config=config, rngs=nnx.Rngs(0))
    checkpoints.save_policy(run / f"1/policies/worlds_l_{level}", policy, {})


def test_runs_are_told_by_what_stands_beside_their_policies(tmp_path):
    save(tmp_path / "a", 4)
    save(tmp_path / "a", 4, "catapult")
    save(tmp_path / "a_prefix", 4, simulated_delay=2)
    save(tmp_path / "mixed", 4)
    save(tmp_path / "mixed", 8, "catapult")
    (tmp_path / "empty").mkdir()
    (found,) = design.policies(tmp_path)
    assert found == Policies(str(tmp_path / "a"), 4, ("grasp_easy", "catapult"), str(tmp_path / "a_prefix"), 1)
    with pytest.raises(ValueError, match=r"levels entry .*'catapul.*did you mean 'catapult'"):
        design.require_levels(("catapul",), found)


def test_agreement_of_levels():
    same = np.array([[1, 2, 3, 4], [10, 20, 30, 40], [0, 1, 5, 6.0]])
    assert agreement.mean_spearman(same) == pytest.approx(1)
    assert agreement.kendall_w(same) == pytest.approx(1)
    opposite = np.array([[1, 2, 3.0], [3, 2, 1.0]])
    assert agreement.mean_spearman(opposite) == pytest.approx(-1)
    assert agreement.kendall_w(opposite) == pytest.approx(0)
    # Kendall's formula: 12 S / (m^2 (n^3 - n)), S the sum of squares of the rank sums' deviations.
    ranks = np.array([[1, 2, 3, 4], [2, 1, 3, 4], [1, 3, 2, 4.0]])
    sums = ranks.sum(axis=0)
    assert agreement.kendall_w(ranks) == pytest.approx(12 * ((sums - sums.mean()) ** 2).sum() / (9 * 60))
    # A level on which all are alike ranks nothing.
    assert agreement.mean_spearman(np.vstack([same, np.ones(4)])) == pytest.approx(1)
    assert np.isnan(agreement.mean_spearman(np.ones((3, 4))))


def test_the_interval_of_agreement_covers():
    """Levels whose scores share one order, with noise: the mean correlation of infinitely many is what it estimates."""
    rng = np.random.default_rng(0)

    def scores(levels):
        return np.arange(6.0) + rng.normal(size=(levels, 6)) * 2

    truth = agreement.mean_spearman(scores(3000))
    found = [agreement.spearman_interval(scores(12)) for _ in range(200)]
    assert np.mean([one.low <= truth <= one.high for one in found]) > 0.88
    assert agreement.spearman_interval(np.tile(np.arange(4.0), (5, 1))).low == pytest.approx(1)
    assert np.isnan(agreement.spearman_interval(scores(2)).low)


def test_the_cheapest_of_the_tied_is_recommended_and_nothing_privileged():
    outcome = outcome_of(**CLEAR)
    assert "foresee_simulator+s2+q80" in outcome.study.methods
    ranked = ranking.rank(outcome, pages.candidates(outcome))
    assert [one.arm.config.method for one in ranked] == ["realtime", "naive", "synchronous"]
    assert [one.tied for one in ranked] == [True, False, False]
    assert ranked[1].behind.value == pytest.approx(-0.3)
    assert ranking.cheapest_of_tied(ranked).arm.config.method == "realtime"
    close = outcome_of(**{**CLEAR, "naive": (0.795, 2.0)})
    ranked = ranking.rank(close, pages.candidates(close))
    assert [one.tied for one in ranked] == [True, True, False]
    assert ranking.cheapest_of_tied(ranked).arm.config.method == "naive"
    with pytest.raises(ValueError, match="none can be ranked"):
        ranking.rank(outcome, [])


def test_a_method_that_breaks_down_does_not_stop_the_others(program, monkeypatch):
    root, run = program
    monkeypatch.setattr(design, "METHODS", ("naive", "synchronous"))
    compute = runner.compute

    def broken(planned, started):
        if planned.config.method == "naive":
            raise NonFiniteError("the policy produced a non-finite number: naive <b>")
        return compute(planned, started)

    monkeypatch.setattr(runner, "compute", broken)
    run()
    text = (root / "advice.md").read_text()
    assert "**Use `synchronous`" in text
    assert "- `naive`: the policy produced a non-finite number: naive &lt;b>; only settings" in text
    monkeypatch.setattr(design, "METHODS", ("naive",))
    with pytest.raises(SystemExit, match=r"no method is complete .*; naive: the policy produced a non-finite number"):
        run()


@pytest.fixture
def program(tmp_path, monkeypatch):
    """The program with tiny policies of one level and two methods."""
    run = tmp_path / "run"
    save(run, 4)
    save(tmp_path / "run_prefix", 4, simulated_delay=2)
    monkeypatch.setattr(design, "METHODS", ("naive", "a2c2"))
    log = tmp_path / "delays.csv"
    log.write_text("latency_ms\n" + "60\n150\n90\n250\n" * 10)
    root = tmp_path / "advice"
    words = [str(log), "--chunk", "8", "--run-path", str(run), "--output-dir", str(root), "--episodes", "4"]
    words += ["--processes", "1"]  # others know no level without physics
    return root, lambda *more: advise.main([*words, *more])


def test_from_a_log_to_a_page_and_again(program, monkeypatch, capsys):
    root, run = program
    run()
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == f"open first: {root / 'advice.html'}"
    assert "cells to compute" in out
    text = (root / "advice.md").read_text()
    assert text.startswith("# Advice for delays.csv")
    assert "`a2c2`: method='a2c2' needs" in text
    assert Path(root / "log/latency.md").is_file()
    monkeypatch.setattr(runner, "compute", None)  # nothing is left to compute
    run("--minutes", "0")
    again = []
    monkeypatch.setattr(timed.runner, "run_cells", lambda cells, overwrite, done: again.extend(cells))
    run("--overwrite")
    assert f"{len(again)} of {len(again)} cells to compute" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"cell.*config|Nothing was changed"):
        run("--episodes", "8")
    with pytest.raises(SystemExit, match="minutes=-1"):
        run("--minutes", "-1")
    with pytest.raises(SystemExit, match="trained without simulated delay"):
        run("--run-path", f"{root.parent}/run_prefix")


def test_without_time_there_is_no_page(program):
    root, run = program
    with pytest.raises(SystemExit, match="no method is complete on all levels"):
        run("--minutes", "0")
    assert not (root / "advice.md").exists()


def test_the_console_has_it(monkeypatch):
    started = []
    monkeypatch.setattr(entry, "start", lambda module, argv: started.append((module, argv)))
    console.main(["advise", "a.log", "--chunk", "8"])
    assert started == [("rtc.programs.advise", ["a.log", "--chunk", "8"])]
