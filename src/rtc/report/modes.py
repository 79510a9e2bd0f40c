"""The table of which of two right answers episodes took."""

from collections.abc import Sequence

import pandas as pd

from rtc.report import catalogue
from rtc.shared import tables
from rtc.study import modes
from rtc.study.outcome import Outcome
from rtc.study.questions import ArmKey


def table(outcome: Outcome, keys: Sequence[ArmKey]) -> pd.DataFrame:
    """A row per level and arm whose cells say what was taken."""
    rows = []
    for level in outcome.levels:
        for key in keys:
            cells = outcome.cells.get((level, *key), ())
            if not cells or not modes.has_modes(cells):
                continue
            found = modes.tally(cells)
            switches = (found.switches.value, found.switches.low, found.switches.high)
            rows.append(
                {
                    "level": level,
                    "profile": key[0],
                    "method": key[1],
                    catalogue.PRIMARY.heading: catalogue.rate(outcome.rate(level, key)),
                    "answer 0 / 1 / none": " / ".join(map(str, found.counts)),
                    "answer 1 (%)": catalogue.rate(found.second),
                    "switched (%)": catalogue.rate(found.switched),
                    "switches": tables.interval(*switches, 2),
                }
            )
    return pd.DataFrame(rows)
