"""A map of delays and execute horizons."""

import dataclasses
from collections import Counter
from collections.abc import Hashable, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rtc.report import catalogue
from rtc.report.figures import style
from rtc.study import layout
from rtc.study.outcome import Outcome
from rtc.study.study import Arm, Study


def draw(study: Study, outcome: Outcome) -> Figure | None:
    """The primary metric over constant delays (down) and execute horizons (across), a panel per method.

    A method has one where a delay was tried with several horizons, and several where it has other settings besides.
    Crosses mark arms in which ticks starve.
    """
    there = [one for one in study.arms if one.config.delay_profile.mode == "fixed" and outcome.complete(one.key)]
    groups: dict[Hashable, list[Arm]] = {}
    for one in there:
        anywhere = dataclasses.replace(one.config.execution, execute_horizon=1)
        groups.setdefault(one.besides_delay(execution=anywhere), []).append(one)
    panels = [arms for arms in groups.values() if _over_horizons(arms)]
    if not panels:
        return None
    metric = catalogue.metric(study.primary)
    names = layout.told_apart([(arms[0].config.method, arms[0].method) for arms in panels])
    with matplotlib.rc_context(style.STYLE):
        figure, axes = style.subplots(len(panels), 1, (style.WIDTH, 3.2 * len(panels)))
        for ax, name, arms in zip(axes[:, 0], names, panels, strict=True):
            _panel(ax, outcome, {_place(one): one for one in arms})
            ax.set_title(f"{name}, {metric.axis}", fontweight="bold")
            ax.set_ylabel("delay d (ticks)")
    return figure


def _over_horizons(arms: Sequence[Arm]) -> bool:
    """Whether a delay was tried with several horizons."""
    delays = Counter(_place(one)[0] for one in arms)
    return any(delay and count > 1 for delay, count in delays.items())


def _place(one: Arm) -> tuple[int, int]:
    """Delay and execute horizon of an arm."""
    return one.config.delay_profile.fixed_delay or 0, one.config.execution.execute_horizon


def _panel(ax: Axes, outcome: Outcome, arms: dict[tuple[int, int], Arm]) -> None:
    metric = catalogue.metric(outcome.study.primary)
    delays, horizons = (sorted({place[axis] for place in arms}) for axis in (0, 1))
    table = np.full((len(delays), len(horizons)), np.nan)
    for (delay, horizon), one in arms.items():
        table[delays.index(delay), horizons.index(horizon)] = metric.scale * outcome.mean(one.key, metric.column).value
    limits = (0, 100) if metric.rate else (np.nanmin(table), np.nanmax(table))
    for (delay, horizon), one in arms.items():
        row, column = delays.index(delay), horizons.index(horizon)
        value, starves = table[row, column], outcome.cell_mean(one.key, "starved_fraction") > 0
        text = f"{value:.0f}" if metric.rate else f"{value:.2f}"
        dark = value < limits[0] + 0.6 * (limits[1] - limits[0])
        mark = " \N{MULTIPLICATION SIGN}" if starves else ""
        ax.text(column, row, text + mark, ha="center", va="center", color="white" if dark else "black")
    ax.imshow(table, vmin=limits[0], vmax=limits[1], cmap="cividis", aspect="auto")
    ax.set_xticks(range(len(horizons)), horizons)
    ax.set_yticks(range(len(delays)), delays)
    ax.set_xlabel("execute horizon s (ticks)")
