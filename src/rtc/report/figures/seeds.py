"""Outcomes by profile and method, with the seeds that they were measured with."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from rtc.report import catalogue, study_tables
from rtc.report.figures import palette, rows
from rtc.report.figures.palette import Look
from rtc.report.figures.rows import Panel, Row
from rtc.study.outcome import Outcome
from rtc.study.statistics import Interval
from rtc.study.study import Study

PANELS = tuple(
    catalogue.metric(column)
    for column in (catalogue.PRIMARY.column, "returned_episode_returns", "rms_ddelta_action", "max_ddelta_action")
)


def draw(study: Study, outcome: Outcome) -> Figure:
    """Means with 95 % intervals over all episodes, a dot per seed, and the arm without delay as a line."""
    summary = study_tables.seed_summary(outcome, [one.key for one in study.arms])
    is_baseline = pd.Series(list(zip(summary["profile"], summary["method"], strict=True))) == study.baseline
    baseline = summary[is_baseline.to_numpy()]
    lines = {} if baseline.empty else baseline.iloc[0].to_dict()
    return outcomes(summary[~is_baseline.to_numpy()], outcome.rows(), lines, palette.of_study(outcome.study))


def outcomes(
    summary: pd.DataFrame, per_seed: pd.DataFrame, baseline: Mapping[str, float], looks: Mapping[str, Look]
) -> Figure:
    """Group means with 95 % intervals, per-seed means as dots and the zero-delay baseline as a line.

    Args:
        summary: one row per (profile, method), with `<metric>`, `<metric>_low` and `<metric>_high`.
        per_seed: one row per (profile, method, seed) with the metrics.
        baseline: metric -> value at zero delay; metrics that are missing get no line.
        looks: by method.
    """
    panels = {}
    for metric in (panel for panel in PANELS if panel.column in summary.columns):
        found = []
        for row in summary.to_dict("records"):
            seeds = per_seed[(per_seed["profile"] == row["profile"]) & (per_seed["method"] == row["method"])]
            value, low, high = (row[metric.column + end] * metric.scale for end in ("", "_low", "_high"))
            dots = (seeds[metric.column] * metric.scale).tolist()
            label = f"{row['method']}, {row['profile']}"
            found.append(Row(label, looks[row["method"]], Interval(value, low, high), dots))
        lines = {"no delay": baseline[metric.column] * metric.scale} if metric.column in baseline else {}
        panels[metric.title[0].upper() + metric.title[1:]] = Panel(found, lines, "%" if metric.rate else metric.unit)
    return rows.draw(rows.divided(panels), "")
