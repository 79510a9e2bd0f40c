"""Aggregates over training seeds: recovered from outcomes made with known ones, refused where there are none."""

import dataclasses
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from rtc.report import over_seeds, sections
from rtc.study import files
from rtc.study.layout import Section
from rtc.study.outcome import Outcome
from rtc.study.questions import Aggregate
from rtc.study.statistics import SOLVED
from rtc.study.study import Study, arm

EPISODES = 400
# Solve rates by level and seed; realtime gains 0.1 with every seed on level a, and 0.1, 0.2, 0.3 on b.
NAIVE = {"a": (0.5, 0.6, 0.7), "b": (0.2, 0.2, 0.2)}
GAIN = {"a": (0.1, 0.1, 0.1), "b": (0.1, 0.2, 0.3)}

FILE = """
levels = ["grasp_easy"]
sections = ["aggregates"]
[axes]
run = ["seed0", "seed1"]
[profiles.no_delay]
[profiles.long_tail]
[methods."naive+{run}"]
for = ["run"]
method = "naive"
[methods."realtime+{run}"]
for = ["run"]
method = "realtime"
[[aggregates]]
for = ["run"]
name = "naive"
candidate = ["{profile}", "naive+{run}"]
[[aggregates]]
for = ["run"]
name = "gain"
exclude = "profile == 'no_delay'"
candidate = ["{profile}", "realtime+{run}"]
reference = ["{profile}", "naive+{run}"]
"""


@pytest.fixture(scope="module")
def outcome():
    arms, runs, cells = [], [], {}
    for seed in range(3):
        ends = [arm("long_tail", method, f"{method}+seed{seed}") for method in ("realtime", "naive")]
        arms += ends
        runs.append(tuple(one.key for one in ends))
        for level in NAIVE:
            rates = NAIVE[level][seed] + GAIN[level][seed], NAIVE[level][seed]
            for one, rate in zip(ends, rates, strict=True):
                solved = (np.arange(EPISODES) < round(rate * EPISODES)).astype(int)
                cells[level, *one.key] = (SimpleNamespace(episodes=pd.DataFrame({SOLVED: solved})),)
    chosen = (
        Aggregate("gain", "long_tail", tuple(runs)),
        Aggregate("naive", "long_tail", tuple((naive, None) for _, naive in runs)),
    )
    texts = dict.fromkeys(("title", "title_zh", "question", "question_zh"), "")
    shown = (Section("aggregates"),)
    return Outcome(
        Study(name="seeds", arms=tuple(arms), levels=("a", "b"), aggregates=chosen, sections=shown, **texts), cells
    )


def _numbers(text):
    return [float(part) for part in text.replace("[", "").replace("]", "").replace(",", "").split()]


def test_known_aggregates_are_found(outcome):
    gain, naive = over_seeds.table(outcome, outcome.study.aggregates).to_dict("records")
    assert (gain["what"], gain["profile"], gain["seeds"]) == ("gain", "long_tail", "3")
    assert gain["seed by seed"] == "+10.0, +15.0, +20.0"
    assert naive["seed by seed"] == "35.0, 40.0, 45.0"
    assert _numbers(gain["mean [episodes]"])[0] == pytest.approx(15.0)
    assert "median level [other seeds]" not in gain  # of two levels it is the mean
    # Of the differences 10, 10, 10, 10, 20, 30 the smallest and the largest are left out.
    assert _numbers(gain["interquartile mean [other seeds]"])[0] == pytest.approx(12.5)
    # On a, candidates of 0.6, 0.7, 0.8 meet 0.5, 0.6, 0.7: six better, two equal, one worse; on b all are better.
    assert _numbers(gain["P(improvement) [other seeds]"])[0] == pytest.approx(round((7 / 9 + 1) / 2, 2))
    assert "P(improvement) [other seeds]" not in naive or pd.isna(naive["P(improvement) [other seeds]"])


def test_intervals_widen_with_what_is_sampled(outcome):
    gain = over_seeds.table(outcome, outcome.study.aggregates).to_dict("records")[0]
    widths = []
    for sampled in ("episodes", "other seeds", "other seeds and levels"):
        value, low, high = _numbers(gain[f"mean [{sampled}]"])
        assert low < value < high
        widths.append(high - low)
    assert widths[0] < widths[1] < widths[2]


def test_the_section_shows_what_is_complete(outcome):
    context = sections.Context(outcome, None, Section("aggregates"), False, ())
    said, table = sections.WRITERS["aggregates"](context)
    assert "end to end" in said
    assert list(table["what"]) == ["gain", "naive"]
    fewer = {key: found for key, found in outcome.cells.items() if key[2] != "realtime+seed1"}
    part = dataclasses.replace(context, outcome=dataclasses.replace(outcome, cells=fewer))
    assert list(sections.WRITERS["aggregates"](part)[1]["what"]) == ["naive"]
    one_level = {key: found for key, found in outcome.cells.items() if key[0] == "a"}
    alone = over_seeds.table(dataclasses.replace(outcome, cells=one_level), outcome.study.aggregates)
    assert "mean [other seeds and levels]" not in alone.columns


def test_a_file_names_aggregates(tmp_path):
    path = tmp_path / "seeds.toml"
    path.write_text(FILE)
    naive, delayed, gain = files.read(path).aggregates
    assert naive.runs == ((("no_delay", "naive+seed0"), None), (("no_delay", "naive+seed1"), None))
    assert delayed.profile == "long_tail"
    assert gain.runs[1] == (("long_tail", "realtime+seed1"), ("long_tail", "naive+seed1"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "gain"', 'nam = "gain"', "aggregates 2: key='nam' is unknown; did you mean 'name'"),
        ('name = "naive"', "", "aggregates 1: aggregates need a name"),
        ('candidate = ["{profile}", "naive+{run}"]', 'candidate = ["no_delay", "naive"]', 'must name "{profile}"'),
        ('candidate = ["{profile}", "naive+{run}"]', 'candidate = ["{profile}"]', "must be an arm, [profile, method]"),
        ('"naive+{run}"]\n[[agg', '"naive+seed0"]\n[[agg', "must be at least two arms, one per training seed"),
        ("'no_delay'", "profile", "aggregates 2: exclude='profile == profile' leaves nothing"),
        ('"{profile}", "realtime+{run}"]', '"{profile}", "bid+{run}"]', "there is no arm ('long_tail', 'bid+seed0')"),
        ('reference = ["{profile}", "naive+{run}"]', 'reference = ["{profile}", "naive+seed0"]', "stand for several"),
        ('name = "gain"', 'name = "naive"', "aggregates of seeds share a name under a profile"),
        ('sections = ["aggregates"]', "", "names aggregates and no section shows them"),
    ],
)
def test_aggregates_that_a_file_cannot_mean_are_refused(tmp_path, old, new, message):
    assert FILE.count(old) == 1
    path = tmp_path / "seeds.toml"
    path.write_text(FILE.replace(old, new))
    with pytest.raises(ValueError, match=re.escape(message)):
        files.read(path)


def test_seeds_have_a_reference_all_or_none():
    with pytest.raises(ValueError, match="give every training seed a reference, or none"):
        Aggregate("gain", "long_tail", ((("p", "a"), ("p", "b")), (("p", "c"), None)))
