"""What holds over training seeds: the table of a study's aggregates."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rtc.report import catalogue
from rtc.report.catalogue import Metric
from rtc.shared import tables
from rtc.study import aggregates
from rtc.study.aggregates import Sampled, Scores
from rtc.study.outcome import Outcome
from rtc.study.questions import Aggregate, ArmKey


def table(outcome: Outcome, chosen: Sequence[Aggregate]) -> pd.DataFrame:
    """A row per aggregate whose arms are complete, of the primary metric: means, robust means, and each seed's own."""
    metric = catalogue.metric(outcome.study.primary)
    return pd.DataFrame(_row(outcome, one, metric) for one in chosen if outcome.complete(*one.arms))


def _row(outcome: Outcome, one: Aggregate, metric: Metric) -> dict[str, str]:
    candidates, references = zip(*one.runs, strict=True)
    values = _scores(outcome, candidates, metric.column)
    differs = references[0] is not None
    if differs:
        other = _scores(outcome, references, metric.column)
        scores = Scores(values.values - other.values)
    else:
        scores = values

    def show(statistic, sampled: Sampled) -> str:
        return metric.interval(aggregates.interval(statistic, scores, sampled=sampled), signed=differs)

    row = {"what": one.name, "profile": one.profile, "seeds": str(len(one.runs))}
    row["mean [episodes]"] = show(aggregates.mean, "episodes")
    row["mean [other seeds]"] = show(aggregates.mean, "policies")
    if len(outcome.levels) > 1:
        row["mean [other seeds and levels]"] = show(aggregates.mean, "levels")
    # Of two levels the median is the mean, and of fewer than four scores the interquartile mean leaves none out.
    if len(outcome.levels) > 2:
        row["median level [other seeds]"] = show(aggregates.median, "policies")
    if scores.matrix.size >= 4:
        row["interquartile mean [other seeds]"] = show(aggregates.interquartile_mean, "policies")
    if differs:
        better = aggregates.interval(aggregates.probability_of_improvement, values, other, sampled="policies")
        row["P(improvement) [other seeds]"] = tables.interval(better.value, better.low, better.high, 2)
    means = scores.matrix.mean(axis=1)
    return row | {"seed by seed": ", ".join(metric.show(mean, signed=differs) for mean in means)}


def _scores(outcome: Outcome, keys: Sequence[ArmKey], metric: str) -> Scores:
    return Scores(np.array([[outcome.episodes(level, key, metric) for level in outcome.levels] for key in keys]))
