"""What planning with a quantile of the last delays loses to knowing every delay."""

import re
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rtc.report import catalogue, regret
from rtc.report.figures import palette, style
from rtc.study.outcome import Outcome
from rtc.study.regrets import Point
from rtc.study.study import Study

_PER_ROW = 2
_APART = 0.012  # between the marks of two windows at one quantile
_MARKS = "os^Dv"
_ENDS = ("value", "low", "high")


def draw(study: Study, outcome: Outcome) -> dict[str, Figure]:
    """A figure per curve: regret over the quantile, a line per window, a panel per profile; dots are levels.

    Dashed: no regret.
    """
    found = regret.there(study, outcome)
    only = len(found) == 1
    return {"" if only else _ending(curve): _figure(outcome, curve, points) for curve, points in found.items()}


def _ending(curve: str) -> str:
    """What tells the figure of a curve apart, in its file's name."""
    return "_" + re.sub(r"[^\w.+-]+", "_", curve).strip("_")


def _figure(outcome: Outcome, curve: str, points: Sequence[Point]) -> Figure:
    profiles = list(dict.fromkeys(point.key[0] for point in points))
    windows = sorted({point.window for point in points})
    columns = min(_PER_ROW, len(profiles))
    rows, metric = -(-len(profiles) // columns), catalogue.metric(outcome.study.primary)
    with matplotlib.rc_context(style.STYLE):
        figure, axes = style.subplots(rows, columns, (style.WIDTH, 1.1 + 1.7 * rows), sharex=True, sharey=True)
        for ax, profile in style.panels(axes, profiles):
            for place, window in enumerate(windows):
                chosen = [point for point in points if point.key[0] == profile and point.window == window]
                chosen.sort(key=lambda point: point.quantile)
                _line(ax, outcome, chosen, window, _APART * (place - (len(windows) - 1) / 2), windows)
            ax.axhline(0, color=palette.GREY, linestyle=(0, (4, 3)), linewidth=1, zorder=0)
            ax.set_title(profile, fontsize=9)
            ax.set_xticks(sorted({point.quantile for point in points}))
            ax.tick_params(labelsize=8, labelbottom=True)
        for ax in axes[:, 0]:
            ax.set_ylabel("regret (pp)" if metric.rate else "regret")
        for column in axes.T:
            [ax for ax in column if ax.get_visible()][-1].set_xlabel("quantile of the last delays")
        figure.suptitle(curve, fontweight="bold", fontsize=10)
        figure.legend(
            *axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(windows), frameon=False
        )
    return figure


def _line(
    ax: Axes, outcome: Outcome, points: Sequence[Point], window: int, shift: float, windows: Sequence[int]
) -> None:
    """The regret of one window, with its intervals and the levels."""
    metric = catalogue.metric(outcome.study.primary)
    color = palette.series_color(str(window), [str(one) for one in windows])
    mark = _MARKS[list(windows).index(window) % len(_MARKS)]
    places = np.array([point.quantile + shift for point in points])
    intervals = [outcome.difference(point.regret, metric.column).interval for point in points]
    values, low, high = (metric.scale * np.array([getattr(one, end) for one in intervals]) for end in _ENDS)
    for place, point in zip(places, points, strict=True):
        dots = [metric.scale * outcome.pairs(point.regret, metric.column, level).mean() for level in outcome.levels]
        ax.scatter(np.full(len(dots), place), dots, s=5, color=color, alpha=0.45, linewidths=0)
    ax.vlines(places, low, high, color=color, linewidth=1.8)
    ax.plot(places, values, color=color, marker=mark, markersize=4, linewidth=1.1, label=f"window {window}")
