"""Rows with a mark, an interval and dots, in panels below each other: the form of most figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from rtc.report.figures import style
from rtc.report.figures.palette import GREY, LIGHT, Look
from rtc.study.statistics import Interval

# A panel more, and there is another figure.
MOST_PANELS = 4
_ROW, _LINE, _HEAD, _FOOT = 0.25, 0.09, 0.42, 0.35  # inches


@dataclass(frozen=True)
class Row:
    """A row of a panel.

    Attributes:
        label: its name.
        look: colour and mark.
        interval: an estimate with its interval, drawn as a mark on a line.
        dots: what the estimate is the mean of, by level or seed, drawn as small dots.
    """

    label: str
    look: Look
    interval: Interval
    dots: Sequence[float] = ()


@dataclass(frozen=True)
class Panel:
    """A panel: its rows, and dashed lines to read them against, by name."""

    rows: Sequence[Row]
    lines: Mapping[str, float]
    axis: str = ""


def divided(panels: Mapping[str, Panel]) -> dict[str, Panel]:
    """The same panels, those with too many rows in parts."""
    found = {}
    for title, panel in panels.items():
        count = -(-len(panel.rows) // style.MOST_ARMS)
        for number in range(count):
            size = -(-len(panel.rows) // count)
            part = panel.rows[number * size : (number + 1) * size]
            name = f"{title} ({number + 1} of {count})" if count > 1 else title
            found[name] = Panel(part, panel.lines, panel.axis)
    return found


def figures(panels: Mapping[str, Panel], axis: str, scale: float = 1.0) -> dict[str, Figure]:
    """Figures of at most four panels each, by a suffix for their files; values are multiplied by `scale`."""
    found = list(divided(panels).items())
    count = -(-len(found) // MOST_PANELS)
    size = -(-len(found) // max(count, 1))
    parts = [dict(found[number * size : (number + 1) * size]) for number in range(count)]
    return {"" if number == 0 else f"_{number + 1}": draw(part, axis, scale) for number, part in enumerate(parts)}


def draw(panels: Mapping[str, Panel], axis: str, scale: float = 1.0) -> Figure:
    """One figure; panels share their axis unless they name their own."""
    heights = [_HEAD + sum(_ROW + _LINE * row.label.count("\n") for row in panel.rows) for panel in panels.values()]
    own = any(panel.axis for panel in panels.values())
    with matplotlib.rc_context(style.STYLE):
        size = (style.WIDTH, sum(heights) + _FOOT * (len(heights) if own else 1))
        figure, axes = style.subplots(len(panels), 1, size, sharex=not own, height_ratios=heights)
        for ax, (title, panel) in zip(axes[:, 0], panels.items(), strict=True):
            _panel(ax, panel, scale)
            if title:
                ax.set_title(title, fontweight="bold")
            if own:
                ax.set_xlabel(panel.axis)
        if not own:
            axes[-1, 0].set_xlabel(axis)
    return figure


def _panel(ax: Axes, panel: Panel, scale: float) -> None:
    for place, row in enumerate(panel.rows):
        value, low, high = (scale * x for x in (row.interval.value, row.interval.low, row.interval.high))
        if len(row.dots) > 1:
            heights = np.full(len(row.dots), place + 0.24)
            ax.scatter(scale * np.array(row.dots), heights, s=9, color=row.look.color, alpha=0.6, linewidths=0)
        ax.plot([low, high], [place, place], color=row.look.color, linewidth=2.0, solid_capstyle="butt")
        ax.plot(value, place, **row.look.style(), linestyle="none")
    for name, value in panel.lines.items():
        ax.axvline(scale * value, color=GREY, linestyle=(0, (4, 3)), linewidth=1, zorder=0)
        if len(panel.lines) > 1:
            continue  # each passes through the mark of its arm
        where = blended_transform_factory(ax.transData, ax.transAxes)
        ax.text(scale * value, 1.0, name, transform=where, ha="center", va="bottom", color=GREY, fontsize=8)
    ax.set_yticks(range(len(panel.rows)), [row.label for row in panel.rows])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(panel.rows) - 0.4, -0.5)
    ax.grid(axis="x", color=LIGHT, linewidth=0.6)
    ax.set_axisbelow(True)
