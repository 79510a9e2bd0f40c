"""Solve rate against a constant delay, with published curves beside."""

from collections.abc import Iterator, Mapping, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rtc.report import catalogue
from rtc.report.figures import arms, palette, style
from rtc.report.figures.palette import GREY, Look
from rtc.study.outcome import Outcome
from rtc.study.statistics import Interval
from rtc.study.study import Arm, Study

Curves = Mapping[str, Mapping[int, Arm]]


def draw(study: Study, outcome: Outcome) -> dict[str, Figure]:
    """The mean over levels with the published curves, and a small panel per level; s = max(d, 1).

    Dashed: without delay, what comparisons are made against. It stands in every figure where methods are too many for
    one.
    """
    curves = {method: found for method in study.methods if (found := _curve(study, method))}
    reference = _reference(study, list(curves))
    return {
        f"_{number + 1}" if number else "": _figure(study, outcome, {name: curves[name] for name in chosen}, reference)
        for number, chosen in enumerate(_divided(list(curves), reference))
    }


def _reference(study: Study, methods: Sequence[str]) -> str | None:
    """The method that others are compared with; the first where there are no comparisons."""
    found = [key[1] for key in arms.references(study, [one.key for one in study.arms]) if key[1] in methods]
    return next(iter([*found, *methods]), None)


def _divided(methods: Sequence[str], reference: str | None) -> Iterator[list[str]]:
    """The methods of every figure, the reference among them."""
    if len(methods) <= style.MOST_ARMS:
        yield from [list(methods)] if methods else []
        return
    others, size = [method for method in methods if method != reference], style.MOST_ARMS - 1
    count = -(-len(others) // size)
    size = -(-len(others) // count)
    for number in range(count):
        yield [reference, *others[number * size : (number + 1) * size]]


def _figure(study: Study, outcome: Outcome, curves: Curves, reference: str | None) -> Figure:
    looks = palette.of_study(outcome.study)
    rows = -(-len(outcome.levels) // style.LEVELS_PER_ROW)
    with matplotlib.rc_context(style.STYLE):
        canvas = Figure(figsize=(style.WIDTH, 4.0 + 1.35 * rows), layout="constrained")
        large, small = canvas.subfigures(2, 1, height_ratios=(4.0, 1.35 * rows))
        mean = large.subplots()
        for method, delays in curves.items():
            there = {delay: one.key for delay, one in delays.items() if outcome.complete(one.key)}
            points = {delay: outcome.mean(key, catalogue.PRIMARY.column) for delay, key in there.items()}
            _line(mean, points, looks[method], method)
        for method, rates in study.published.items():
            if method in curves:
                points = {d: 100 * rates[one.profile] for d, one in curves[method].items() if one.profile in rates}
                label = f"{method}, published"
                mean.plot(list(points), list(points.values()), ":", color=looks[method].color, label=label)
        if reference is not None and 0 in curves[reference] and outcome.complete(curves[reference][0].key):
            without = outcome.mean(curves[reference][0].key, catalogue.PRIMARY.column).value
            label = f"{reference}, no delay"
            mean.axhline(100 * without, color=GREY, linestyle=(0, (4, 3)), linewidth=1, zorder=0, label=label)
        mean.set_title(f"Mean of {len(outcome.levels)} levels", fontweight="bold")
        mean.set_xlabel("inference delay d (control ticks), s = max(d, 1)")
        mean.set_ylabel(catalogue.PRIMARY.axis)
        mean.set_xticks(sorted({delay for delays in curves.values() for delay in delays}))
        large.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
        for ax, level in style.solve_rate_panels(small, outcome.levels, sharex=True):
            _level_panel(ax, outcome, curves, level, looks)
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


def _level_panel(ax: Axes, outcome: Outcome, curves: Curves, level: str, looks: Mapping[str, Look]) -> None:
    for method, delays in curves.items():
        points = {d: outcome.rate(level, one.key) for d, one in delays.items() if (level, *one.key) in outcome.cells}
        _line(ax, points, looks[method], method, 3)
    ax.set_xticks(sorted({delay for delays in curves.values() for delay in delays}))


def _line(ax: Axes, points: Mapping[int, Interval], look: Look, label: str, size: float = 5) -> None:
    intervals: Sequence[Interval] = list(points.values())
    values = [100 * interval.value for interval in intervals]
    ax.plot(list(points), values, **look.style(size), linewidth=1.2, label=label)
    low, high = ([100 * getattr(interval, end) for interval in intervals] for end in ("low", "high"))
    ax.vlines(list(points), low, high, color=look.color, linewidth=1.8)
