"""Figures of RSD: how many residual layers matter, and what a pass costs."""

from collections.abc import Mapping

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from rtc.report import catalogue
from rtc.report.figures import palette, style
from rtc.study.outcome import Outcome
from rtc.study.study import Study

_DEPTH, _REFERENCE = "depth", ("no_delay", "flow")


def layers(study: Study, outcome: Outcome) -> Figure | None:
    """Solve rate against the number of decoded layers, one line per level; dashed: the flow policy."""
    keys = [one.key for one in study.arms if one.profile == _DEPTH and outcome.complete(one.key)]
    if not keys:
        return None
    depths = [int(method.rpartition("_")[2]) for _, method in keys]
    with matplotlib.rc_context(style.STYLE):
        canvas, axes = style.subplots(1, 1, (style.WIDTH, 3.6))
        ax = axes[0, 0]
        for level in outcome.levels:
            color = palette.series_color(level, outcome.levels)
            rates = [outcome.rate(level, key) for key in keys]
            ax.plot(depths, [100 * rate.value for rate in rates], "o-", color=color, markersize=3, label=level)
            ax.vlines(depths, [100 * rate.low for rate in rates], [100 * rate.high for rate in rates], color=color)
            if (level, *_REFERENCE) in outcome.cells:
                flow = outcome.rate(level, _REFERENCE).value
                ax.axhline(100 * flow, color=color, linestyle="--", linewidth=0.8)
        ax.set_xlabel("residual layers decoded (dashed: the flow policy)")
        ax.set_ylabel(catalogue.PRIMARY.axis)
        ax.legend(frameon=False)
    return canvas


def pass_times(passes: Mapping[str, pd.DataFrame]) -> Figure:
    """Time of one pass against its number of tokens, a panel per model; whiskers reach from the median to p95."""
    with matplotlib.rc_context(style.STYLE):
        canvas, axes = style.subplots(1, len(passes), (3.2 * len(passes), 3.0))
        for ax, (name, found) in zip(axes[0], passes.items(), strict=True):
            color = palette.series_color(name, list(passes))
            ax.plot(found["positions"], found["p50"], "o-", color=color, markersize=3)
            ax.vlines(found["positions"], found["p50"], found["p95"], color=color, linewidth=0.8)
            ax.set_ylim(bottom=0)
            ax.set_title(name, fontweight="bold")
            ax.set_xlabel("positions in the pass (4 tokens each)")
        axes[0, 0].set_ylabel("milliseconds")
    return canvas
