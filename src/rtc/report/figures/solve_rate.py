"""Solve rate against a constant delay, with published curves beside."""

from collections.abc import Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rtc.report import catalogue
from rtc.report.figures import style
from rtc.study.outcome import Outcome
from rtc.study.statistics import Interval
from rtc.study.study import Arm, Study


def draw(study: Study, outcome: Outcome) -> Figure | None:
    """The mean over levels with the published curves, and a small panel per level; s = max(d, 1)."""
    curves = {method: found for method in study.methods if (found := _curve(study, method))}
    if not curves:
        return None
    methods = list(curves)
    with matplotlib.rc_context(style.STYLE):
        canvas = Figure(figsize=(12, 5.6), layout="constrained")
        wide, small = canvas.subfigures(1, 2, width_ratios=(1, 1.9))
        mean = wide.subplots()
        for method, delays in curves.items():
            there = {delay: one.key for delay, one in delays.items() if outcome.complete(one.key)}
            points = {delay: outcome.mean(key, catalogue.PRIMARY.column) for delay, key in there.items()}
            _line(mean, points, style.method_color(method, methods), method)
        for method, rates in study.published.items():
            color = style.method_color(method, methods)
            points = {d: 100 * rates[one.profile] for d, one in curves[method].items() if one.profile in rates}
            mean.plot(list(points), list(points.values()), ":", color=color, label=f"{method}, published")
        mean.set_title(f"Mean of {len(outcome.levels)} levels", fontweight="bold")
        mean.set_xlabel("inference delay d (control ticks), s = max(d, 1)")
        mean.set_ylabel(catalogue.PRIMARY.axis)
        mean.set_xticks(sorted({delay for delays in curves.values() for delay in delays}))
        mean.legend(frameon=False, loc="lower left")
        for ax, level in style.solve_rate_panels(small, outcome.levels, sharex=True):
            _level_panel(ax, outcome, curves, level)
    return canvas


def _curve(study: Study, method: str) -> dict[int, Arm]:
    """The arms of a method on the curve, by delay."""
    return {
        one.config.delay_profile.fixed_delay or 0: one
        for one in study.arms
        if one.method == method
        and one.config.delay_profile.mode == "fixed"
        and one.config.execution.execute_horizon == max(one.config.delay_profile.fixed_delay or 0, 1)
    }


def _level_panel(ax: Axes, outcome: Outcome, curves: Mapping[str, Mapping[int, Arm]], level: str) -> None:
    methods = list(curves)
    for method, delays in curves.items():
        points = {d: outcome.rate(level, one.key) for d, one in delays.items() if (level, *one.key) in outcome.cells}
        _line(ax, points, style.method_color(method, methods), method)
    ax.set_xticks(sorted({delay for delays in curves.values() for delay in delays}))


def _line(ax: Axes, points: Mapping[int, Interval], color: str, label: str) -> None:
    intervals: Sequence[Interval] = list(points.values())
    values = [100 * interval.value for interval in intervals]
    ax.plot(list(points), values, "o-", color=color, markersize=3, linewidth=1.2, label=label)
    low, high = ([100 * getattr(interval, end) for interval in intervals] for end in ("low", "high"))
    ax.vlines(list(points), low, high, color=color, linewidth=1.8)
