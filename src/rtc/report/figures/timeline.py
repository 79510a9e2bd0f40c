"""One episode tick by tick: its chunks, delays, the age of what it acts on, and its actions."""

import dataclasses
import itertools
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from rtc.control import timeline as traces
from rtc.control.timeline import EpisodeTrace
from rtc.report.figures import style
from rtc.report.figures.palette import BLACK, BLUE, GREEN, LIGHT, ORANGE, PURPLE, SKY, VERMILLION
from rtc.study.outcome import Outcome
from rtc.study.protocols.tail_v1 import LONG_TAIL, REALTIME
from rtc.study.study import Study


def draw(study: Study, outcome: Outcome) -> Figure | None:
    """The recorded episode of one cell: of realtime under the long tail if there is one, else of the most starved."""
    level = outcome.levels[0]
    cells = {one.key: outcome.cells[level, *one.key][0] for one in study.arms if (level, *one.key) in outcome.cells}
    there = {key: cell for key, cell in cells.items() if cell.trace is not None}
    if not there:
        return None
    shown = there.get((LONG_TAIL, REALTIME)) or max(there.values(), key=lambda cell: cell.result["starved_fraction"])
    return timeline(traces.load_trace(shown.trace))


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
        window: first and last tick (exclusive) to draw; default 36 ticks around the first starved tick.
    """
    first, last = window or _busy_window(trace)
    with matplotlib.rc_context(style.STYLE):
        figure, axes = style.subplots(4, 1, (style.WIDTH, 7.0), sharex=True, height_ratios=(3.4, 1.1, 1.1, 1.4))
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
        figure.suptitle(trace.description or "one episode", x=0.01, ha="left", fontweight="bold", fontsize=9)
    return figure


def _busy_window(trace: EpisodeTrace, length: int = 36) -> tuple[int, int]:
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
    ax.legend(handles=keys, ncols=2, loc="lower left", bbox_to_anchor=(-0.01, 1.0), frameon=False, borderpad=0)


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
