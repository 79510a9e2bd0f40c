"""What each method solves under a latency log, at its best setting, and under its constant median."""

from collections.abc import Sequence

import matplotlib
from matplotlib.figure import Figure

from rtc.report import catalogue
from rtc.report.figures import palette, style
from rtc.study import ranking
from rtc.study.outcome import Outcome
from rtc.study.ranking import Ranked


def draw(ranked: Sequence[Ranked], outcome: Outcome, recommended: Ranked) -> Figure:
    """A row per method: its best setting with its interval, every level as a small dot; the recommended one bold."""
    metric, first = catalogue.PRIMARY, ranking.best_of_each_method(ranked)
    shown = [recommended if one.arm.config.method == recommended.arm.config.method else one for one in first]
    methods, looks = [one.arm.config.method for one in shown], palette.of_study(outcome.study)
    with matplotlib.rc_context(style.STYLE):
        figure, axes = style.subplots(1, 1, (7.5, 0.9 + 0.34 * len(shown)))
        ax = axes[0, 0]
        for place, one in enumerate(shown):
            color = looks[one.arm.method].color
            dots = [metric.scale * outcome.rate(level, one.key).value for level in outcome.levels]
            ax.plot(dots, [place] * len(dots), ".", color=palette.LIGHT, markersize=5, zorder=1)
            ends = [metric.scale * one.solved.low, metric.scale * one.solved.high]
            ax.plot(ends, [place, place], color=color, linewidth=2.4)
            ax.plot(metric.scale * one.solved.value, place, "o", color=color, markersize=6)
        ax.set_yticks(range(len(shown)), methods)
        for label, one in zip(ax.get_yticklabels(), shown, strict=True):
            label.set_fontweight("bold" if one.key == recommended.key else "normal")
        ax.set_ylim(len(shown) - 0.5, -0.5)
        ax.set_xlim(-2, 102)
        ax.grid(axis="x", color=palette.LIGHT, linewidth=0.6)
        ax.set_xlabel(metric.axis)
        ax.set_title("Under your delays; grey: single levels; bold: recommended")
    return figure
