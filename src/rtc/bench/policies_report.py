"""The page that compares kinds of policies: success, passes, acceptance, time and memory, and success against time."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rtc.bench.answers import Measured
from rtc.report import page
from rtc.report.figures import palette, style
from rtc.report.page import Page, Section
from rtc.shared import files, provenance, tables
from rtc.study import statistics
from rtc.study.outcome import Outcome
from rtc.study.questions import ArmKey
from rtc.study.statistics import Interval

SOLVED = "returned_episode_solved"


def success(outcome: Outcome, key: ArmKey) -> tuple[Interval, int]:
    """Share of solved episodes over all worlds whose cells are there, with its Wilson interval, and their number."""
    solved = np.concatenate([cell.episodes[SOLVED].to_numpy() for cell in outcome.group(key)])
    return statistics.wilson(int(solved.sum()), len(solved)), len(solved)


def table(outcome: Outcome, measured: Mapping[str, Measured]) -> pd.DataFrame:
    """A row per policy."""
    rows = []
    for one in outcome.study.arms:
        if not outcome.complete(one.key):
            continue
        rate, episodes = success(outcome, one.key)
        results = [cell.result for cell in outcome.group(one.key)]
        times = measured[one.method]
        percentiles = tables.percentiles(times.milliseconds)
        queries = sum(cell.episodes["num_queries"].sum() for cell in outcome.group(one.key))
        row = {
            "policy": one.method,
            "what": outcome.study.about[one.method],
            "episodes": episodes,
            "success (%)": tables.interval(100 * rate.value, 100 * rate.low, 100 * rate.high, 1),
            "passes per query": f"{np.mean([result['mean_flow_steps'] for result in results]):.2f}",
            "accepted, by layer (%)": _accepted(results),
            "invalid (%)": _share(results, "invalid_sequences", queries),
            **{f"p{level} (ms)": f"{value:.2f}" for level, value in percentiles.items()},
            "parameters": f"{times.parameters:,}",
            "MB": f"{times.megabytes:.1f}",
        }
        rows.append(row)
    return pd.DataFrame(rows)


def _accepted(results: list[dict]) -> str:
    """Share of the verified proposals that stood, layer by layer."""
    layers = sorted({name for result in results for name in result if name.startswith("proposed_")})
    shares = []
    for name in layers:
        proposed, accepted = (
            sum(result[column] for result in results) for column in (name, name.replace("proposed", "accepted"))
        )
        if proposed:
            shares.append(f"{100 * accepted / proposed:.0f}")
    return ", ".join(shares)


def _share(results: list[dict], column: str, whole: float) -> str:
    found = [result[column] for result in results if column in result]
    return f"{100 * sum(found) / whole:.1f}" if found else ""


def by_world(outcome: Outcome) -> pd.DataFrame:
    """Solved episodes in every world."""
    rows = []
    for one in outcome.study.arms:
        if outcome.complete(one.key):
            cells = {level: outcome.cells[level, *one.key] for level in outcome.levels}
            counts = {level: sum(int(cell.episodes[SOLVED].sum()) for cell in found) for level, found in cells.items()}
            rows.append({"policy": one.method, **counts})
    return pd.DataFrame(rows)


def iso_latency(outcome: Outcome, measured: Mapping[str, Measured]) -> Figure:
    """Success against the time of a query: a mark at its median, with whiskers to p95 and the Wilson interval."""
    methods = [one.method for one in outcome.study.arms if outcome.complete(one.key)]
    with matplotlib.rc_context(style.STYLE):
        canvas, axes = style.subplots(1, 1, (style.WIDTH, 4.0))
        ax = axes[0, 0]
        ax.set_xscale("log")
        for one in outcome.study.arms:
            if one.method not in methods:
                continue
            rate, _ = success(outcome, one.key)
            times = tables.percentiles(measured[one.method].milliseconds)
            color = palette.series_color(one.method.partition("_")[0], ("flow", "l1", "rsd", "fast"))
            ax.plot(times[50], 100 * rate.value, "o", color=color, markersize=4)
            ax.vlines(times[50], 100 * rate.low, 100 * rate.high, color=color, linewidth=0.8)
            ax.hlines(100 * rate.value, times[50], times[95], color=color, linewidth=0.8)
            ax.annotate(one.method, (times[50], 100 * rate.value), (3, 3), textcoords="offset points", fontsize=7)
        ax.set_xlabel("milliseconds of a query at batch 1 (median; whisker to p95)")
        ax.set_ylabel("success (%)")
    return canvas


def write(outcome: Outcome, measured: Mapping[str, Measured], root: Path, introduction: str, started: float) -> Path:
    """Writes table.csv, results_all.csv, figure and page below `root`; returns the file to open first."""
    found = table(outcome, measured)
    files.atomic_write(root / "table.csv", files.to_csv(found))
    files.atomic_write(root / "results_all.csv", files.to_csv(outcome.rows()))
    parts = [introduction, found]
    if outcome.missing:
        parts.insert(1, f"{len(outcome.missing)} cells are not there; policies that lack one are left out.")
    sections = (
        Section("", parts, ["iso_latency"]),
        Section("Solved episodes by task", [by_world(outcome)]),
    )
    text = Page(outcome.study.title, sections, provenance.footer(started))
    return page.write(root, {"en": text}, {"iso_latency": iso_latency(outcome, measured)})
