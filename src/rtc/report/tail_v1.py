"""The report of a delay experiment: tables, figures, summary.csv and summary.md."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rtc.control.timeline import EpisodeTrace
from rtc.report import figures
from rtc.shared import files
from rtc.shared.files import PathLike
from rtc.shared.tables import format_table
from rtc.study import statistics
from rtc.study.protocols.tail_v1 import (
    BASELINE,
    CELL_METRICS,
    CONTROLLED,
    DIFFERENCE_METRICS,
    EPISODE_METRICS,
    LONG_TAIL,
    REALTIME,
    Experiment,
    Metric,
    differences,
    flatten,
    judge,
    summarise,
    varying_settings,
)

CAUTIONS = """\
- The maxima (`max_delta_action`, `max_ddelta_action`) are poor measures of smoothness: a failing policy that
  is mostly starved holds still and scores best. Read them beside the solve rate and `rms_ddelta_action`.
- `p_violate` is not the starvation condition. Ticks starve where `max(s_k, d_k) + d_(k+1) > H`
  (`p_starve_condition`), which two moderate delays in a row can meet.
- Tail control that caps the delay is an idealisation: `d_p99` and `p_violate` fall by construction. The
  experiment shows how much the policy gains from a shorter tail, not how to get one.
- `realtime` plans with an estimate of the delay. With the maximum of a window, one spike makes it plan for a spike
  for the rest of the window (see `mean_planned_delay`), so a shorter tail also means a less cautious plan.
- Intervals treat episodes as independent; they hold for this policy and level, not for others.
"""


def outcome_table(summary: pd.DataFrame) -> pd.DataFrame:
    """The episode metrics of `summarise` for reading: mean ± std over seeds [95 % interval]."""

    def text(row: dict[str, Any], metric: Metric) -> str:
        value, std, low, high = (row.get(metric.column + end, np.nan) for end in ("", "_std", "_low", "_high"))
        spread = f" ± {metric.show(std)}" if np.isfinite(std) else ""
        return f"{metric.show(value)}{spread} [{metric.show(low)}, {metric.show(high)}]"

    return _reading_table(summary, EPISODE_METRICS, text)


def delay_table(summary: pd.DataFrame) -> pd.DataFrame:
    """The delay metrics of `summarise` for reading: means over seeds."""
    return _reading_table(summary, CELL_METRICS, lambda row, metric: metric.show(row.get(metric.column, np.nan)))


def _reading_table(
    summary: pd.DataFrame, metrics: Sequence[Metric], text: Callable[[dict[str, Any], Metric], str]
) -> pd.DataFrame:
    shown = [metric for metric in metrics if metric.column in summary.columns]
    return pd.DataFrame(
        [
            {"profile": row["profile"], "method": row["method"], **{m.label: text(row, m) for m in shown}}
            for row in summary.to_dict("records")
        ]
    )


def difference_table(table: pd.DataFrame) -> pd.DataFrame:
    """The paired differences for reading; rates in percentage points, `*` where the interval excludes 0."""
    metrics = {metric.column: metric for metric in DIFFERENCE_METRICS}
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for record in table.to_dict("records"):
        metric = metrics[record["metric"]]
        interval = statistics.Interval(record["difference"], record["low"], record["high"])
        mark = " *" if interval.excludes_zero else ""
        value, low, high = (metric.show(x, "+") for x in dataclasses.astuple(interval))
        row = rows.setdefault((record["candidate"], record["reference"]), {})
        row[metric.label.replace("(%)", "(pp)")] = f"{value} [{low}, {high}]{mark}"
    return pd.DataFrame([{"difference": f"{a} - {b}", **row} for (a, b), row in rows.items()])


def verdict_lines(verdict: statistics.Verdict) -> list[str]:
    """The checks and the conclusion as Markdown; without a conclusion the solve rate is not judged."""
    d_p99, p_violate, solved = verdict.checks
    mark = ["PASS" if check.passed else "FAIL" for check in verdict.checks]
    if not verdict.conclusive:
        mark[2] = "NOT JUDGED"
    limit = f"{solved.limit:.1%}" if np.isfinite(solved.limit) else "n/a"
    lines = [
        f"- **{mark[0]}**: {d_p99.name}: {d_p99.reference:.1f} → {d_p99.candidate:.1f} ticks",
        f"- **{mark[1]}**: {p_violate.name}: {p_violate.reference:.1%} → {p_violate.candidate:.1%}",
        f"- **{mark[2]}**: {solved.name}: {solved.reference:.1%} → {solved.candidate:.1%} (limit {limit})",
    ]
    if not verdict.conclusive:
        return [*lines, "", f"**No conclusion** about the policy can be drawn: {verdict.reason}."]
    return [*lines, "", f"Conclusion: **{'PASS' if verdict.passed else 'FAIL'}**."]


def write_report(
    experiment: Experiment, directory: PathLike, *, command: str, trace: EpisodeTrace | None = None
) -> pd.DataFrame:
    """Writes `summary.csv`, `summary.md` and `figures/` into `directory`; returns the summary table.

    Args:
        command: command that makes this report again, for the text.
        trace: the episode of the timeline figure; None leaves that figure out.
    """
    directory = Path(directory)
    summary = summarise(experiment)
    names = write_figures(experiment, summary, directory / "figures", trace)
    files.atomic_write(directory / "summary.csv", files.to_csv(summary))
    files.atomic_write(directory / "summary.md", markdown(experiment, summary, names, command))
    return summary


def write_figures(
    experiment: Experiment, summary: pd.DataFrame, directory: Path, trace: EpisodeTrace | None
) -> list[str]:
    """Writes the figures as PNG and SVG; returns their names."""
    groups = summary[summary["profile"] != BASELINE]
    base = summary[summary["profile"] == BASELINE]
    per_seed = pd.DataFrame([data.result for data in experiment.cells])
    baseline = {} if base.empty else base.iloc[0][[m.column for m in EPISODE_METRICS if m.column in base]].to_dict()
    made = {
        "outcomes": figures.outcomes(groups, per_seed, baseline),
        "delays": figures.delay_distributions(_delay_counts(experiment), _delay_limit(experiment)),
    }
    if trace is not None:
        made["timeline"] = figures.timeline(trace)
    else:
        for suffix in ("png", "svg"):  # of an earlier report
            (directory / f"timeline.{suffix}").unlink(missing_ok=True)
    for name, figure in made.items():
        figures.save(figure, directory / name)
    return list(made)


def _delay_counts(experiment: Experiment) -> dict[str, Counter[int]]:
    counts = {profile: Counter() for profile in experiment.profiles}
    for data in experiment.cells:
        counts[data.cell.profile].update(data.delay_counts)
    return counts


def _delay_limit(experiment: Experiment) -> int | None:
    """H - s, if all cells have the same fixed execute horizon."""
    settings = flatten(experiment.cells[0].inputs.get("config", {}))
    chunk, horizon = (_setting(settings, name) for name in ("action_chunk_size", "execute_horizon"))
    varying = {name.rpartition(".")[2] for name in varying_settings(experiment.cells)}
    if chunk is None or horizon is None or varying & {"action_chunk_size", "execute_horizon", "horizon"}:
        return None
    return None if _setting(settings, "horizon") == "adaptive" else chunk - horizon


def _setting(settings: dict[str, Any], name: str) -> Any:
    return next((value for key, value in settings.items() if key.rpartition(".")[2] == name), None)


def markdown(experiment: Experiment, summary: pd.DataFrame, figure_names: Sequence[str], command: str) -> str:
    """The text of summary.md."""
    level = experiment.cells[0].cell.level
    seeds = len({data.cell.seed for data in experiment.cells})
    if not experiment.baseline:
        baseline = f"**The zero-delay baseline is missing**: {experiment.baseline_note}."
    else:
        baseline = f"The row `{BASELINE}` is the same policy without inference delay."
    sections = {
        "Verdict": [
            f"Method `{REALTIME}`, `{CONTROLLED}` against `{LONG_TAIL}`, means over {seeds} seeds:\n",
            *verdict_lines(judge(experiment)),
        ],
        "Results": [
            "Mean ± standard deviation over seeds [95 % interval over all episodes: Wilson for solve rates, "
            f"bootstrap else]. {baseline}\n",
            format_table(outcome_table(summary)),
            "\nDelay and starvation, means over seeds:\n",
            format_table(delay_table(summary)),
        ],
        "Paired differences": [
            "Difference of means [95 % paired bootstrap interval] over pairs (seed, episode), which share "
            "their random numbers; `*`: the interval excludes 0. No correction for multiple comparisons.\n",
            format_table(difference_table(differences(experiment))),
        ],
        "Figures": _figure_lines(figure_names),
        "Protocol": _protocol_lines(experiment),
        "Provenance": [*_provenance_lines(experiment), f"- this report: `{command}`"],
        "Metrics": [f"- `{m.column}`: {m.definition}." for m in (*EPISODE_METRICS, *CELL_METRICS)],
        "Cautions": [CAUTIONS.rstrip()],
    }
    title = f"# Tail control of the inference delay on {level}"
    parts = [title, *(f"## {name}\n\n" + "\n".join(lines) for name, lines in sections.items())]
    return "\n\n".join(parts) + "\n"


def _figure_lines(names: Sequence[str]) -> list[str]:
    captions = {
        "outcomes": "Large dots: means with 95 % intervals; small dots: seeds; dashed: zero-delay baseline. "
        "The axes do not start at zero.",
        "delays": "Sampled delays. Vermillion: longer than H - s.",
        "timeline": "One episode: chunks, delays, age of the executed action, commanded action. Of the cell's solved "
        "episodes that starve, the one with the median number of starved ticks.",
    }
    lines = [f"![{name}](figures/{name}.png)\n\n{captions[name]}\n" for name in names]
    if "timeline" not in names:
        lines.append("The timeline is left out: no episode trace was recorded.")
    return ["\n".join(lines).rstrip()]


def _protocol_lines(experiment: Experiment) -> list[str]:
    """All settings of the cells: the common ones, then those that the profile, method or seed decides."""
    flat = {data.cell: flatten(data.inputs.get("config", {})) for data in experiment.cells}
    varying = varying_settings(experiment.cells)
    common = next(iter(flat.values()))
    lines = [f"- {name}: {value}" for name, value in common.items() if name not in varying]
    for name, factor in varying.items():
        values = {getattr(cell, factor): settings.get(name) for cell, settings in flat.items()}
        lines.append(f"- {name}, by {factor}: " + "; ".join(f"{key} = {value}" for key, value in values.items()))
    return lines or ["The cells carry no configuration."]


def _provenance_lines(experiment: Experiment) -> list[str]:
    records = [flatten(data.provenance) for data in experiment.cells]
    lines = []
    for name in dict.fromkeys(name for record in records for name in record):
        values = list(dict.fromkeys(str(record.get(name)) for record in records))
        if name == "wall_s":
            lines.append(f"- wall time of all cells: {sum(record[name] for record in records):.0f} s")
        elif name == "start_time_utc":
            lines.append(f"- first cell started: {min(record[name] for record in records)}")
        else:
            lines.append(f"- {name}: " + ", ".join(f"`{value}`" for value in values))
    first = experiment.cells[0].inputs
    keys = ("checkpoint_sha256", "level_sha256", "code_version")
    return [*lines, *(f"- {key}: `{first[key]}`" for key in keys if key in first)]
