"""Advice from a latency log: what is scaled, compared, ranked, recommended and written."""

import dataclasses
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from flax import nnx

from model import FlowPolicy
from rtc.control.controller import ExecutionConfig
from rtc.delay.logs import DelayLog
from rtc.policies import checkpoints
from rtc.programs import advise, console, train_networks
from rtc.report import advice as pages
from rtc.report.advice import answer, delays, results, settings, training, trials, trust, words, worlds
from rtc.report.figures import advice as figure
from rtc.shared import entry
from rtc.shared.paths import ROOT
from rtc.study import advice as design
from rtc.study import agreement, ranking, runner, statistics, timed, transfer
from rtc.study import cells as store
from rtc.study.advice import CONSTANT, HALVED, LOG, Policies, Scale, Tails
from rtc.study.evaluation import NonFiniteError
from rtc.study.outcome import Outcome
from rtc.study.study import arm
from rtc.study.transfer import Transfer
from stubs import TINY
from test_transfer import outcomes

pytestmark = pytest.mark.usefixtures("without_physics")

LEVELS = ("grasp_easy", "catapult", "catcher_v3", "car_launch")
SCALE = Scale(30.0, 50, 8)


def log_of(latency_ms):
    latency = np.array(latency_ms, np.float64)
    return DelayLog(latency, None, "a.csv", "0", "table", "why", "what", len(latency), (), (), 0.0)


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


def fake_cell(level, key, solved, evaluations):
    episodes = pd.DataFrame({"episode": range(len(solved)), statistics.SOLVED: solved})
    row = {"method": key[1], "flow_evals_per_tick": evaluations, "mean_execute_horizon": 2.0}
    provenance = {"git_commit": "a" * 40, "git_dirty": False, "wall_s": 1.0}
    return store.CellData(store.Cell(*key, 0, level), row, episodes, {1: 3}, {}, provenance)


def outcome_of(**solved):
    """Arms by method, or method and horizon, with the share solved under the log and the evaluations per tick.

    The median costs no one, and naive execution at its horizon of 2 solves other episodes than the rest.
    """
    cells, arms = {}, []
    for name, (share, evaluations) in solved.items():
        method, _, horizon = name.partition("+s")
        for profile in (LOG, CONSTANT, HALVED):
            label = f"{method}+s{horizon or 2}" + ("" if method in design.UNPLANNED else "+q80")
            more = {"estimator": design.ESTIMATORS["q80"], "execution": ExecutionConfig(int(horizon or 2))}
            one = arm(profile, method, label, delay=design.DelayProfileConfig(fixed_delay=1), **more)
            arms.append(one)
            for place, level in enumerate(LEVELS):
                gain = {LOG: 0.0, CONSTANT: 0.1, HALVED: 0.05}[profile]
                number = round(200 * (share + gain - 0.01 * place))
                episode = np.where(np.arange(200) < number, 1, 0)[:: -1 if label == "naive+s2" else 1]
                cells[level, *one.key] = (fake_cell(level, one.key, episode, evaluations),)
    return Outcome(design.study(Policies("run", 8, LEVELS, "prefix"), arms, LEVELS, 200), cells)


CLEAR = {"naive": (0.5, 2.0), "realtime": (0.8, 4.0), "synchronous": (0.3, 1.0), "foresee_simulator": (0.9, 1.0)}


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


def advice_of(outcome, latency=(400.0,) * 99 + (1500.0,), unfinished=()):
    log = log_of(latency)
    chosen = Policies("logs-bc/h8", 8, LEVELS, "logs-bc/h8_prefix")
    tail = design.tails(design.require_usable(log, 30.0, 50), SCALE)
    found = pages.Advice(log, design.logs.describe(log, 30.0), SCALE, chosen, tail, outcome, {"a2c2": "no head"}, ())
    return dataclasses.replace(found, unfinished=unfinished)


def test_the_page_says_first_what_to_use(tmp_path):
    shown = pages.write(advice_of(outcome_of(**CLEAR)), tmp_path, 0.0)
    assert shown == tmp_path / "advice.html"
    text = (tmp_path / "advice.md").read_text()
    first = text.split("## What to use\n\n")[1].split("\n\n")[0]
    assert first.startswith("**Use `realtime`, a new query every 12.5 ticks (417 ms), planning for the 80 % quantile")
    assert len(re.findall(r"\.(?= |$)", first.replace("vs.", ""))) == 3  # sentences
    assert "+30.0 [" in first  # against naive
    assert "costs it +10.0 [" in first
    assert "would bring +5.0 [" in first
    assert "foresee_simulator" not in text
    assert "`a2c2`: no head" in text
    assert "Levels agree" in text
    assert "rank correlation of 1.00" in text
    assert "the recommended method stays `realtime`" in text
    assert "--inference.rtc.execution_horizon=38 --inference.queue_threshold=38" in text
    assert "latency_tracker.percentile(0.8)" in text
    table = pd.read_csv(tmp_path / "advice.csv")
    assert list(table["tied"].fillna("")) == ["(not a setting)", "yes", *["(not a setting)", ""] * 2]
    assert not re.search(r'(src|href)="(?!data:|#)', shown.read_text())
    assert "query every 12 of 50 actions (12.5 as ranked, to the nearest whole number, halves down" in text


def test_what_the_tail_costs_is_shown_of_what_is_recommended():
    # The cheaper horizon is tied with the best one.
    advice = advice_of(outcome_of(**{"naive+s6": (0.8, 4.0), "naive": (0.795, 2.0), "realtime": (0.3, 4.0)}))
    ranks, costs = results.table(advice), results.tail_costs(advice).parts[0]
    assert list(costs["setting"][:2]) == ["the method's best", "recommended"]
    assert list(costs["query every (ticks)"][:2]) == ["37.5", "12.5"]
    assert list(costs["method"][2:]) == ["realtime"]
    (chosen,) = ranks[ranks["advice"] == "recommended"].to_dict("records")
    shown = costs.to_dict("records")[1]
    assert {name: chosen[name] for name in ("method", "query every (ticks)", "plans for")}.items() <= shown.items()
    assert shown["your delays (%)"] == chosen["solved (%)"]
    assert shown["always the median (pp)"].startswith("+10.0 [")


def test_levels_that_are_solved_alike_stand_below_each_other():
    heights = figure.stacked([100.0, 40.0, 99.5, 98.4, 100.0])
    assert heights == pytest.approx([0, 0, figure.STEP, 0, 2 * figure.STEP])
    many = figure.stacked([100.0] * 12)
    assert len(set(many)) == 12
    assert max(many) <= figure.ROOM
    assert figure.stacked([]) == []


@pytest.mark.parametrize("method", design.METHODS)
def test_every_ingredient_that_needs_training_has_its_steps(method):
    advice = advice_of(outcome_of(**{method: (0.9, 1.0), "naive+s4": (0.1, 1.0)}))
    text = "".join(section.markdown() for section in training.training(advice))
    kinds = re.findall(r"--level-paths grasp_easy --kinds (\w+)`", text)
    needed = {"a2c2": "correction", "foresee_learned": "forward"}
    assert set(kinds) == {needed[part] for part in method.split("+") if part in needed}
    assert set(kinds) <= set(get_args(train_networks.Kind))
    assert bool(text) == advice.needs_training(advice.recommended.arm)


def test_trials_on_the_robot_by_hand():
    table = trials.table()
    assert list(table["difference (points)"]) == ["5", "10", "20"]
    # (z(0.975) + z(0.8))^2 (0.45 * 0.55 + 0.55 * 0.45) / 0.1^2 = 388.5, and with z(0.9875) for two comparisons 470.7.
    assert list(table["2 settings, about 50 % solved"]) == [1566, 389, 95]
    assert table["3 settings, about 50 % solved"][1] == 471
    guide = (ROOT / "docs/advise.md").read_text()
    for row in table.to_dict("records"):
        shown = [str(row[name]) for name in list(row)[:3]]
        assert f"| {' | '.join(shown)} |" in guide
    text = trials.trials(advice_of(outcome_of(**CLEAR))).markdown()
    # Means over four levels: 0.785 and 0.485.
    assert "`realtime` and `naive` differ by 30.0 points" in text
    assert f"{trials.episodes(0.785, 0.485)} episodes of each" in text


def test_other_worlds_are_on_the_page_by_delay():
    outcome = outcome_of(**CLEAR)
    nothing = trust.trust(advice_of(outcome)).markdown()
    assert "the studies of others are not there" in nothing
    places = transfer.Place("Here", "a", ""), transfer.Place("There", "b", "")
    better = {"realtime": [0.9], "naive": [0.5], "a2c2": [0.7]}
    worse = {"naive": [0.9], "realtime": [0.5], "a2c2": [0.7]}
    pairs = [(2, Transfer(places, (outcomes(better), outcomes(worse))))]
    advice = dataclasses.replace(advice_of(outcome), worlds=pairs)
    text = trust.trust(advice).markdown()
    assert re.search(r"\| Here, There \|\s+2 \| 1, 1\s+\|\s+3 \| -1\.00 \[n/a, n/a\]", text)
    assert re.search(r"\| realtime \| Here\s+\| \+40\.0 \[", text)
    assert re.search(r"\| realtime \| There\s+\| -40\.0 \[", text)
    assert "nearest to that of d = 2" in text
    assert "Under random delays no two worlds" in text
    drawn = dataclasses.replace(advice, worlds=[*pairs, ("heavy", pairs[0][1])])
    assert "The same under random delays" in trust.trust(drawn).markdown()


def test_the_delay_of_other_worlds_next_to_the_median():
    # 12 of 50 ticks are 1.92 of 8.
    advice = advice_of(outcome_of(**CLEAR))
    assert worlds.nearest(advice, (1, 2, 4)) == 2
    assert worlds.nearest(advice, (1, 4)) == 1


def test_what_needs_training_has_a_second_answer(tmp_path):
    solved = {"naive": (0.5, 2.0), "trained_prefix": (0.8, 2.0), "synchronous": (0.3, 1.0)}
    advice = advice_of(outcome_of(**solved), unfinished=("realtime",))
    pages.write(advice, tmp_path, 0.0)
    text = (tmp_path / "advice.md").read_text()
    assert "`trained_prefix` needs training of its own. Of what was compared without any: `naive`" in text
    assert "This run is small" not in text
    assert "**Not compared for lack of time:** realtime." in text
    assert "`--fps=30 --actions_per_chunk=50 --chunk_size_threshold=0.7600 --aggregate_fn_name=latest_only`" in text


def test_no_tail_is_not_an_unknown_one():
    no_tail, unknown = "At this resolution your delays have no tail.", "What your tail costs it is not computed yet."
    complete = outcome_of(**CLEAR)
    log_alone = dataclasses.replace(complete, cells={k: v for k, v in complete.cells.items() if k[1] == LOG})
    for latency, outcome, said in (
        ((400.0,) * 400, log_alone, no_tail),
        ((400.0,) * 99 + (1500.0,), log_alone, unknown),
        ((400.0,) * 99 + (1500.0,), complete, "Your tail costs it +10.0"),
    ):
        text = answer.headline(advice_of(outcome, latency)).markdown()
        assert [one for one in (no_tail, unknown, "Your tail costs it +10.0") if one in text] == [said]


def test_doubts_are_said():
    slow = answer.headline(advice_of(outcome_of(**CLEAR), latency=(1000.0,) * 40))
    assert "more than half of a chunk" in slow.markdown()
    fast = advice_of(outcome_of(**CLEAR), latency=(30.0,) * 40)
    said = " ".join(delays.doubts(fast))
    assert "below one tick of the benchmark" in said
    assert "40 delays say little of a p99" in said
    # 1 s is 30 of 50 ticks, 5 of 8.
    long = advice_of(outcome_of(**CLEAR), latency=(1000.0,) * 40)
    chosen = dataclasses.replace(long.chosen, longest_prefix=5)
    said = " ".join(delays.doubts(dataclasses.replace(long, chosen=chosen)))
    assert "100 % of your delays, as replayed, are longer than forward models and correction heads have seen" in said
    assert "trained_prefix" not in said
    assert "for 4 of the benchmark's 12 levels" in delays.delays(long).markdown()


@pytest.mark.parametrize("method", design.METHODS)
def test_every_method_has_words_and_settings(method):
    assert words.METHOD_TEXTS[method]
    one = next(design.arms(method, Policies("run", 8, LEVELS, "prefix"), {LOG: design.DelayProfileConfig()}))
    assert "in code of your own" in settings.section(one, None, SCALE).markdown()


@pytest.mark.parametrize(("chunk", "every"), [(50, 6), (30, 20), (7, 2), (100, 1), (333, 1), (8, 8)])
def test_the_asynchronous_client_queries_at_the_tick_that_was_advised(chunk, every):
    flags = settings.lerobot_client("naive", every, chunk, 30.0)
    threshold = float(re.search(r"--chunk_size_threshold=(\S+)", flags)[1])
    assert 0 <= threshold <= 1
    assert (chunk - every) / chunk <= threshold < (chunk - every + 1) / chunk


def test_settings_name_their_release():
    one = next(design.arms("trained_prefix", Policies("run", 8, LEVELS, "prefix"), {LOG: design.DelayProfileConfig()}))
    text = settings.section(one, None, SCALE).markdown()
    assert "Flags are those of LeRobot 0.6.1" in text
    assert "newer than release 0.6.1" in text


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
