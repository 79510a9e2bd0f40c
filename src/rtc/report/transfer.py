"""The page that holds worlds against each other: do methods do elsewhere what they do on the benchmark's levels?"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from rtc.report import catalogue, page
from rtc.report.page import Page, Section
from rtc.shared import provenance, tables
from rtc.study.transfer import OPPOSITE, SAME, Place, Transfer, verdict

_INTRODUCTION = """\
Solve rates of the methods that two worlds have in common, at constant delays that methods are told. Kinetix: the
benchmark's levels, policies `h8`, s = max(d, 1). LIBERO: libero_spatial on 40 numbers of the state and no images, with
a small policy that learned a scripted expert, s = max(d, 1). Gymnasium: s = 1. One policy per level or suite, so
nothing is said of other training seeds. Made from the archives of {folders} by

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


def write(root: Path, places: Sequence[Place], delays: Sequence[int], origin: str, started: float) -> Path:
    """Writes transfer.md below `root`; returns it.

    Args:
        places: the worlds.
        delays: constant delays, in control ticks.
        origin: what the page says of its source.
        started: when the work began, from `time.time`.

    Raises:
        ValueError: no two worlds have three methods in common at any of the delays.
    """
    found = list(_transfers(places, delays))
    if not found:
        names = ", ".join(place.name for place in places)
        raise ValueError(f"no two of {names} have three methods in common at delays {list(delays)}: run their studies")
    folders = ", ".join(f"`{place.root}`" for place in places)
    sections = [Section("", [_INTRODUCTION.format(folders=folders)]), _correlations(found)]
    sections += [_differences(pair, [one for one in found if one[1].places == pair]) for pair in _pairs(found)]
    text = Page("Do worlds agree on methods?", sections, origin + provenance.footer(started))
    return page.write(root, {"en": text}, {}, name="transfer")


Found = Sequence[tuple[int, Transfer]]


def _transfers(places: Sequence[Place], delays: Sequence[int]) -> Iterator[tuple[int, Transfer]]:
    for delay in delays:
        for pair in itertools.combinations(places, 2):
            one = Transfer.at(pair, delay)
            if len(one.methods) >= 3:
                yield delay, one


def _pairs(found: Found) -> list[tuple[Place, Place]]:
    return list(dict.fromkeys(one.places for _, one in found))


def _correlations(found: Found) -> Section:
    rows = [
        {
            "worlds": f"{one.places[0].name}, {one.places[1].name}",
            "d": delay,
            "levels": f"{len(one.outcomes[0].levels)}, {len(one.outcomes[1].levels)}",
            "methods": len(one.methods),
            "rank correlation": tables.interval(*dataclasses.astuple(one.correlation), 2),
        }
        for delay, one in found
    ]
    return Section("Rank correlation", [_CORRELATION, pd.DataFrame(rows)])


def _differences(pair: tuple[Place, Place], found: Found) -> Section:
    metric, rows = catalogue.PRIMARY, []
    for delay, one in found:
        for method, (here, there) in one.differences().items():
            rows.append(
                {
                    "d": delay,
                    "method": method,
                    pair[0].name: metric.interval(here, signed=True),
                    pair[1].name: metric.interval(there, signed=True),
                    "": verdict(here, there),
                }
            )
    text = _DIFFERENCES.format(reference=found[0][1].reference, same=SAME, opposite=OPPOSITE)
    return Section(f"{pair[0].name} and {pair[1].name}", [text, pd.DataFrame(rows)])
