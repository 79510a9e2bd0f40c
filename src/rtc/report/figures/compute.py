"""The primary metric against what a method computes."""

from collections import Counter
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rtc.report import catalogue
from rtc.report.figures import arms, palette, style
from rtc.report.figures.palette import GREY, Look
from rtc.study.outcome import Outcome
from rtc.study.questions import ArmKey
from rtc.study.study import Study

COST = "multiplications_per_tick"


def draw(study: Study, outcome: Outcome) -> dict[str, Figure]:
    """A panel per profile: a mark with its interval per method whose cells tell their multiplications; dots are levels.

    Dashed: what comparisons are made against. Methods that are too many for a figure are divided among several.
    Profiles that few of the methods met, as on the grid of a delay sweep, have no panel.
    """
    keys = [one.key for one in study.arms if outcome.complete(one.key) and outcome.cell_mean(one.key, COST) > 0]
    met = Counter(profile for profile, _ in keys)
    keys = [key for key in keys if 2 * met[key[0]] >= max(met.values())]
    methods = list(dict.fromkeys(method for _, method in keys))
    found = {}
    for number in range(-(-len(methods) // style.MOST_ARMS)):
        part = methods[number * style.MOST_ARMS : (number + 1) * style.MOST_ARMS]
        chosen = [key for key in keys if key[1] in part]
        found[f"_{number + 1}" if number else ""] = _figure(study, outcome, chosen, keys)
    return found


def _figure(study: Study, outcome: Outcome, keys: Sequence[ArmKey], all_keys: Sequence[ArmKey]) -> Figure:
    metric, cost, looks = catalogue.metric(study.primary), catalogue.metric(COST), palette.of_study(outcome.study)
    profiles = list(dict.fromkeys(profile for profile, _ in keys))
    columns = min(2, len(profiles))
    rows = -(-len(profiles) // columns)
    with matplotlib.rc_context(style.STYLE):
        size = (style.WIDTH, 1.1 + 1.9 * rows)
        figure, axes = style.subplots(rows, columns, size, sharex=True, sharey=True)
        for ax, profile in style.panels(axes, profiles):
            ax.set_title(profile, fontweight="bold")
            ax.set_xscale("log")
            for key in keys:
                if key[0] == profile:
                    _point(ax, study, outcome, key, looks[key[1]])
            for reference in arms.references(study, [key for key in all_keys if key[0] == profile]):
                level = metric.scale * outcome.mean(reference, metric.column).value
                ax.axhline(level, color=GREY, linestyle=(0, (4, 3)), linewidth=1, zorder=0)
        named = [pair for ax in axes.flat for pair in zip(*ax.get_legend_handles_labels(), strict=True)]
        labels = {label: handle for handle, label in named}
        figure.legend(labels.values(), labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
        figure.supxlabel(f"{cost.title} (millions)", fontsize=9)
        figure.supylabel(metric.axis, fontsize=9)
    return figure


def _point(ax: Axes, study: Study, outcome: Outcome, key: ArmKey, look: Look) -> None:
    metric, interval = catalogue.metric(study.primary), outcome.mean(key, study.primary)
    where = outcome.cell_mean(key, COST)
    value, low, high = (metric.scale * x for x in (interval.value, interval.low, interval.high))
    dots = metric.scale * np.array(arms.dots(outcome, key, metric.column))
    ax.scatter(np.full(dots.size, where), dots, s=6, color=look.color, alpha=0.5, linewidths=0)
    ax.plot([where, where], [low, high], color=look.color, linewidth=1.8)
    ax.plot(where, value, **look.style(5), linestyle="none", label=key[1])
