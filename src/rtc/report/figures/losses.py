"""Where naive execution loses at constant delays, level by level."""

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rtc.report import catalogue
from rtc.report import losses as tables
from rtc.report.figures import palette, style
from rtc.study import losses
from rtc.study.outcome import Outcome
from rtc.study.study import Study

COLORS = dict(zip(losses.PARTS, (palette.SKY, palette.VERMILLION, palette.GREY), strict=True))


def draw(study: Study, outcome: Outcome) -> Figure | None:
    """A panel per level: the parts of the loss over the delay, stacked, negative ones below zero; a dot for the sum."""
    there = {key: reference for key, reference in tables.there(outcome).items() if key[1] == losses.NAIVE}
    if not there:
        return None
    metric = catalogue.metric(study.primary)
    with matplotlib.rc_context(style.STYLE):
        figure = Figure(
            figsize=(style.WIDTH, 1.0 + 1.3 * -(-len(outcome.levels) // style.LEVELS_PER_ROW)), layout="constrained"
        )
        panels = style.level_panels(figure, outcome.levels, sharex=True)
        for ax, level in panels:
            for place, (key, reference) in enumerate(there.items()):
                found = losses.of_level(outcome, key, reference, metric.column, level)
                means = {name: metric.scale * values.mean() for name, values in found.items()}
                _bar(ax, place, means)
            ax.axhline(0, color=palette.GREY, linewidth=0.6)
            ax.set_xticks(range(len(there)), [profile for profile, _ in there], fontsize=7)
        figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
        figure.supylabel(f"loss of {losses.NAIVE} (percentage points)" if metric.rate else "loss", fontsize=9)
    return figure


def _bar(ax: Axes, place: int, means: dict[str, float]) -> None:
    up = down = 0.0
    for name in losses.PARTS:
        height = means[name]
        base = up if height >= 0 else down
        ax.bar(place, height, 0.7, base, color=COLORS[name], label=name if place == 0 else None)
        up, down = max(up, base + height), min(down, base + height)
    label = losses.TOTAL if place == 0 else None
    ax.plot(place, means[losses.TOTAL], "o", color=palette.BLACK, markersize=3, label=label)
