"""How a loss is divided: parts that add up, arms that it takes, and how it is reported."""

import numpy as np
import pandas as pd
import pytest

from rtc import methods, report
from rtc.report import figures, insight, study_tables
from rtc.report import losses as tables
from rtc.study import losses
from rtc.study.cells import Cell, CellData
from rtc.study.evaluation import EvalConfig
from rtc.study.outcome import Outcome
from rtc.study.protocols import published_curve

LEVELS, EPISODES = ("grasp_easy", "mjc_walker"), 40
METHODS = ("naive", "a2c2", "foresee_simulator")
# Of 40 episodes, how many are solved at (d, s); the second level solves 4 fewer of each.
SOLVED = {
    ("naive", "d0_s1"): 40,
    ("naive", "d0_s2"): 36,
    ("naive", "d1_s1"): 28,
    ("naive", "d2_s2"): 16,
    ("foresee_simulator", "d0_s1"): 40,
    ("foresee_simulator", "d1_s1"): 38,
    ("foresee_simulator", "d2_s2"): 32,
    ("a2c2", "d0_s1"): 39,
    ("a2c2", "d1_s1"): 39,
    ("a2c2", "d2_s2"): 34,
}
STUDY = published_curve.study(METHODS, (), (0, 1, 2), 4, EvalConfig(num_evals=EPISODES), LEVELS)
RECORD = {"git_commit": "f" * 40, "git_dirty": False, "packages": {}, "command": "python exp/run.py", "wall_s": 1.0}


def cell(profile, method, level):
    solved = np.arange(EPISODES) < SOLVED[method, profile] - 4 * LEVELS.index(level)
    frame = pd.DataFrame({"episode": np.arange(EPISODES), "returned_episode_solved": solved.astype(int)})
    counts = {"num_queries": 3, "abandoned_queries": 0, "flow_evals": 15, "returned_episode_lengths": 50}
    row = {"profile": profile, "method": method, "seed": 0, "level": level, "returned_episode_solved": solved.mean()}
    costs = {"multiplications_per_tick": 1.5 + len(method), "query_multiplications": 7.0, "starved_fraction": 0.25}
    inputs = {"config": {"num_evals": EPISODES}, "code": "v" * 64}
    return CellData(Cell(profile, method, 0, level), row | costs, frame.assign(**counts), {0: 3}, inputs, RECORD)


OUTCOME = Outcome(STUDY, {(level, *one.key): (cell(*one.key, level),) for level in LEVELS for one in STUDY.arms})


def test_naive_execution_gets_the_arms_without_delay_at_every_horizon():
    points = {method: [arm.profile for arm in STUDY.arms if arm.method == method] for method in METHODS}
    assert points["naive"] == ["d0_s1", "d0_s2", "d1_s1", "d2_s2"]
    assert points["a2c2"] == points["foresee_simulator"] == ["d0_s1", "d1_s1", "d2_s2"]
    alone = published_curve.study(("naive", "a2c2"), (), (0, 1, 2), 4, EvalConfig(), LEVELS)
    assert [arm.profile for arm in alone.arms if arm.method == "naive"] == ["d0_s1", "d1_s1", "d2_s2"]
    assert not losses.references(alone)
    assert "losses" not in {section.kind for section in alone.sections}


@pytest.mark.parametrize(
    ("method", "profile", "horizon", "staleness", "rest"),
    [("naive", "d1_s1", 0, 10, 2), ("naive", "d2_s2", 4, 16, 4), ("a2c2", "d2_s2", 4, -2, 4)],
)
def test_the_parts_add_up(method, profile, horizon, staleness, rest):
    reference = losses.references(STUDY)[profile, method]
    found = losses.of_level(OUTCOME, (profile, method), reference, "returned_episode_solved", "mjc_walker")
    sums = {name: values.sum() for name, values in found.items()}
    assert sums == {"total": horizon + staleness + rest, "horizon": horizon, "staleness": staleness, "rest": rest}
    np.testing.assert_array_equal(found["total"], sum(found[name] for name in losses.PARTS))


def test_the_table_has_means_over_levels_and_the_file_every_level():
    table = tables.table(OUTCOME, [one.key for one in STUDY.arms])
    assert list(table["method"]) == ["naive", "naive", "a2c2", "a2c2", "foresee_simulator", "foresee_simulator"]
    row = table.iloc[1]
    assert row["total (pp)"].startswith("60.0 [")
    assert row["horizon (pp)"].startswith("10.0 [")
    assert row["starved (%)"] == "25.0"
    rows = tables.rows(OUTCOME)
    assert len(rows) == 6 * len(LEVELS) * 4
    one = rows[(rows.method == "a2c2") & (rows.profile == "d1_s1") & (rows.level == "grasp_easy")].set_index("part")
    assert list(one["loss"].round(6)) == [0.025, 0.0, -0.025, 0.05]


def test_the_report_shows_parts_and_compute(tmp_path):
    report.write(STUDY, OUTCOME, tmp_path)
    text = (tmp_path / "summary.md").read_text()
    assert "## Where the loss comes from" in text
    assert "figures/losses.png" in text
    assert "figures/compute.png" in text
    assert "Mmul/tick" in text
    assert len(pd.read_csv(tmp_path / "losses.csv")) == 48
    panels = figures.DRAWN["losses"](STUDY, OUTCOME).axes
    assert [ax.get_title(loc="left") for ax in panels] == list(LEVELS)
    heights = [bars[0].get_height() for bars in panels[0].containers[:3]]
    assert heights == pytest.approx([0.0, 25.0, 5.0])


def test_tables_say_what_methods_see(tmp_path):
    seen = {
        "naive": "",
        "bid": "",
        "realtime": "",
        "trained_prefix": "training of its own",
        "a2c2": "newest observation, training of its own",
        "foresee_simulator": "simulator",
        "foresee_simulator+a2c2": "newest observation, simulator, training of its own",
        "vlash": "training of its own",
        "vlash_simulator": "simulator, training of its own",
        "delay_expert": "every delay, training of its own",
    }
    assert {name: insight.of(methods.make(name)) for name in seen} == seen
    report.write(STUDY, OUTCOME, tmp_path)
    text = (tmp_path / "summary.md").read_text()
    assert "`a2c2`: newest observation, training of its own; `foresee_simulator`: simulator." in text
    assert "| foresee_simulator - naive (d1_s1) | simulator " in text
    costs = study_tables.costs(OUTCOME, [("d1_s1", method) for method in METHODS], ("starved_fraction",))
    assert list(costs["sees"]) == [seen[method] for method in METHODS]
    plain = published_curve.study(("naive", "bid"), (), (0, 1), 4, EvalConfig(num_evals=EPISODES), LEVELS)
    assert not insight.by_arm(plain, [one.key for one in plain.arms])
