"""The primary metric of all arms of a study."""

import matplotlib
from matplotlib.figure import Figure

from rtc.report import catalogue
from rtc.report.figures import style
from rtc.study.outcome import Outcome
from rtc.study.study import Study


def draw(study: Study, outcome: Outcome) -> Figure:
    """A point with its interval per arm, on one scale; a panel per profile or, where these are more, per method."""
    profiles, methods = study.profiles, study.methods
    metric = catalogue.metric(study.primary)
    per_method = len(profiles) > len(methods)
    panels, rows = (methods, profiles) if per_method else (profiles, methods)
    with matplotlib.rc_context(style.STYLE):
        size = (2.0 + 2.1 * len(panels), 0.9 + 0.28 * len(rows))
        figure, axes = style.subplots(1, len(panels), size, sharex=True, sharey=True)
        for ax, panel in zip(axes[0], panels, strict=True):
            for place, row in enumerate(rows):
                key = (row, panel) if per_method else (panel, row)
                if outcome.complete(key):
                    interval = outcome.mean(key, study.primary)
                    color = style.method_color(key[1], methods)
                    ends = [metric.scale * interval.low, metric.scale * interval.high]
                    ax.plot(ends, [place, place], color=color, linewidth=2.2)
                    ax.plot(metric.scale * interval.value, place, "o", color=color, markersize=5)
            ax.set_title(panel.replace("_", " "), fontweight="bold")
            ax.set_yticks(range(len(rows)), rows)
            ax.grid(axis="x", color=style.LIGHT, linewidth=0.6)
        axes[0, 0].set_ylim(len(rows) - 0.5, -0.5)
        figure.supxlabel(metric.axis, fontsize=9)
    return figure
