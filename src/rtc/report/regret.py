"""The regret of estimating the delay, as a table per curve: a method, with what else its arms have in common."""

from collections.abc import Sequence

import pandas as pd

from rtc.report import catalogue
from rtc.study import regrets
from rtc.study.outcome import Outcome
from rtc.study.questions import ArmKey
from rtc.study.regrets import Point
from rtc.study.study import Study


def there(study: Study, outcome: Outcome) -> dict[str, list[Point]]:
    """By curve, the points that all levels have."""
    return regrets.curves([one for one in regrets.points(study) if outcome.complete(one.key, one.oracle)])


def tables(outcome: Outcome, keys: Sequence[ArmKey]) -> dict[str, pd.DataFrame]:
    """By curve: a row per window and quantile, a column per profile, their mean, and the largest of them.

    The mean and the largest stand where an estimator was tried under all profiles that the curve has.
    """
    metric, found = catalogue.metric(outcome.study.primary), {}
    for curve, points in there(outcome.study, outcome).items():
        covered = [point for point in points if point.key in keys and point.oracle in keys]
        profiles = list(dict.fromkeys(point.key[0] for point in covered))
        rows = []
        for (window, quantile), of in regrets.by_estimator(covered).items():
            single = {name: outcome.difference(point.regret, metric.column).interval for name, point in of.items()}
            row: dict[str, object] = {"window": window, "quantile": f"{quantile:g}"}
            row |= {name: metric.interval(single[name], signed=True) if name in single else "" for name in profiles}
            if len(profiles) > 1 and len(single) == len(profiles):
                mean = regrets.over_profiles(outcome, list(of.values()), metric.column)
                row["mean"] = metric.interval(mean, signed=True)
                row["largest"] = metric.show(max(one.value for one in single.values()), signed=True)
            rows.append(row)
        if rows:
            found[curve] = pd.DataFrame(rows).fillna("")
    return found
