"""Figures: delay distributions, outcomes by profile and method, and the timeline of one episode.

Colours are those of Okabe and Ito (2008), told apart by colour-blind readers. Every function returns a
matplotlib figure; `save` writes it as PNG and SVG.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch

from rtc.control.timeline import EpisodeTrace
from rtc.shared.files import PathLike, atomic_path

BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY, YELLOW, BLACK = "#CC79A7", "#56B4E9", "#F0E442", "#000000"
GREY, LIGHT = "#6B6B6B", "#D9D9D9"
METHOD_COLORS = {"naive": ORANGE, "realtime": BLUE}
_FURTHER_COLORS = (GREEN, PURPLE, SKY, VERMILLION, BLACK)
LEVELS_PER_ROW = 4
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": BLACK,
    "ytick.labelcolor": BLACK,
    "svg.hashsalt": "exp-delta",  # makes SVG files reproducible
}


def save(figure: Figure, stem: PathLike) -> list[Path]:
    """Writes `<stem>.png` (150 dpi) and `<stem>.svg` atomically; returns both paths."""
    paths = [Path(f"{stem}.png"), Path(f"{stem}.svg")]
    for path in paths:
        metadata = {"Date": None} if path.suffix == ".svg" else {}
        with atomic_path(path) as temporary, matplotlib.rc_context(STYLE):
            figure.savefig(temporary, dpi=150, metadata=metadata, facecolor="white")
    return paths


def subplots(rows: int, columns: int, size: tuple[float, float], **options) -> tuple[Figure, np.ndarray]:
    """An empty figure and its panels; without pyplot there is no global state, no display, and nothing to close."""
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def solve_rate_panels(figure: Figure | SubFigure, levels: Sequence[str], **options) -> Iterator[tuple[Axes, str]]:
    """One panel per level, in rows of four, for solve rates in percent."""
    rows, columns = -(-len(levels) // LEVELS_PER_ROW), min(LEVELS_PER_ROW, len(levels))
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True, **options).flat
    for ax in panels[len(levels) :]:
        ax.set_visible(False)
    for ax, level in zip(panels, levels, strict=False):
        ax.set_title(level, fontsize=8)
        ax.set_ylim(0, 102)
        yield ax, level


def method_color(method: str, methods: Sequence[str]) -> str:
    """Colour of a method: fixed for naive and realtime, the others by their place in `methods`."""
    others = [name for name in methods if name not in METHOD_COLORS]
    if method in METHOD_COLORS:
        return METHOD_COLORS[method]
    return _FURTHER_COLORS[others.index(method) % len(_FURTHER_COLORS)]


def delay_distributions(
    counts: Mapping[str, Mapping[int, int]], limit: int | None = None, log_scale: bool = False
) -> Figure:
    """P(d) of each profile, one panel each.

    Args:
        counts: profile -> delay in ticks -> number of queries.
        limit: H - s; delays above it count as violations and are drawn in vermillion.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = subplots(1, len(counts), (0.8 + 3.2 * len(counts), 2.9), sharex=True, sharey=True)
        longest = max([max(histogram) for histogram in counts.values()] + [limit or 0])
        for ax, (profile, histogram) in zip(axes[0], counts.items(), strict=True):
            _delay_panel(ax, histogram, limit)
            ax.set_title(profile.replace("_", " "), fontweight="bold")
            ax.set_xticks(range(longest + 1))
            ax.set_xlim(-0.6, longest + 1.0)
        axes[0, 0].set_ylabel("P(d)")
        if log_scale:
            axes[0, 0].set_yscale("log")
            axes[0, 0].set_ylim(top=3)
        else:
            axes[0, 0].set_ylim(0, axes[0, 0].get_ylim()[1] * 1.08)
        figure.supxlabel("inference delay d (control ticks)", fontsize=9)
    return figure


def _delay_panel(ax: Axes, histogram: Mapping[int, int], limit: int | None) -> None:
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


@dataclasses.dataclass(frozen=True)
class Panel:
    """One metric of the outcome figure; `scale` multiplies the values (100 for percentages)."""

    metric: str
    title: str
    unit: str
    scale: float = 1.0


OUTCOME_PANELS = (
    Panel("returned_episode_solved", "Episodes solved", "%", 100.0),
    Panel("returned_episode_returns", "Return", "reward per episode"),
    Panel("rms_ddelta_action", "Jerk, root mean square", "action units"),
    Panel("max_ddelta_action", "Jerk, maximum", "action units"),
)


def outcomes(
    summary: pd.DataFrame,
    per_seed: pd.DataFrame,
    baseline: Mapping[str, float],
    panels: Sequence[Panel] = OUTCOME_PANELS,
) -> Figure:
    """Group means with 95 % intervals, per-seed means as dots and the zero-delay baseline as a line.

    Args:
        summary: one row per (profile, method), with `<metric>`, `<metric>_low` and `<metric>_high`.
        per_seed: one row per (profile, method, seed) with the metrics.
        baseline: metric -> value at zero delay; metrics that are missing get no line.
    """
    panels = [panel for panel in panels if panel.metric in summary.columns]
    methods = list(dict.fromkeys(summary["method"]))
    with matplotlib.rc_context(STYLE):
        figure, axes = subplots(1, len(panels), (0.4 + (1.3 + 0.33 * len(summary)) * len(panels), 3.4))
        for ax, panel in zip(axes[0], panels, strict=True):
            _outcome_panel(ax, panel, summary, per_seed, methods)
            if panel.metric in baseline:
                level = baseline[panel.metric] * panel.scale
                ax.axhline(level, color=GREY, linestyle=(0, (4, 3)), linewidth=1, zorder=0)
                label = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom", "color": GREY}
                ax.annotate("no\ndelay", (1, level), fontsize=8, **label)
            _leave_room(ax, panel)
    return figure


def _outcome_panel(
    ax: Axes, panel: Panel, summary: pd.DataFrame, per_seed: pd.DataFrame, methods: Sequence[str]
) -> None:
    profiles = list(dict.fromkeys(summary["profile"]))
    for row in summary.to_dict("records"):
        group, index = profiles.index(row["profile"]), methods.index(row["method"])
        x = group * (len(methods) + 0.8) + index
        color = method_color(row["method"], methods)
        seeds = per_seed[(per_seed["profile"] == row["profile"]) & (per_seed["method"] == row["method"])]
        dots = seeds[panel.metric].to_numpy() * panel.scale
        ax.scatter(np.full(dots.size, x - 0.22), dots, s=9, color=color, alpha=0.45, linewidths=0)
        low, value, high = (row[panel.metric + end] * panel.scale for end in ("_low", "", "_high"))
        ax.plot([x, x], [low, high], color=color, linewidth=2.2, solid_capstyle="butt")
        ax.plot(x, value, "o", color=color, markersize=5)
    positions = [g * (len(methods) + 0.8) + i for g in range(len(profiles)) for i in range(len(methods))]
    ax.set_xticks(positions, [m for _ in profiles for m in methods], rotation=35, ha="right", rotation_mode="anchor")
    for label, method in zip(ax.get_xticklabels(), methods * len(profiles), strict=True):
        label.set_color(method_color(method, methods))
    for group, profile in enumerate(profiles):
        middle = group * (len(methods) + 0.8) + (len(methods) - 1) / 2
        name = profile.replace("_", "\n")
        ax.text(middle, -0.24, name, transform=ax.get_xaxis_transform(), ha="center", va="top", fontweight="bold")
    ax.tick_params(axis="x", length=0)
    # The label of the baseline stands at the right end.
    ax.set_xlim(positions[0] - 0.7, positions[-1] + 1.4)
    ax.set_title(panel.title)
    ax.set_ylabel(panel.unit)


def _leave_room(ax: Axes, panel: Panel) -> None:
    """Shows the range of the data, not of the metric, so that intervals can be told apart; at most 100 %."""
    low, high = ax.dataLim.y0, ax.dataLim.y1
    for line in ax.get_lines():
        values = np.asarray(line.get_ydata(), dtype=float)
        low, high = min(low, np.nanmin(values)), max(high, np.nanmax(values))
    margin = 0.15 * ((high - low) or 1.0)
    top = high + 2 * margin
    ax.set_ylim(low - margin, min(top, 100.0) if panel.unit == "%" else top)


@dataclasses.dataclass(frozen=True)
class ChunkSpan:
    """One chunk of a trace, in ticks: it covers [start, end), arrives at `arrival`, acts at `executed`."""

    start: int
    arrival: int
    end: int
    executed: np.ndarray


def chunk_spans(trace: EpisodeTrace) -> list[ChunkSpan]:
    """The chunks of an episode, from the queries and the ages of the executed actions.

    Until the first query arrives the bootstrap chunk acts, which comes from the same observation; it is the
    first span if it acted at all.
    """
    ticks = np.arange(len(trace.query))
    origin = np.where(trace.age >= 0, ticks - trace.age, -1)  # tick of the observation behind each action
    spans = []
    for start in map(int, np.flatnonzero(trace.query)):
        arrival, end = start + max(int(trace.delay[start]), 0), start + trace.horizon
        acting = ticks[origin == start]
        if not spans and (acting < arrival).any():
            spans.append(ChunkSpan(start, start, end, acting[acting < arrival]))
        # A robot that waits for its chunk starts it late, so that it reaches further.
        end = max(end, int(acting.max(initial=0)) + 1)
        spans.append(ChunkSpan(start, arrival, end, acting[acting >= arrival]))
    return spans


def timeline(trace: EpisodeTrace, window: tuple[int, int] | None = None) -> Figure:
    """Chunks, delays, age of the executed action and commanded action over one stretch of an episode.

    Args:
        window: first and last tick (exclusive) to draw; default 48 ticks around the first starved tick.
    """
    first, last = window or _busy_window(trace)
    with matplotlib.rc_context(STYLE):
        figure, axes = subplots(4, 1, (9.5, 7.6), sharex=True, height_ratios=(3.4, 1.1, 1.1, 1.4))
        chunks, delays, age, action = axes[:, 0]
        _draw_chunks(chunks, trace, first, last)
        _draw_delays(delays, trace, first, last)
        _draw_age(age, trace, first, last)
        _draw_action(action, trace, first, last)
        for ax in axes[:, 0]:
            for tick in np.flatnonzero(trace.age[first:last] < 0) + first:
                strength = 1.0 if ax is age else 0.35
                ax.axvspan(tick, tick + 1, color=VERMILLION, alpha=strength, linewidth=0, zorder=0)
        action.set_xlim(first, last)
        action.set_xlabel("control tick")
        figure.suptitle(trace.description or "one episode", x=0.01, ha="left", fontweight="bold", fontsize=10)
    return figure


def _busy_window(trace: EpisodeTrace, length: int = 48) -> tuple[int, int]:
    starved = np.flatnonzero(trace.age < 0)
    centre = starved[0] if starved.size else 0
    first = int(np.clip(centre - length // 3, 0, max(0, len(trace.query) - length)))
    return first, min(first + length, len(trace.query))


def _draw_chunks(ax: Axes, trace: EpisodeTrace, first: int, last: int) -> None:
    shown = [span for span in chunk_spans(trace) if max(span.end, span.arrival) > first and span.start < last]
    for row, span in enumerate(shown):
        ax.barh(row, span.end - span.start, left=span.start, height=0.75, color=LIGHT, align="center")
        ax.barh(
            row,
            span.arrival - span.start,
            left=span.start,
            height=0.75,
            facecolor="white",
            edgecolor=ORANGE,
            hatch="/////",
            linewidth=0.8,
        )
        ax.barh(np.full(span.executed.size, row), 1, left=span.executed, height=0.75, color=BLUE)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.set_yticks([])
    ax.set_ylabel("chunks, in order")
    keys = [
        Patch(facecolor="white", edgecolor=ORANGE, hatch="/////", label="waiting for inference"),
        Patch(color=BLUE, label="executed"),
        Patch(color=LIGHT, label="unused"),
        Patch(color=VERMILLION, label="starved tick"),
    ]
    ax.legend(handles=keys, ncols=4, loc="lower left", bbox_to_anchor=(-0.01, 1.0), frameon=False, borderpad=0)


def _draw_delays(ax: Axes, trace: EpisodeTrace, first: int, last: int) -> None:
    ticks = np.flatnonzero(trace.query[first:last]) + first
    ax.bar(ticks + 0.5, trace.delay[ticks], width=0.75, color=ORANGE)
    ax.plot(ticks + 0.5, trace.planned_delay[ticks], "_", color=BLACK, markersize=7, markeredgewidth=1.4)
    highest = max(trace.delay[ticks].max(initial=1), trace.planned_delay[ticks].max(initial=1))
    ax.set_ylim(0, highest + 0.6)
    ax.set_ylabel("delay (ticks)")
    ax.set_title("delay of the query launched at this tick; black dash: planned", fontsize=9)


def _draw_age(ax: Axes, trace: EpisodeTrace, first: int, last: int) -> None:
    ticks = np.arange(first, last)
    age = np.where(trace.age[first:last] >= 0, trace.age[first:last], np.nan).astype(float)
    ax.bar(ticks + 0.5, age + 0.06, width=1.0, color=SKY)
    ax.set_ylim(0, max(trace.horizon - 1, 1) + 0.4)
    ax.set_ylabel("age (ticks)")
    ax.set_title("age of the observation behind the executed action", fontsize=9)


def _draw_action(ax: Axes, trace: EpisodeTrace, first: int, last: int) -> None:
    colors = (BLUE, BLACK, GREEN, PURPLE, ORANGE, SKY)  # vermillion marks starved ticks
    moving = [d for d in range(trace.action.shape[1]) if np.ptp(trace.action[:, d]) > 0] or [0]
    values = trace.action[first:last]
    ends = _spread([values[-1, d] for d in moving], 0.28)
    for dimension, end in zip(moving, ends, strict=True):
        color = colors[dimension % len(colors)]
        ax.step(
            np.arange(first, last + 1),
            np.append(values[:, dimension], values[-1, dimension]),
            where="post",
            color=color,
            linewidth=1.3,
        )
        ax.annotate(
            f"a{dimension}",
            (last, end),
            xytext=(4, 0),
            textcoords="offset points",
            color=color,
            va="center",
            annotation_clip=False,
        )
    ax.set_ylim(-1.1, 1.1)
    ax.set_ylabel("action")
    ax.set_title("commanded action", fontsize=9)


def _spread(values: Sequence[float], gap: float) -> list[float]:
    """Moves label heights apart, in order, so that neighbours keep `gap` between them."""
    order = np.argsort(values)
    heights = np.array(values, dtype=float)
    for before, after in itertools.pairwise(order):
        heights[after] = max(heights[after], heights[before] + gap)
    return list(heights - max(0.0, heights.max() - 1.0))
