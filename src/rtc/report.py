"""The report of a delay experiment: statistics of its groups, paired differences, verdict, summary files."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rtc import figures, results, stats
from rtc.results import Cell, CellData, PathLike

LONG_TAIL, CONTROLLED = "long_tail", "tail_controlled"
NAIVE, REALTIME = "naive", "realtime"
BASELINE = "zero_delay"


@dataclasses.dataclass(frozen=True)
class Metric:
    """A column of the tables. Rates are shown in percent with one decimal, others with `decimals`."""

    column: str
    label: str
    definition: str
    rate: bool = False
    decimals: int = 2

    def show(self, value: float, sign: str = "") -> str:
        if not np.isfinite(value):
            return "n/a"
        return f"{100 * value:{sign}.1f}" if self.rate else f"{value:{sign}.{self.decimals}f}"


SOLVED = Metric(stats.SOLVED, "solved (%)", "episodes that reach the goal", rate=True)
EPISODE_METRICS = (
    SOLVED,
    Metric("returned_episode_returns", "return", "sum of rewards of an episode", decimals=3),
    Metric("returned_episode_lengths", "length (ticks)", "control ticks until the episode ends", decimals=1),
    Metric(
        "rms_ddelta_action",
        "rms jerk",
        "root mean square over an episode of a_t - 2 a_(t-1) + a_(t-2), over the actions that the level uses",
        decimals=3,
    ),
    Metric("max_delta_action", "max step", "largest ||a_t - a_(t-1)|| of an episode", decimals=3),
    Metric(
        "max_ddelta_action", "max jerk", "largest ||a_t - 2 a_(t-1) + a_(t-2)|| of an episode", decimals=3
    ),
)
CELL_METRICS = (
    Metric("d_p50", "d_p50 (ticks)", "median inference delay over all queries", decimals=1),
    Metric("d_p95", "d_p95 (ticks)", "95th percentile of the delay", decimals=1),
    Metric("d_p99", "d_p99 (ticks)", "99th percentile of the delay", decimals=1),
    Metric("p_violate", "p_violate (%)", "queries with d > H - s", rate=True),
    Metric(
        "p_starve_condition",
        "p_starve (%)",
        "queries that find the old chunk used up: max(s_k, d_k) + d_(k+1) > H",
        rate=True,
    ),
    Metric("p_late", "p_late (%)", "queries that took longer than planned, d > planned d", rate=True),
    Metric("starved_fraction", "starved (%)", "ticks without a chunk action: the fallback acts", rate=True),
    Metric("mean_execute_horizon", "mean L (ticks)", "mean ticks from one query to the next"),
    Metric(
        "age_p50", "age_p50 (ticks)", "median age of the observation behind an executed action", decimals=1
    ),
    Metric("age_p99", "age_p99 (ticks)", "99th percentile of that age", decimals=1),
    Metric("flow_evals_per_tick", "flow evals/tick", "evaluations of the flow network per tick (compute)"),
)
DIFFERENCE_METRICS = tuple(m for m in EPISODE_METRICS if m.column != "max_delta_action")

CAUTIONS = """\
- The maxima (`max_delta_action`, `max_ddelta_action`) are poor measures of smoothness: a failing policy that
  is mostly starved holds still and scores best. Read them beside the solve rate and `rms_ddelta_action`.
- `p_violate` is not the starvation condition. Ticks starve where `max(s_k, d_k) + d_(k+1) > H`
  (`p_starve_condition`), which two moderate delays in a row can meet.
- Tail control that caps the delay is an idealisation: `d_p99` and `p_violate` fall by construction. The
  experiment shows how much the policy gains from a shorter tail, not how to get one.
- Intervals treat episodes as independent; they hold for this policy and level, not for others.
"""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """All verified cells of an experiment, in the order profile, method, seed, and the zero-delay baseline.

    Attributes:
        baseline: its cells; none where it is missing or belongs to another policy, level or code version, and
            `baseline_note` says why.
    """

    root: Path
    cells: tuple[CellData, ...]
    baseline: tuple[CellData, ...]
    baseline_note: str

    def group(self, profile: str, method: str) -> list[CellData]:
        return [c for c in self.cells if (c.cell.profile, c.cell.method) == (profile, method)]

    @property
    def profiles(self) -> list[str]:
        return list(dict.fromkeys(data.cell.profile for data in self.cells))

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(data.cell.method for data in self.cells))


def load_experiment(
    root: PathLike,
    baseline_root: PathLike,
    *,
    profiles: Sequence[str],
    methods: Sequence[str],
    seeds: Sequence[int],
    level: str,
    run_command: str,
    baseline_command: str,
) -> Experiment:
    """Reads and verifies every cell, and refreshes `results_all.csv`.

    Args:
        run_command: command that computes missing cells, for the error message.
        baseline_command: the same for the baseline.

    Raises:
        CellError: cells are missing or damaged (all are named), or the baseline is damaged.
        ValueError: the cells come from different policies, levels, code versions or protocols.
    """
    root = Path(root)
    cells = [Cell(p, m, s, level) for p in profiles for m in methods for s in seeds]
    try:
        results.collect(root, cells)
    except results.CellError as error:
        raise results.CellError(f"{root}: {error}\nCompute them with: {run_command}") from None
    data = tuple(results.read_cell(results.cell_dir(root, cell), cell) for cell in cells)
    _require_one_protocol(data)
    baseline, note = _load_baseline(Path(baseline_root), seeds, data[0], baseline_command)
    return Experiment(root, data, baseline, note)


def _load_baseline(
    root: Path, seeds: Sequence[int], like: CellData, command: str
) -> tuple[tuple[CellData, ...], str]:
    """The baseline is one cell in `root` itself, or the cells `no_delay/naive/seed_<n>` below it."""
    places = [root, *(root / "no_delay" / NAIVE / f"seed_{seed}" for seed in seeds)]
    places = [place for place in places if (place / results.MARKER).exists()]
    if not places:
        return (), f"there is none in {root}; compute it with: {command}"
    try:
        baseline = tuple(results.read_cell(place) for place in places)
    except results.CellError as error:
        raise results.CellError(f"{error}\nCompute the baseline again with: {command}") from None
    for key in ("checkpoint_sha256", "level_sha256", "code_version"):
        if any(data.inputs.get(key) != like.inputs.get(key) for data in baseline):
            what = key.removesuffix("_sha256").replace("_", " ")
            return (), f"the one in {root} has another {what}; compute it with: {command}"
    return baseline, ""


def _require_one_protocol(cells: Sequence[CellData]) -> None:
    for key in ("checkpoint_sha256", "level_sha256", "code_version"):
        values = {data.inputs.get(key) for data in cells}
        if len(values) > 1:
            raise ValueError(
                f"the cells differ in {key} ({len(values)} values); run the experiment again to renew them"
            )
    episodes = {tuple(data.episodes["episode"]) for data in cells}
    if len(episodes) > 1:
        sizes = sorted({len(indices) for indices in episodes})
        raise ValueError(
            f"the cells hold different episodes (counts {sizes}) and cannot be paired; run them again"
        )
    mixed = [name for name, factor in _varying_settings(cells).items() if factor == "cell"]
    if mixed:
        raise ValueError(
            f"the cells mix protocols: {', '.join(mixed)} differ from cell to cell; run them again"
        )


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one dict with dotted names; lists stay values."""
    if not isinstance(config, dict):
        return {prefix: config}
    parts = [flatten(value, f"{prefix}.{name}" if prefix else str(name)) for name, value in config.items()]
    return {name: value for part in parts for name, value in part.items()}


def _varying_settings(cells: Sequence[CellData]) -> dict[str, str]:
    """Settings that are not the same in all cells -> the factor that decides them, or "cell" if none does."""
    flat = [flatten(data.inputs.get("config", {})) for data in cells]
    varying = {}
    for name in dict.fromkeys(name for settings in flat for name in settings):
        values = [repr(settings.get(name)) for settings in flat]
        if len(set(values)) > 1:
            deciding = [
                f
                for f in ("profile", "method", "seed")
                if _decides([getattr(c.cell, f) for c in cells], values)
            ]
            varying[name] = deciding[0] if deciding else "cell"
    return varying


def _decides(factor: Sequence[Any], values: Sequence[Any]) -> bool:
    return len(set(zip(factor, values, strict=True))) == len(set(factor))


def summarise(experiment: Experiment) -> pd.DataFrame:
    """One row per (profile, method), then the baseline: `<metric>`, its `_std` over seeds, `_low`, `_high`.

    `_low` and `_high` bound the 95 % interval. Cell metrics (delay percentiles and shares) are means over
    seeds and have no interval.
    """
    groups = {(p, m): experiment.group(p, m) for p in experiment.profiles for m in experiment.methods}
    if experiment.baseline:
        groups[BASELINE, experiment.baseline[0].cell.method] = list(experiment.baseline)
    columns = [metric.column for metric in EPISODE_METRICS], [metric.column for metric in CELL_METRICS]
    return pd.DataFrame(
        [{"profile": p, "method": m, **stats.summarise_group(c, *columns)} for (p, m), c in groups.items()]
    )


def differences(experiment: Experiment) -> pd.DataFrame:
    """Paired differences of means over (seed, episode), with 95 % intervals.

    Rows: tail_controlled - long_tail for each method, realtime - naive for each profile, where both exist.
    """
    pairs = [((CONTROLLED, m), (LONG_TAIL, m)) for m in experiment.methods]
    pairs += [((p, REALTIME), (p, NAIVE)) for p in experiment.profiles]
    rows = []
    for candidate, reference in pairs:
        after, before = experiment.group(*candidate), experiment.group(*reference)
        if not after or not before:
            continue
        for metric in DIFFERENCE_METRICS:
            if all(metric.column in data.episodes for data in [*after, *before]):
                rows.append(
                    {
                        "candidate": "/".join(candidate),
                        "reference": "/".join(reference),
                        "metric": metric.column,
                    }
                    | stats.group_difference(after, before, metric.column)
                )
    return pd.DataFrame(rows)


def judge(experiment: Experiment, method: str = REALTIME) -> stats.Verdict:
    """The verdict on tail control for `method`; see `stats.judge_tail_control`."""

    def metrics(profile: str) -> stats.SeedMetrics:
        rows = [data.result for data in experiment.group(profile, method)]
        if not rows:
            raise ValueError(
                f"there are no cells {profile}/{method}; the verdict needs {LONG_TAIL} and {CONTROLLED}"
            )
        return stats.SeedMetrics(
            *([row[name] for row in rows] for name in ("d_p99", "p_violate", SOLVED.column))
        )

    baseline = stats.solve_rate(experiment.baseline) if experiment.baseline else None
    return stats.judge_tail_control(metrics(LONG_TAIL), metrics(CONTROLLED), baseline)


def format_table(table: pd.DataFrame) -> str:
    """A table as aligned Markdown; floats with four significant digits, numbers to the right."""
    columns = [str(name) for name in table.columns]
    rows = [[_cell_text(value) for value in row] for row in table.itertuples(index=False)]
    numeric = [pd.api.types.is_numeric_dtype(table[name]) for name in table.columns]
    widths = [max(3, *(len(row[i]) for row in [columns, *rows])) for i in range(len(columns))]

    def line(cells: Sequence[str]) -> str:
        aligned = [c.rjust(w) if n else c.ljust(w) for c, w, n in zip(cells, widths, numeric, strict=True)]
        return "| " + " | ".join(aligned) + " |"

    rule = ["-" * (w - 1) + (":" if n else "-") for w, n in zip(widths, numeric, strict=True)]
    return "\n".join([line(columns), line(rule), *(line(row) for row in rows)])


def _cell_text(value: Any) -> str:
    if isinstance(value, float):
        return "n/a" if np.isnan(value) else f"{value:.4g}"
    return str(value).replace("|", "\\|")


def outcome_table(summary: pd.DataFrame) -> pd.DataFrame:
    """The episode metrics of `summarise` for reading: mean ± std over seeds [95 % interval]."""

    def text(row: dict[str, Any], metric: Metric) -> str:
        value, std, low, high = (
            row.get(metric.column + end, np.nan) for end in ("", "_std", "_low", "_high")
        )
        spread = f" ± {metric.show(std)}" if np.isfinite(std) else ""
        return f"{metric.show(value)}{spread} [{metric.show(low)}, {metric.show(high)}]"

    return _reading_table(summary, EPISODE_METRICS, text)


def delay_table(summary: pd.DataFrame) -> pd.DataFrame:
    """The delay metrics of `summarise` for reading: means over seeds."""
    return _reading_table(
        summary, CELL_METRICS, lambda row, metric: metric.show(row.get(metric.column, np.nan))
    )


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
        interval = stats.Interval(record["difference"], record["low"], record["high"])
        mark = " *" if interval.excludes_zero else ""
        value, low, high = (metric.show(x, "+") for x in dataclasses.astuple(interval))
        row = rows.setdefault((record["candidate"], record["reference"]), {})
        row[metric.label.replace("(%)", "(pp)")] = f"{value} [{low}, {high}]{mark}"
    return pd.DataFrame([{"difference": f"{a} - {b}", **row} for (a, b), row in rows.items()])


def verdict_lines(verdict: stats.Verdict) -> list[str]:
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
    experiment: Experiment, directory: PathLike, *, command: str, trace: figures.EpisodeTrace | None = None
) -> pd.DataFrame:
    """Writes `summary.csv`, `summary.md` and `figures/` into `directory`; returns the summary table.

    Args:
        command: command that makes this report again, for the text.
        trace: the episode of the timeline figure; None leaves that figure out.
    """
    directory = Path(directory)
    summary = summarise(experiment)
    names = write_figures(experiment, summary, directory / "figures", trace)
    results.atomic_write(directory / "summary.csv", results.to_csv(summary))
    results.atomic_write(directory / "summary.md", markdown(experiment, summary, names, command))
    return summary


def write_figures(
    experiment: Experiment, summary: pd.DataFrame, directory: Path, trace: figures.EpisodeTrace | None
) -> list[str]:
    """Writes the figures as PNG and SVG; returns their names."""
    groups = summary[summary["profile"] != BASELINE]
    base = summary[summary["profile"] == BASELINE]
    per_seed = pd.DataFrame([data.result for data in experiment.cells])
    baseline = (
        {} if base.empty else base.iloc[0][[m.column for m in EPISODE_METRICS if m.column in base]].to_dict()
    )
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
    varying = {name.rpartition(".")[2] for name in _varying_settings(experiment.cells)}
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
        "outcomes": "Large dots: means with 95 % intervals; small dots: seeds; dashed: zero-delay baseline.",
        "delays": "Sampled delays. Vermillion: longer than H - s.",
        "timeline": "One episode: chunks, delays, age of the executed action, commanded action.",
    }
    lines = [f"![{name}](figures/{name}.png)\n\n{captions[name]}\n" for name in names]
    if "timeline" not in names:
        lines.append("The timeline is left out: no episode trace was recorded.")
    return ["\n".join(lines).rstrip()]


def _protocol_lines(experiment: Experiment) -> list[str]:
    """All settings of the cells: the common ones, then those that the profile, method or seed decides."""
    flat = {data.cell: flatten(data.inputs.get("config", {})) for data in experiment.cells}
    varying = _varying_settings(experiment.cells)
    common = next(iter(flat.values()))
    lines = [f"- {name}: {value}" for name, value in common.items() if name not in varying]
    for name, factor in varying.items():
        values = {getattr(cell, factor): settings.get(name) for cell, settings in flat.items()}
        lines.append(
            f"- {name}, by {factor}: " + "; ".join(f"{key} = {value}" for key, value in values.items())
        )
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
