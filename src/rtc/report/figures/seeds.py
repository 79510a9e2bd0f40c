"""Outcomes by profile and method, with the seeds that they were measured with."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rtc.report import catalogue, study_tables
from rtc.report.catalogue import Metric
from rtc.report.figures import style
from rtc.report.figures.style import GREY
from rtc.study.outcome import Outcome
from rtc.study.study import Study

PANELS = tuple(
    catalogue.metric(column)
    for column in (catalogue.PRIMARY.column, "returned_episode_returns", "rms_ddelta_action", "max_ddelta_action")
)


def draw(study: Study, outcome: Outcome) -> Figure:
    """Means with 95 % intervals over all episodes, a dot per seed, and the arm without delay as a line."""
    summary = study_tables.seed_summary(outcome, [one.key for one in study.arms])
    is_baseline = pd.Series(list(zip(summary["profile"], summary["method"], strict=True))) == study.baseline
    baseline = summary[is_baseline.to_numpy()]
    per_seed = outcome.rows()
    return outcomes(summary[~is_baseline.to_numpy()], per_seed, {} if baseline.empty else baseline.iloc[0].to_dict())


def outcomes(summary: pd.DataFrame, per_seed: pd.DataFrame, baseline: Mapping[str, float]) -> Figure:
    """Group means with 95 % intervals, per-seed means as dots and the zero-delay baseline as a line.

    Args:
        summary: one row per (profile, method), with `<metric>`, `<metric>_low` and `<metric>_high`.
        per_seed: one row per (profile, method, seed) with the metrics.
        baseline: metric -> value at zero delay; metrics that are missing get no line.
    """
    panels = [panel for panel in PANELS if panel.column in summary.columns]
    methods = list(dict.fromkeys(summary["method"]))
    with matplotlib.rc_context(style.STYLE):
        size = (0.4 + (1.3 + 0.33 * len(summary)) * len(panels), 3.4)
        figure, axes = style.subplots(1, len(panels), size)
        for ax, panel in zip(axes[0], panels, strict=True):
            _panel(ax, panel, summary, per_seed, methods)
            if panel.column in baseline:
                level = baseline[panel.column] * panel.scale
                ax.axhline(level, color=GREY, linestyle=(0, (4, 3)), linewidth=1, zorder=0)
                label = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom", "color": GREY}
                ax.annotate("no\ndelay", (1, level), fontsize=8, **label)
            _leave_room(ax, panel)
    return figure


def _panel(ax: Axes, panel: Metric, summary: pd.DataFrame, per_seed: pd.DataFrame, methods: Sequence[str]) -> None:
    profiles = list(dict.fromkeys(summary["profile"]))
    for row in summary.to_dict("records"):
        group, index = profiles.index(row["profile"]), methods.index(row["method"])
        x = group * (len(methods) + 0.8) + index
        color = style.method_color(row["method"], methods)
        seeds = per_seed[(per_seed["profile"] == row["profile"]) & (per_seed["method"] == row["method"])]
        dots = seeds[panel.column].to_numpy() * panel.scale
        ax.scatter(np.full(dots.size, x - 0.22), dots, s=9, color=color, alpha=0.45, linewidths=0)
        low, value, high = (row[panel.column + end] * panel.scale for end in ("_low", "", "_high"))
        ax.plot([x, x], [low, high], color=color, linewidth=2.2, solid_capstyle="butt")
        ax.plot(x, value, "o", color=color, markersize=5)
    positions = [g * (len(methods) + 0.8) + i for g in range(len(profiles)) for i in range(len(methods))]
    ax.set_xticks(positions, [m for _ in profiles for m in methods], rotation=35, ha="right", rotation_mode="anchor")
    for label, method in zip(ax.get_xticklabels(), methods * len(profiles), strict=True):
        label.set_color(style.method_color(method, methods))
    for group, profile in enumerate(profiles):
        middle = group * (len(methods) + 0.8) + (len(methods) - 1) / 2
        name = profile.replace("_", "\n")
        ax.text(middle, -0.24, name, transform=ax.get_xaxis_transform(), ha="center", va="top", fontweight="bold")
    ax.tick_params(axis="x", length=0)
    # The label of the baseline stands at the right end.
    ax.set_xlim(positions[0] - 0.7, positions[-1] + 1.4)
    ax.set_title(panel.title[0].upper() + panel.title[1:])
    ax.set_ylabel("%" if panel.rate else panel.unit)


def _leave_room(ax: Axes, panel: Metric) -> None:
    """Shows the range of the data, not of the metric, so that intervals can be told apart; at most 100 %."""
    low, high = ax.dataLim.y0, ax.dataLim.y1
    for line in ax.get_lines():
        values = np.asarray(line.get_ydata(), dtype=float)
        low, high = min(low, np.nanmin(values)), max(high, np.nanmax(values))
    margin = 0.15 * ((high - low) or 1.0)
    top = high + 2 * margin
    ax.set_ylim(low - margin, min(top, 100.0) if panel.rate else top)
