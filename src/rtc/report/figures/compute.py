"""The primary metric against what a method computes."""

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rtc.report import catalogue
from rtc.report.figures import style
from rtc.study.outcome import Outcome
from rtc.study.study import Study

COST = "multiplications_per_tick"


def draw(study: Study, outcome: Outcome) -> Figure | None:
    """A panel per profile: a point with its interval and its name per method whose cells tell their multiplications."""
    keys = [one.key for one in study.arms if outcome.complete(one.key) and outcome.cell_mean(one.key, COST) > 0]
    profiles = list(dict.fromkeys(profile for profile, _ in keys))
    if not profiles:
        return None
    metric, cost = catalogue.metric(study.primary), catalogue.metric(COST)
    with matplotlib.rc_context(style.STYLE):
        columns = min(3, len(profiles))
        rows = -(-len(profiles) // columns)
        figure, axes = style.subplots(rows, columns, (3.8 * columns, 0.5 + 3.2 * rows), sharex=True, sharey=True)
        for ax, profile in style.panels(axes, profiles):
            ax.set_title(profile.replace("_", " "), fontweight="bold")
            ax.set_xscale("log")
            for key in keys:
                if key[0] == profile:
                    _point(ax, study, outcome, key)
        figure.supxlabel(f"{cost.title}: multiplications per tick, millions", fontsize=9)
        figure.supylabel(metric.axis, fontsize=9)
    return figure


def _point(ax: Axes, study: Study, outcome: Outcome, key: tuple[str, str]) -> None:
    metric, interval = catalogue.metric(study.primary), outcome.mean(key, study.primary)
    where, color = outcome.cell_mean(key, COST), style.method_color(key[1], study.methods)
    value, low, high = (metric.scale * x for x in (interval.value, interval.low, interval.high))
    ax.plot([where, where], [low, high], color=color, linewidth=1.8)
    ax.plot(where, value, "o", color=color, markersize=4)
    ax.annotate(key[1], (where, value), (4, 2), textcoords="offset points", fontsize=6)
