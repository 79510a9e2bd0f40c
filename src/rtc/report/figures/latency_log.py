"""The delays of a latency log: in their order, their distribution in ticks, and whether long ones come together."""

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rtc.delay.logs import DelayLog, Description, autocorrelation
from rtc.report.figures import style
from rtc.report.figures.palette import BLUE, GREEN, GREY, LIGHT, ORANGE, VERMILLION
from rtc.shared import tables

MARKS = ((50, GREEN), (95, ORANGE), (99, VERMILLION))
MOST_LAGS = 30
# Above this ratio of the longest delay to the median, delays are drawn on a logarithmic axis.
LOGARITHMIC = 12.0
# Delays above this many times their 99 % percentile are gathered in the last bar.
GATHERED = 1.5


def draw(log: DelayLog, found: Description) -> Figure:
    """Delays over time; the histogram of d with percentiles; autocorrelation with the band of independent delays."""
    with matplotlib.rc_context(style.STYLE):
        figure = Figure(figsize=(style.WIDTH, 7.4), layout="constrained")
        axes = figure.subplot_mosaic([["series"], ["ticks"], ["lags"]])
        _series(axes["series"], log, found)
        _ticks(axes["ticks"], found)
        _lags(axes["lags"], log, found)
    return figure


def _series(ax: Axes, log: DelayLog, found: Description) -> None:
    n = found.count
    timed = log.time_s is not None
    x = log.time_s if timed else np.arange(n)
    ax.plot(x, log.latency_ms, color=LIGHT, linewidth=0.6, zorder=1)
    ax.scatter(x, log.latency_ms, s=8 if n < 500 else 3, color=BLUE, linewidths=0, zorder=2)
    for level, color in MARKS:
        value = tables.percentiles(log.latency_ms, (level,))[level]
        ax.axhline(value, color=color, linewidth=1, label=f"p{level}: {value:.0f} ms")
    if found.longest > LOGARITHMIC * found.median > 0 and log.latency_ms.min() > 0:
        ax.set_yscale("log")
    else:
        ax.set_ylim(bottom=0)
    ax.set_xlabel("seconds" if timed else "query")
    ax.set_ylabel("delay (ms)")
    ax.set_title(f"{n} delays ({log.format})", pad=20)
    place = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "ncols": len(MARKS), "frameon": False}
    ax.legend(**place, borderpad=0, columnspacing=1.0, handlelength=1.2)


def _ticks(ax: Axes, found: Description) -> None:
    longest, p99 = max(found.ticks), found.percentile(99)
    last = longest if longest <= max(2, int(GATHERED * p99)) else max(2, int(GATHERED * p99)) + 1
    shown: dict[int, int] = {}
    for d, count in found.ticks.items():
        shown[min(d, last)] = shown.get(min(d, last), 0) + count
    shares = [100 * count / found.count for count in shown.values()]
    ax.bar(list(shown), shares, width=0.8, color=BLUE)
    ax.set_ylim(0, 1.4 * max(shares))  # room for the marks' names
    for place, (level, color) in enumerate(MARKS):
        d = found.percentile(level)
        ax.axvline(min(d, last), color=color, linewidth=1.2, linestyle=(0, (4, 2)))
        note = {"xycoords": ax.get_xaxis_transform(), "textcoords": "offset points", "fontsize": 8, "color": color}
        ax.annotate(f"p{level}: {d}", (min(d, last), 0.96 - 0.09 * place), xytext=(3, 0), va="top", **note)
    ax.xaxis.get_major_locator().set_params(integer=True)
    gathered = f"; the last bar is {last} to {longest}" if last < longest else ""
    ax.set_xlabel(f"d (ticks at {found.hz:g} Hz{gathered})")
    ax.set_ylabel("queries (%)")


def _lags(ax: Axes, log: DelayLog, found: Description) -> None:
    lags = range(1, min(MOST_LAGS, (found.count - 1) // 2) + 1)
    correlations = autocorrelation(log.latency_ms, lags)
    ax.axhspan(-found.band, found.band, color=LIGHT, linewidth=0, label="95 % if independent")
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.vlines(list(lags), 0, list(correlations.values()), color=BLUE, linewidth=2)
    ax.set_xlabel("lag (queries)")
    ax.set_ylabel("autocorrelation")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False, borderpad=0)
