"""Tables and the figure of the delay sweep."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rtc.report import figures, web
from rtc.shared import files, provenance, tables
from rtc.study import statistics
from rtc.study.protocols import published_curve
from rtc.study.protocols.published_curve import NAIVE, PUBLISHED, REALTIME, Point, Sweep

INTRODUCTION = """\
Every query takes d control ticks, the controller knows d, and s actions are executed per query. Solve rates in percent;
brackets hold 95 % intervals: Wilson's for a level, normal ones for means over levels and for paired
differences (all methods meet the same episodes). `published`: arXiv 2509.23224, table 4, with other, larger policies.
"""


def write(sweep: Sweep, curve: Sequence[Point], grid: Sequence[Point], root: Path) -> None:
    """Writes results.csv, summary.md and figures/solve_rate.png (and .svg) below `root`.

    Raises:
        ValueError: the sweep holds no cells.
    """
    if not sweep.cells:
        raise ValueError(f"{root}/cells holds no finished cells of this sweep: run it without --report-only")
    files.atomic_write(root / "results.csv", files.to_csv(sweep.rows()))
    figures.save(figure(sweep, curve), root / "figures" / "solve_rate")
    text = page(sweep, curve, grid)
    files.atomic_write(root / "summary.md", text)
    web.write(root, "Solve rate against a constant inference delay")
    print(f"{tables.format_table(published_curve.mean_table(sweep, curve))}\nwrote {root / 'summary.md'}")


def page(sweep: Sweep, curve: Sequence[Point], grid: Sequence[Point]) -> str:
    """summary.md."""
    levels = sweep.names(0)
    parts = [
        "# Solve rate against a constant inference delay\n",
        INTRODUCTION,
        f"## Mean over {len(levels)} levels\n\n{tables.format_table(published_curve.mean_table(sweep, curve))}\n",
        verdict(sweep, curve),
        "![Solve rate against delay](figures/solve_rate.png)\n",
    ]
    for method in sweep.names(1):
        parts.append(f"## {method}\n\n{tables.format_table(published_curve.level_table(sweep, method, curve))}\n")
    if grid:
        parts.append(f"## All d and s\n\n{tables.format_table(published_curve.mean_table(sweep, grid))}\n")
    parts.append(provenance.cells_origin(sweep.cells.values()) + provenance.footer())
    return "\n".join(parts)


def verdict(sweep: Sweep, curve: Sequence[Point]) -> str:
    """Whether realtime lies above naive at every delay, in the mean."""
    lines = []
    for point in curve:
        if point.delay and all(sweep.complete(method, point) for method in (NAIVE, REALTIME)):
            gain = sweep.gain(REALTIME, NAIVE, point)
            word = "above" if gain.low > 0 else "below" if gain.high < 0 else "not told apart from"
            lines.append(
                f"- d = {point.delay}: realtime is {word} naive ({statistics.percent(gain, signed=True)} points)"
            )
    return "\n".join([*lines, ""])


def figure(sweep: Sweep, curve: Sequence[Point]) -> Figure:
    """The mean over levels with the published curves, and a small panel per level."""
    levels, methods = sweep.names(0), sweep.names(1)
    with matplotlib.rc_context(figures.STYLE):
        canvas = Figure(figsize=(12, 5.6), layout="constrained")
        wide, small = canvas.subfigures(1, 2, width_ratios=(1, 1.9))
        mean = wide.subplots()
        for method in methods:
            points = [point for point in curve if sweep.complete(method, point)]
            intervals = [sweep.mean(method, point) for point in points]
            _line(mean, [p.delay for p in points], intervals, figures.method_color(method, methods), method)
        for method, rates in PUBLISHED.items():
            color = figures.method_color(method, methods)
            mean.plot(range(len(rates)), [100 * r for r in rates], ":", color=color, label=f"{method}, published")
        mean.set_title(f"Mean of {len(levels)} levels", fontweight="bold")
        mean.set_xlabel("inference delay d (control ticks), s = max(d, 1)")
        mean.set_ylabel("episodes solved (%)")
        mean.set_xticks([point.delay for point in curve])
        mean.legend(frameon=False, loc="lower left")
        for ax, level in figures.solve_rate_panels(small, levels, sharex=True):
            _level_panel(ax, sweep, curve, level)
    return canvas


def _level_panel(ax: Axes, sweep: Sweep, curve: Sequence[Point], level: str) -> None:
    methods = sweep.names(1)
    for method in methods:
        points = [point for point in curve if (level, method, point) in sweep.cells]
        intervals = [statistics.solve_rate([sweep.cells[level, method, point]]) for point in points]
        _line(ax, [p.delay for p in points], intervals, figures.method_color(method, methods), method)
    ax.set_xticks([point.delay for point in curve])


def _line(ax: Axes, x: Sequence[int], intervals: Sequence[statistics.Interval], color: str, label: str) -> None:
    values = [100 * interval.value for interval in intervals]
    ax.plot(x, values, "o-", color=color, markersize=3, linewidth=1.2, label=label)
    low, high = ([100 * getattr(interval, end) for interval in intervals] for end in ("low", "high"))
    ax.vlines(x, low, high, color=color, linewidth=1.8)
