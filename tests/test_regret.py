"""What estimating the delay costs: the arms that belong on the curve, the regret by hand, its table and its figure."""

import dataclasses
import sys

import numpy as np
import pandas as pd
import pytest

from rtc import report
from rtc.control.controller import ExecutionConfig
from rtc.delay import EstimatorConfig
from rtc.report import figures
from rtc.report import regret as tables
from rtc.study import regrets
from rtc.study.cells import Cell, CellData
from rtc.study.layout import Section
from rtc.study.outcome import Outcome
from rtc.study.study import Study, arm

LEVELS, EPISODES = ("grasp_easy", "mjc_walker"), 40
ESTIMATORS = {
    "oracle": EstimatorConfig("oracle"),
    "q0.5": EstimatorConfig("quantile", q=0.5, window=3),
    "q0.8": EstimatorConfig("quantile", q=0.8, window=10),
    "max": EstimatorConfig("window_max", window=10),
    "always_1": EstimatorConfig("fixed", delay=1),
}
# Of 40 episodes, how many are solved; the second level solves 4 fewer of each.
SOLVED = {
    ("long_tail", "oracle"): 36,
    ("long_tail", "q0.5"): 34,
    ("long_tail", "q0.8"): 38,
    ("long_tail", "max"): 20,
    ("long_tail", "always_1"): 36,
    ("step", "oracle"): 30,
    ("step", "q0.5"): 18,
    ("step", "q0.8"): 26,
    ("step", "max"): 30,
    ("step", "always_1"): 10,
}
RECORD = {"git_commit": "f" * 40, "git_dirty": False, "packages": {}, "command": "python exp/run.py", "wall_s": 1.0}
STUDY = Study(
    name="study_small",
    title="Small",
    title_zh="小",
    question="Q?",
    question_zh="问？",
    arms=tuple(
        arm(profile, "hard_masking", label, estimator=estimator)
        for profile in ("long_tail", "step")
        for label, estimator in ESTIMATORS.items()
    ),
    levels=LEVELS,
    num_evals=EPISODES,
    figures=("regret",),
    sections=(Section("question"), Section("regret"), Section("figures")),
)


def cell(profile, method, level):
    solved = np.arange(EPISODES) < SOLVED[profile, method] - 4 * LEVELS.index(level)
    frame = pd.DataFrame({"episode": np.arange(EPISODES), "returned_episode_solved": solved.astype(int)})
    counts = {"num_queries": 3, "abandoned_queries": 0, "flow_evals": 15, "returned_episode_lengths": 50}
    row = {"profile": profile, "method": method, "seed": 0, "level": level, "returned_episode_solved": solved.mean()}
    inputs = {"config": {"num_evals": EPISODES}, "code": "v" * 64}
    return CellData(Cell(profile, method, 0, level), row, frame.assign(**counts), {0: 3}, inputs, RECORD)


def outcome(study):
    return Outcome(study, {(level, *one.key): (cell(*one.key, level),) for level in LEVELS for one in study.arms})


OUTCOME = outcome(STUDY)


def test_arms_with_a_window_are_on_the_curve_where_there_is_an_oracle():
    found = {point.key: point for point in regrets.points(STUDY)}
    assert list(found) == [(profile, name) for profile in ("long_tail", "step") for name in ("q0.5", "q0.8", "max")]
    assert {(name, point.window, point.quantile) for (_, name), point in found.items()} == {
        ("q0.5", 3, 0.5),
        ("q0.8", 10, 0.8),
        ("max", 10, 1.0),
    }
    assert all(point.oracle == (key[0], "oracle") for key, point in found.items())
    kept = tuple(one for one in STUDY.arms if one.key != ("step", "oracle"))
    assert {point.key[0] for point in regrets.points(dataclasses.replace(STUDY, arms=kept))} == {"long_tail"}


def test_an_oracle_under_other_conditions_is_no_reference():
    def changed(one):
        told = one.config.estimator == EstimatorConfig("oracle")
        return dataclasses.replace(one, run_path="logs-bc/other") if told else one

    assert not regrets.points(dataclasses.replace(STUDY, arms=tuple(map(changed, STUDY.arms))))


def test_the_table_has_regrets_their_mean_and_the_largest():
    found = tables.tables(OUTCOME, [one.key for one in STUDY.arms])
    assert list(found) == ["hard_masking"]
    table = found["hard_masking"]
    assert list(zip(table["window"], table["quantile"], strict=True)) == [(3, "0.5"), (10, "0.8"), (10, "1")]
    points = {"long_tail": (5.0, -5.0, 40.0), "step": (30.0, 10.0, 0.0), "mean": (17.5, 2.5, 20.0)}
    for column, values in points.items():
        assert [float(text.split(" [")[0].replace("\N{MINUS SIGN}", "-")) for text in table[column]] == list(values)
    assert [float(text) for text in table["largest"]] == [30.0, 10.0, 40.0]


def test_arms_of_one_method_with_other_settings_have_a_curve_of_their_own():
    """Another execute horizon, and another initial estimate at the same place."""
    solved = {"oracle+s4": 36, "q0.8+s4": 16, "q0.8+start2": 28}
    later = ExecutionConfig(execute_horizon=4)
    more = (
        arm("long_tail", "hard_masking", "oracle+s4", estimator=EstimatorConfig("oracle"), execution=later),
        arm("long_tail", "hard_masking", "q0.8+s4", estimator=ESTIMATORS["q0.8"], execution=later),
        arm(
            "long_tail",
            "hard_masking",
            "q0.8+start2",
            estimator=EstimatorConfig("quantile", q=0.8, window=10, initial=2),
        ),
    )
    study = dataclasses.replace(STUDY, arms=(*STUDY.arms, *more))
    cells = {("long_tail", name): count for name, count in solved.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[__name__], "SOLVED", SOLVED | cells)
        found = tables.tables(outcome(study), [one.key for one in study.arms])
    first = {
        name: table["long_tail"].iloc[-1 if name.endswith("(q0.5)") else 0].split(" [")[0]
        for name, table in found.items()
    }
    assert first == {
        "hard_masking (q0.5)": "+40.0",
        "hard_masking (q0.8+s4)": "+50.0",
        "hard_masking (q0.8+start2)": "+20.0",
    }


def test_the_mean_is_taken_where_all_profiles_were_tried():
    part = dataclasses.replace(STUDY, arms=tuple(one for one in STUDY.arms if one.key != ("step", "max")))
    table = tables.tables(outcome(part), [one.key for one in part.arms])["hard_masking"].set_index("quantile")
    assert table.loc["1", "step"] == table.loc["1", "mean"] == table.loc["1", "largest"] == ""
    assert table.loc["0.8", "mean"].startswith("+2.5 [")


def test_the_figure_has_a_panel_per_profile_and_a_line_per_window():
    (figure,) = figures.DRAWN["regret"](STUDY, OUTCOME).values()
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["long_tail", "step"]
    lines = {line.get_label(): line for line in figure.axes[1].lines if line.get_label().startswith("window")}
    assert list(lines) == ["window 3", "window 10"]
    assert list(lines["window 10"].get_ydata()) == pytest.approx([10.0, 0.0])
    dots = [
        values
        for one in figure.axes[1].collections
        for values in one.get_offsets()[:, 1]
        if len(one.get_offsets()) == 2
    ]
    assert sorted(dots) == pytest.approx([0.0, 0.0, 10.0, 10.0, 30.0, 30.0])


def test_the_report_shows_both_in_both_languages(tmp_path):
    report.write(STUDY, OUTCOME, tmp_path)
    for name, heading in (("summary.md", "## What estimating costs"), ("summary.zh-CN.md", "## 估计的代价")):
        text = (tmp_path / name).read_text()
        assert heading in text
        assert "figures/regret.png" in text
        assert "|     10 | 0.8      | -5.0 [" in text
