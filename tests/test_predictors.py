"""What predicts a gain: which arms count, and rank correlations with a known answer."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from rtc.study import predictors
from rtc.study.arguments import StudyArguments
from rtc.study.cells import Cell, CellData
from rtc.study.evaluation import EvalConfig
from rtc.study.outcome import Outcome
from rtc.study.protocols import published_curve
from rtc.study.questions import Comparison
from rtc.study.study import Study

RUNS = [f"logs-bc/recipe/r{number}{end}" for number in range(1, 6) for end in ("", "/last")]
LEVELS = ("grasp_easy", "mjc_walker")
POINTS = published_curve.curve((0, 2), 8)


def study():
    arms, comparisons = [], []
    for run in RUNS:
        label = run.removeprefix("logs-bc/recipe/").replace("/", "+")
        for one in published_curve.arms(("naive", "realtime", "hard_masking"), POINTS, EvalConfig(num_evals=50)):
            arms.append(dataclasses.replace(one, method=f"{one.method}+{label}", run_path=run))
        comparisons.append(Comparison(("d2_s2", f"realtime+{label}"), ("d2_s2", f"naive+{label}")))
        comparisons.append(Comparison(("d2_s2", f"hard_masking+{label}"), ("d2_s2", f"naive+{label}")))
    texts = dict.fromkeys(("title", "title_zh", "question", "question_zh"), "x")
    return Study(name="some", arms=tuple(arms), comparisons=tuple(comparisons), levels=LEVELS, **texts)


def outcome():
    """At d = 2 naive execution solves 20 of 50, realtime one more per place of the run in the list."""
    made, cells = study(), {}
    for level in LEVELS:
        for one in made.arms:
            gained = RUNS.index(one.run_path) if one.config.method == "realtime" else 0
            solved = 20 + gained if one.profile == "d2_s2" else 45 - LEVELS.index(level)
            frame = pd.DataFrame({"episode": np.arange(50), "returned_episode_solved": np.arange(50) < solved})
            cells[level, *one.key] = (CellData(Cell(*one.key, 0, level), {}, frame, {}, {}, {}),)
    return Outcome(made, cells)


def test_gains_are_those_of_the_same_policies_at_a_delay():
    found = predictors.gains(outcome(), StudyArguments(), "realtime", "naive")
    assert len(found) == len(RUNS) * len(LEVELS)
    assert set(found["profile"]) == {"d2_s2"}
    row = found[(found.run == RUNS[3]) & (found.level == "mjc_walker")].iloc[0]
    assert row["gain"] == pytest.approx(3 / 50)
    with pytest.raises(ValueError, match="no finished comparison of bid with naive"):
        predictors.gains(outcome(), StudyArguments(), "bid", "naive")


def test_correlations_are_those_of_ranks_within_levels():
    found = predictors.gains(outcome(), StudyArguments(), "realtime", "naive")
    place = found["run"].map(RUNS.index)
    # Levels differ in scale, and only ranks count.
    scale = np.where(found["level"] == "grasp_easy", 1.0, 1000.0)
    noise = np.random.default_rng(0).permutation(len(found))
    found = found.assign(up=scale * place**3, down=-scale * place, flat=1.0, chance=noise)
    table = predictors.correlations(found, ["up", "down", "flat", "chance"])
    assert table["d2_s2", "up"].value == pytest.approx(1.0)
    assert table["d2_s2", "down"].value == pytest.approx(-1.0)
    assert table["d2_s2", "up"].low == pytest.approx(1.0)
    assert np.isnan(table["d2_s2", "flat"].value)
    chance = table["d2_s2", "chance"]
    assert chance.low < chance.value < chance.high
    assert chance.high - chance.low > 0.2
    by_level = [
        predictors.correlations(group, ["chance"])["d2_s2", "chance"].value for _, group in found.groupby("level")
    ]
    assert chance.value == pytest.approx(np.mean(by_level))


def test_trainings_have_as_many_sets_of_weights():
    found = predictors.gains(outcome(), StudyArguments(), "realtime", "naive").assign(up=1.0)
    with pytest.raises(ValueError, match="as many sets of weights"):
        predictors.correlations(found[found.run != RUNS[1]], ["up"])
