"""The page of advice: what it says first, its tables, what has to be trained, trials on the robot, other worlds."""

import dataclasses
import re
from typing import get_args

import pandas as pd
import pytest

from outcome_stubs import CLEAR, LEVELS, SCALE, advice_of, outcome_of, world_of
from rtc.programs import train_networks
from rtc.report import advice as pages
from rtc.report.advice import answer, delays, results, settings, training, trials, trust, words, worlds
from rtc.report.figures import advice as figure
from rtc.shared.paths import ROOT
from rtc.study import advice as design
from rtc.study import transfer
from rtc.study.advice import LOG, Policies
from rtc.study.transfer import Transfer

pytestmark = pytest.mark.usefixtures("without_physics")


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
    assert "episodes of each would do" not in trials.trials(advice_of(outcome_of(synchronous=(0.5, 1.0)))).markdown()


def test_other_worlds_are_on_the_page_by_delay():
    outcome = outcome_of(**CLEAR)
    nothing = trust.trust(advice_of(outcome)).markdown()
    assert "the studies of others are not there" in nothing
    places = transfer.Place("Here", "a", ""), transfer.Place("There", "b", "")
    better = {"realtime": [0.9], "naive": [0.5], "a2c2": [0.7]}
    worse = {"naive": [0.9], "realtime": [0.5], "a2c2": [0.7]}
    pairs = [(2, Transfer(places, (world_of(better), world_of(worse))))]
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
