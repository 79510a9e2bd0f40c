"""Worlds held against each other: ranks and differences with known answers, and the page of the committed studies."""

import math
import re

import numpy as np
import pandas as pd
import pytest

from outcome_stubs import world_of
from rtc.programs import compare_worlds
from rtc.report import transfer as page
from rtc.shared.paths import ROOT
from rtc.study import archive, transfer
from rtc.study.cells import Cell, CellData
from rtc.study.statistics import Interval
from rtc.study.transfer import OPEN, OPPOSITE, SAME, Outcomes, Place, Transfer


def test_the_rank_correlation_of_means_by_hand():
    one = np.array([[0.1, 0.2, 0.3], [0.3, 0.4, 0.5], [0.2, 0.3, 0.4]])
    assert transfer.rank_correlation(one, 0.5 * one) == Interval(1.0, 1.0, 1.0)
    assert transfer.rank_correlation(one, -one) == Interval(-1.0, -1.0, -1.0)
    # Ranks 1 2 3 against 2 1 3: 1 - 6 * 2 / (3 * 8).
    assert transfer.rank_correlation(one, one[:, [1, 0, 2]]).value == pytest.approx(0.5)
    assert math.isnan(transfer.rank_correlation(one, np.ones((3, 3))).value)
    two = transfer.rank_correlation(one[:2], one)
    assert two.value == 1.0
    assert math.isnan(two.low)


def test_levels_that_disagree_make_the_interval_wide():
    agreeing, split = np.array([[0.1, 0.2, 0.3]] * 4), np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]] * 2)
    interval = transfer.rank_correlation(agreeing, split + np.array([0, 0, 0.01]))
    assert interval.low == -1.0
    assert interval.high == 1.0


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (Interval(0.1, 0.05, 0.2), Interval(0.3, 0.1, 0.4), SAME),
        (Interval(0.1, 0.05, 0.2), Interval(-0.3, -0.4, -0.1), OPPOSITE),
        (Interval(0.1, -0.05, 0.2), Interval(-0.3, -0.4, -0.1), OPEN),
    ],
)
def test_differences_agree_only_where_both_are_shown(one, other, said):
    assert transfer.verdict(one, other) == said


def test_methods_in_common_and_what_they_gain():
    places = (Place("a", "a", ""), Place("b", "b", ""))
    one = world_of({"naive": [0.5, 0.5], "better": [0.9, 0.8], "worse": [0.2, 0.3], "here": [1.0, 1.0]})
    other = world_of({"worse": [0.1], "naive": [0.4], "better": [0.9]})
    found = Transfer(places, (one, other))
    assert found.methods == ["better", "naive", "worse"]
    assert found.correlation.value == 1.0
    gained = found.differences()
    assert list(gained) == ["better", "worse"]
    assert gained["better"][0].value == pytest.approx(0.35)
    assert gained["better"][1].value == pytest.approx(0.5)
    assert all(transfer.verdict(*both) == SAME for both in gained.values())


def test_seeds_that_only_some_methods_have_are_left_out(tmp_path):
    def cell(method, level, seed):
        frame = pd.DataFrame({"episode": [0, 1], "returned_episode_solved": [seed, 1]})
        return CellData(Cell("d1", method, seed, level), {}, frame, {0: 1}, {}, {})

    seeds = {"naive": (0, 1, 2), "realtime": (1, 0), "part": (0, 1)}
    cells = [cell(name, level, seed) for name, of in seeds.items() for level in "xy" for seed in of]
    archive.write(tmp_path, [one for one in cells if (one.cell.method, one.cell.level) != ("part", "y")])
    found = Place("world", tmp_path, "d{d}").outcomes(1)
    assert found.levels == ("x", "y")
    assert {name: [list(values) for values in of] for name, of in found.solved.items()} == {
        name: [[0, 1, 1, 1]] * 2 for name in ("naive", "realtime")
    }


def test_a_profile_that_two_worlds_have_is_compared(tmp_path, monkeypatch):
    rates = {"naive": [0.2, 0.3], "a2c2": [0.9, 0.8], "realtime": [0.5, 0.4], "foresee_simulator": [1.0, 1.0]}
    there = {("Kinetix", 1): rates, ("Gymnasium", 1): rates, ("Kinetix", "heavy"): rates, ("LIBERO", "heavy"): rates}
    none = Outcomes((), {})
    monkeypatch.setattr(
        Place, "outcomes", lambda place, at: world_of(there[place.name, at]) if (place.name, at) in there else none
    )
    constant = [Place("Kinetix", "k", ""), Place("Gymnasium", "g", "")]
    random = [Place("Kinetix", "r", "{profile}"), Place("LIBERO", "l", "{profile}")]
    page.write(tmp_path, constant, random, (1, 2), ("vla", "heavy"), "", 0.0)
    text = (tmp_path / "transfer.md").read_text()
    drawn = text.split("## Rank correlation under random delays")[1].split("##")[0]
    assert re.search(r"\| Kinetix, LIBERO \| heavy +\| 2, 2 +\| +4 \| 1\.00", drawn)
    assert "vla" not in text
    assert "## Kinetix and LIBERO under random delays" in text
    # The privileged method is no part of it.
    assert re.search(r"\| LIBERO +\| heavy +\| +2 \| +3 \| 1\.00", text)


def test_the_page_of_the_committed_studies(tmp_path):
    for place in (*transfer.WORLDS, transfer.RANDOM_WORLDS[0]):
        (tmp_path / place.root).symlink_to(ROOT / "exp_runs" / place.root)
    compare_worlds.run(compare_worlds.Arguments(root=tmp_path, delays=(2,), profiles=("heavy",)))
    text = (tmp_path / "transfer.md").read_text()
    assert "| Kinetix, LIBERO-Spatial   |   2 | 12, 10 |" in text
    assert "## Kinetix and Gymnasium" in text
    assert "no two worlds have three methods in common. Only Kinetix has a study of them" in text
    assert re.search(r"\| Kinetix +\| heavy +\| +6 \| +10 \| 0\.\d\d \[", text)
    with pytest.raises(ValueError, match=r"no two of Kinetix, .* at delays \[9\]: run their studies"):
        compare_worlds.run(compare_worlds.Arguments(root=tmp_path, delays=(9,)))
    with pytest.raises(ValueError, match="delays entry"):
        compare_worlds.Arguments(delays=(-1,))
