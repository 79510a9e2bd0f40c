"""Distributions of the sampled delays."""

from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rtc.report import settings
from rtc.report.figures import style
from rtc.report.figures.palette import BLACK, BLUE, GREY, VERMILLION
from rtc.study.outcome import Outcome
from rtc.study.study import Study

Histogram = Mapping[int, int]


def draw(study: Study, outcome: Outcome) -> Figure | None:
    """P(d) of every profile but the baseline's, over the queries of all methods, levels and seeds."""
    counts: dict[str, dict[int, int]] = {}
    limits = set()
    for one in study.arms:
        if one.key == study.baseline:
            continue
        for level in outcome.levels:
            for cell in outcome.cells.get((level, *one.key), ()):
                found = counts.setdefault(one.profile, {})
                for delay, count in cell.delay_counts.items():
                    found[delay] = found.get(delay, 0) + count
                limits.add(settings.longest_delay(one, cell))
    drawn = {profile: histogram for profile, histogram in counts.items() if histogram}
    return distributions(drawn, limits.pop() if len(limits) == 1 else None) if drawn else None


def distributions(counts: Mapping[str, Histogram], limit: int | None = None) -> Figure:
    """P(d) of each profile, a panel each, below each other.

    Args:
        counts: profile -> delay in ticks -> number of queries.
        limit: H - s; delays above it count as violations and are drawn in vermillion.
    """
    with matplotlib.rc_context(style.STYLE):
        figure, axes = style.subplots(len(counts), 1, (style.WIDTH, 0.4 + 1.9 * len(counts)), sharex=True, sharey=True)
        longest = max([max(histogram) for histogram in counts.values()] + [limit or 0])
        for ax, (profile, histogram) in zip(axes[:, 0], counts.items(), strict=True):
            _panel(ax, histogram, limit)
            ax.set_title(profile, fontweight="bold")
            ax.set_ylabel("P(d)")
            ax.set_xticks(range(longest + 1))
            ax.set_xlim(-0.6, longest + 1.0)
        axes[0, 0].set_ylim(0, axes[0, 0].get_ylim()[1] * 1.08)
        figure.supxlabel("inference delay d (control ticks)", fontsize=9)
    return figure


def _panel(ax: Axes, histogram: Histogram, limit: int | None) -> None:
    delays = np.array(sorted(histogram))
    share = np.array([histogram[d] for d in delays]) / sum(histogram.values())
    violating = delays > (limit if limit is not None else np.inf)
    bars = ax.bar(delays, share, width=0.7, color=np.where(violating, VERMILLION, BLUE))
    ax.bar_label(bars, [_percent(p) for p in share], padding=2, fontsize=8)
    p99 = delays[np.searchsorted(np.cumsum(share), 0.99 - 1e-12)]
    ax.annotate(
        "p99",
        (p99, share[delays == p99][0]),
        xytext=(0, 30),
        textcoords="offset points",
        ha="center",
        arrowprops={"arrowstyle": "-|>", "color": BLACK, "shrinkB": 13},
    )
    if limit is not None:
        ax.axvline(limit + 0.5, color=GREY, linestyle=(0, (4, 3)), linewidth=1)
        place = {"transform": ax.get_xaxis_transform(), "ha": "right", "va": "top"}
        ax.text(limit + 0.45, 0.97, f"H \N{MINUS SIGN} s = {limit}", color=GREY, **place)


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 or share == 0 else "<0.1%"
