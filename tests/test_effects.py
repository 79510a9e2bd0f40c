"""Effects of factors: recovered from outcomes that were made with known ones, and refused where a design has none."""

import dataclasses
import itertools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from rtc.report import sections, study_tables
from rtc.study import effects as factorial
from rtc.study import files
from rtc.study.layout import Section
from rtc.study.outcome import Outcome
from rtc.study.questions import Comparison, Effects
from rtc.study.statistics import SOLVED
from rtc.study.study import Study, arm

EPISODES = 400
DESIGN = tuple(itertools.product(("mode", "drawn"), ("one", "all")))
# What realtime gains: 0.1, and 0.2 more with drawn labels, 0.05 with all experts, 0.2 with both.
GAIN = {("mode", "one"): 0.1, ("drawn", "one"): 0.3, ("mode", "all"): 0.15, ("drawn", "all"): 0.55}

FILE = """
levels = ["grasp_easy"]
sections = ["effects"]
[axes]
recipe = [{ name = "a", labels = "mode", n = 1 }, { name = "b", labels = "drawn", n = 3 }]
[profiles.no_delay]
[profiles.long_tail]
[methods."naive+{recipe.name}"]
for = ["recipe"]
method = "naive"
[methods."realtime+{recipe.name}"]
for = ["recipe"]
method = "realtime"
[[effects]]
for = ["recipe"]
name = "gain"
exclude = "profile == 'no_delay'"
candidate = ["{profile}", "realtime+{recipe.name}"]
reference = ["{profile}", "naive+{recipe.name}"]
factors = { labels = "{recipe.labels}" }
"""


@pytest.fixture
def outcome():
    arms, points, cells = [], [], {}
    for labels, experts in DESIGN:
        ends = [arm("long_tail", method, f"{method}+{labels}+{experts}") for method in ("realtime", "naive")]
        arms += ends
        points.append(((labels, experts), Comparison(*(one.key for one in ends))))
        for one, rate in zip(ends, (GAIN[labels, experts] + 0.4, 0.4), strict=True):
            solved = (np.arange(EPISODES) < round(rate * EPISODES)).astype(int)
            for level in "ab":
                cells[level, *one.key] = (SimpleNamespace(episodes=pd.DataFrame({SOLVED: solved})),)
    pairs = (("labels", "experts"),)
    chosen = Effects("gain", "long_tail", ("labels", "experts"), tuple(points), pairs)
    texts = dict.fromkeys(("title", "title_zh", "question", "question_zh"), "")
    study = Study(
        name="design", arms=tuple(arms), levels=("a", "b"), effects=(chosen,), sections=(Section("effects"),), **texts
    )
    return Outcome(study, cells)


def test_known_effects_are_found(outcome):
    found = factorial.of_level(outcome, outcome.study.effects[0], SOLVED, "a")
    means = {name: values.mean() for name, values in found.items()}
    assert means == pytest.approx(
        {"mean": 0.275, "labels: drawn - mode": 0.3, "experts: all - one": 0.15, "labels x experts": 0.1}
    )


def test_the_report_has_a_table_per_difference(outcome):
    context = sections.Context(outcome, None, Section("effects"), False, ())
    about, title, table = sections.WRITERS["effects"](context)
    assert "main effect" in about
    assert "apart" not in about
    assert title == "**gain**, long_tail:"
    assert list(table.effect) == ["mean", "labels: drawn - mode", "experts: all - one", "labels x experts"]
    assert table.set_index("effect").loc["labels: drawn - mode", "a"] == "+30.0 *"
    assert study_tables.effects(outcome, outcome.study.effects[0]).equals(table)
    fewer = Outcome(outcome.study, dict(list(outcome.cells.items())[:-1]))
    assert sections.WRITERS["effects"](dataclasses.replace(context, outcome=fewer)) == []


def test_designs_without_two_settings_or_arms_are_refused(outcome):
    one = outcome.study.effects[0]
    with pytest.raises(ValueError, match="factor labels needs two settings and has \\['mode'\\]"):
        dataclasses.replace(one, points=tuple(p for p in one.points if p[0][0] == "mode"))
    with pytest.raises(ValueError, match="interactions entry='view' is unknown"):
        dataclasses.replace(one, interactions=(("labels", "view"),))
    with pytest.raises(ValueError, match="do not tell 'labels x labels' from 'mean'"):
        dataclasses.replace(one, interactions=(("labels", "labels"),))
    with pytest.raises(ValueError, match="do not tell 'experts: all - one' from 'labels: drawn - mode'"):
        dataclasses.replace(one, interactions=(), points=(one.points[0], one.points[-1]))
    with pytest.raises(ValueError, match="effects of 'gain' of design: there is no arm"):
        dataclasses.replace(outcome.study, arms=outcome.study.arms[1:])


def test_a_study_file_may_name_them(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(FILE)
    (one,) = files.read(path).effects
    assert (one.name, one.profile, one.factors) == ("gain", "long_tail", ("labels",))
    assert [settings for settings, _ in one.points] == [("mode",), ("drawn",)]
    assert one.points[1][1].candidate == ("long_tail", "realtime+b")
    path.write_text(FILE.replace("factors = ", "factor = "))
    with pytest.raises(ValueError, match="effects 1: key='factor' is unknown; did you mean 'factors'"):
        files.read(path)
    path.write_text(FILE.replace("factors = { labels", "factors = { which"))
    assert files.read(path).effects[0].factors == ("which",)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("factors = { labels", "factors = {} # { labels", "effects 1: effects need a name, and factors"),
        ('candidate = ["{profile}"', 'candidate = ["long_tail"', 'effects 1: candidate must name "{profile}"'),
        ("'no_delay'", "profile", "effects 1: exclude=.* leaves nothing"),
        ("labels}", 'labels}" }\ninteractions = [["labels"]] # ', "interactions=.* must be an array of pairs"),
        ('sections = ["effects"]', "", "names effects and no section shows them"),
        ('sections = ["effects"]', 'sections = ["arms"]', "names effects and no section shows them"),
        ('labels = "{recipe.labels}"', 'a = "{recipe.labels}", b = "{recipe.n}"', "do not tell 'b: 3 - 1' from 'a: "),
    ],
)
def test_effects_that_a_file_cannot_mean_are_refused(tmp_path, old, new, message):
    path = tmp_path / "mine.toml"
    assert old in FILE
    path.write_text(FILE.replace(old, new))
    with pytest.raises(ValueError, match=message):
        files.read(path)


def test_the_design_of_the_training_recipe_tells_its_effects_apart():
    chosen = files.read("recipe").effects
    assert {one.profile for one in chosen} == {"d0", "d1", "d2", "d4"}
    weights = np.stack([weights for _, weights in factorial.contrasts(chosen[0])])
    overlap = weights @ weights.T
    np.testing.assert_allclose(overlap, np.diag(np.diag(overlap)), atol=1e-12)
    assert len(weights) == 10
    gains = [f"{method} - naive" for method in ("realtime", "hard_masking", "naive+noise0")]
    assert list(dict.fromkeys(one.name for one in chosen)) == [*gains, "naive less its delay-free self"]
    assert len(chosen) == 4 * 4 - 1
    assert all(len(one.points) == 16 for one in chosen)
    assert chosen[0].aliases() == [
        ("labels x experts", "view x data"),
        ("labels x view", "experts x data"),
        ("view x experts", "labels x data"),
    ]
