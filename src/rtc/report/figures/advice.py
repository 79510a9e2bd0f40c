"""What each method solves under a latency log, at its best setting or the recommended one."""

from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rtc.report import catalogue
from rtc.report.figures import palette, style
from rtc.study import ranking
from rtc.study.outcome import Outcome
from rtc.study.ranking import Ranked

# Heights in rows: where a row's mean stands, the room below it for levels, and the step between two of them at most.
MEAN, ROOM, STEP = -0.24, 0.5, 0.13
# Levels closer than this, in percent, would hide each other side by side.
CLOSE = 1.5


def draw(ranked: Sequence[Ranked], outcome: Outcome, recommended: Ranked) -> Figure:
    """A row per method: its setting's mean and interval, and below them every level as a grey dot.

    The setting is the method's best, and the recommended one in bold. Dots of levels that are solved alike are stacked,
    so that all can be counted; a mean has a height of its own.
    """
    metric, first = catalogue.PRIMARY, ranking.best_of_each_method(ranked)
    shown = [recommended if one.arm.config.method == recommended.arm.config.method else one for one in first]
    looks = palette.of_study(outcome.study)
    with matplotlib.rc_context(style.STYLE):
        figure, axes = style.subplots(1, 1, (style.WIDTH, 0.9 + 0.46 * len(shown)))
        ax = axes[0, 0]
        for place, one in enumerate(shown):
            color, mean = looks[one.arm.method].color, place + MEAN
            rates = [metric.scale * outcome.rate(level, one.key).value for level in outcome.levels]
            ax.plot(rates, [place + low for low in stacked(rates)], ".", color=palette.GREY, markersize=4, zorder=1)
            ends = [metric.scale * one.solved.low, metric.scale * one.solved.high]
            ax.plot(ends, [mean, mean], color=color, linewidth=2.4)
            ax.plot(metric.scale * one.solved.value, mean, "o", color=color, markersize=6)
        _label(ax, shown, recommended)
        ax.set_xlabel(metric.axis)
    return figure


def stacked(rates: Sequence[float]) -> list[float]:
    """Heights below a row's middle, in rows, at which dots at these rates do not hide each other.

    Args:
        rates: in percent, in any order.
    """
    depth = [0] * len(rates)
    last: list[float] = []  # the greatest rate at every depth so far
    for place in sorted(range(len(rates)), key=rates.__getitem__):
        free = (low for low, rate in enumerate(last) if rates[place] - rate >= CLOSE)
        depth[place] = next(free, len(last))
        last[depth[place] : depth[place] + 1] = [rates[place]]
    step = min(STEP, ROOM / max(max(depth, default=0), 1))
    return [step * one for one in depth]


def _label(ax: Axes, shown: Sequence[Ranked], recommended: Ranked) -> None:
    ax.set_yticks(range(len(shown)), [one.arm.config.method.replace("+", "\n+") for one in shown])
    for label, one in zip(ax.get_yticklabels(), shown, strict=True):
        label.set_fontweight("bold" if one.key == recommended.key else "normal")
    ax.set_ylim(len(shown) - 0.25, -0.6)
    ax.set_xlim(-2, 102)
    ax.grid(axis="x", color=palette.LIGHT, linewidth=0.6)
