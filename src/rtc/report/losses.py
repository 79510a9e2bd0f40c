"""Where methods lose: the table of the means over levels, and everything as a CSV file."""

from collections.abc import Sequence

import pandas as pd

from rtc.report import catalogue, insight
from rtc.study import losses, pairs
from rtc.study.outcome import Outcome
from rtc.study.questions import ArmKey


def there(outcome: Outcome) -> dict[ArmKey, losses.Reference]:
    """The arms whose loss can be divided, as all levels have what that takes."""
    found = losses.references(outcome.study)
    return {key: reference for key, reference in found.items() if outcome.complete(key, *reference.keys)}


def table(outcome: Outcome, keys: Sequence[ArmKey]) -> pd.DataFrame:
    """Per arm: its loss, the parts and the starved ticks; means over the levels."""
    metric, possible, rows = catalogue.metric(outcome.study.primary), there(outcome), []
    starved, seen = catalogue.metric("starved_fraction"), insight.by_arm(outcome.study, keys)
    for key in keys:
        if key not in possible:
            continue
        levels = [losses.of_level(outcome, key, possible[key], metric.column, level) for level in outcome.levels]
        row = {"profile": key[0], "method": key[1]} | insight.column(seen, key)
        for name in (losses.TOTAL, *losses.PARTS):
            interval = pairs.table_test(metric.column, [found[name] for found in levels]).interval
            row[f"{name} (pp)" if metric.rate else name] = metric.interval(interval)
        rows.append(row | {starved.heading: starved.show(outcome.cell_mean(key, starved.column))})
    return pd.DataFrame(rows)


def rows(outcome: Outcome) -> pd.DataFrame:
    """Every arm, level and part, in the metric's own unit: for losses.csv."""
    metric, found = outcome.study.primary, []
    for key, reference in there(outcome).items():
        for level in outcome.levels:
            parts = losses.of_level(outcome, key, reference, metric, level)
            for name, values in parts.items():
                interval = pairs.table_test(metric, [values]).interval
                place = {"profile": key[0], "method": key[1], "level": level, "part": name}
                found.append(place | {"loss": interval.value, "low": interval.low, "high": interval.high})
    return pd.DataFrame(found)
