"""The page that holds worlds against each other: do methods do elsewhere what they do on the benchmark's levels?"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from rtc.report import catalogue, page
from rtc.report.page import Page, Section
from rtc.shared import provenance
from rtc.study import transfer
from rtc.study.transfer import OPPOSITE, SAME, Condition, Place, Transfer, verdict

_INTRODUCTION = """\
Solve rates of the methods that two worlds have in common, at constant delays that methods are told. Kinetix: the
benchmark's levels, policies `h8`, s = max(d, 1). LIBERO: libero_spatial on 40 numbers of the state and no images, with
a small policy that learned a scripted expert, s = max(d, 1). Gymnasium: s = 1. One policy per level or suite, so
nothing is said of other training seeds. Random delays, further below, are estimated: s = 2. Made from the
archives of {folders} by

```bash
python exp/compare_worlds.py
```
"""
_CORRELATION = """\
Spearman's correlation of the methods' mean solve rates between two worlds: 1 where both rank them alike. 95 % intervals
are for levels as samples, resampled in both worlds, and missing where one has two; with so few methods and levels they
are wide.
"""
_DIFFERENCES = """\
What a method solves more than `{reference}` in each world, in points: means over levels that are given, with 95 % score
intervals of paired episodes. `{same}` and `{opposite}` need both intervals without 0; they are not corrected for the
number of comparisons.
"""


_NONE = """\
There is nothing to compare: of random delays, no two worlds have three methods in common. {which}
"""
_WITHIN = """\
For comparison, how far the levels of one world agree: mean Spearman correlation between them, of all its methods that a
robot could run, with 95 % jackknife intervals for levels as a sample.
"""


def write(
    root: Path,
    places: Sequence[Place],
    random: Sequence[Place],
    delays: Sequence[int],
    profiles: Sequence[str],
    origin: str,
    started: float,
) -> Path:
    """Writes transfer.md below `root`; returns it.

    Args:
        places: the worlds at constant delays.
        random: those under random delays; they may be none.
        delays: constant delays, in control ticks.
        profiles: names of random ones.
        origin: what the page says of its source.
        started: when the work began, from `time.time`.

    Raises:
        ValueError: no two worlds have three methods in common at any of the constant delays.
    """
    found, drawn = transfer.compared(places, delays), transfer.compared(random, profiles)
    if not found:
        names = ", ".join(place.name for place in places)
        raise ValueError(f"no two of {names} have three methods in common at delays {list(delays)}: run their studies")
    there = [place for place in random if any(place.outcomes(profile).solved for profile in profiles)]
    folders = ", ".join(f"`{place.root}`" for place in [*places, *there])
    sections = [
        Section("", [_INTRODUCTION.format(folders=folders)]),
        Section("Rank correlation", [_CORRELATION, correlations(found)]),
        Section("Rank correlation under random delays", [correlations(drawn) if drawn else _nothing(there)]),
        Section("Agreement of a world's own levels", [_WITHIN, _within([(places, delays), (there, profiles)])]),
    ]
    for named, which in (("", found), (" under random delays", drawn)):
        sections += [
            _differences(pair, [one for one in which if one[1].places == pair], named) for pair in _pairs(which)
        ]
    text = Page("Do worlds agree on methods?", sections, origin + provenance.footer(started))
    return page.write(root, {"en": text}, {}, name="transfer")


Found = Sequence[tuple[Condition, Transfer]]


def _pairs(found: Found) -> list[tuple[Place, Place]]:
    return list(dict.fromkeys(one.places for _, one in found))


def _nothing(there: Sequence[Place]) -> str:
    names = " and ".join(place.name for place in there)
    return _NONE.format(which=f"Only {names} has a study of them." if names else "None has a study of them.")


def correlations(found: Found) -> pd.DataFrame:
    """Rank correlations by the pair of worlds and the condition."""
    rows = [
        {
            "worlds": f"{one.places[0].name}, {one.places[1].name}",
            _heading(condition): condition,
            "levels": f"{len(one.outcomes[0].levels)}, {len(one.outcomes[1].levels)}",
            "methods": len(one.methods),
            "rank correlation": transfer.shown(one.correlation),
        }
        for condition, one in found
    ]
    return pd.DataFrame(rows)


def _heading(condition: Condition) -> str:
    return "profile" if isinstance(condition, str) else "d"


def _within(which: Sequence[tuple[Sequence[Place], Sequence[Condition]]]) -> pd.DataFrame:
    rows = []
    for places, conditions in which:
        for place in places:
            for condition in conditions:
                outcomes = place.outcomes(condition)
                if len(outcomes.possible) >= transfer.FEWEST_METHODS and len(outcomes.levels) > 1:
                    rows.append(
                        {
                            "world": place.name,
                            "delays": condition if isinstance(condition, str) else f"d = {condition}",
                            "levels": len(outcomes.levels),
                            "methods": len(outcomes.possible),
                            "between levels": transfer.shown(outcomes.agreement),
                        }
                    )
    return pd.DataFrame(rows)


def _differences(pair: tuple[Place, Place], found: Found, named: str) -> Section:
    metric, rows = catalogue.PRIMARY, []
    for condition, one in found:
        for method, (here, there) in one.differences().items():
            rows.append(
                {
                    _heading(condition): condition,
                    "method": method,
                    pair[0].name: metric.interval(here, signed=True),
                    pair[1].name: metric.interval(there, signed=True),
                    "": verdict(here, there),
                }
            )
    text = _DIFFERENCES.format(reference=found[0][1].reference, same=SAME, opposite=OPPOSITE)
    return Section(f"{pair[0].name} and {pair[1].name}{named}", [text, pd.DataFrame(rows)])
