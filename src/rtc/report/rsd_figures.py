"""Figures of the RSD benchmark."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import pandas as pd

from rtc.report import figures


def pass_times(passes: Mapping[str, pd.DataFrame], stem: Path) -> None:
    """Time of one pass against its number of tokens, a panel per model; whiskers reach from the median to p95."""
    with matplotlib.rc_context(figures.STYLE):
        canvas, axes = figures.subplots(1, len(passes), (3.2 * len(passes), 3.0))
        for ax, (name, found) in zip(axes[0], passes.items(), strict=True):
            color = figures.method_color(name, list(passes))
            ax.plot(found["positions"], found["p50"], "o-", color=color, markersize=3)
            ax.vlines(found["positions"], found["p50"], found["p95"], color=color, linewidth=0.8)
            ax.set_ylim(bottom=0)
            ax.set_title(name, fontweight="bold")
            ax.set_xlabel("positions in the pass (4 tokens each)")
        axes[0, 0].set_ylabel("milliseconds")
    figures.save(canvas, stem)
