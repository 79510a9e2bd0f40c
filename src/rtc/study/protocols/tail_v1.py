"""A finished delay experiment: its verified cells, the statistics of its groups, paired differences, the verdict."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rtc.shared.files import PathLike
from rtc.study import cells as results
from rtc.study import statistics
from rtc.study.cells import Cell, CellData

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


SOLVED = Metric(statistics.SOLVED, "solved (%)", "episodes that reach the goal", rate=True)
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
    Metric(
        "max_delta_action",
        "max step",
        "largest ||a_t - a_(t-1)|| of an episode, over the same actions",
        decimals=3,
    ),
    Metric(
        "max_ddelta_action",
        "max jerk",
        "largest ||a_t - 2 a_(t-1) + a_(t-2)|| of an episode, over the same actions",
        decimals=3,
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
    Metric("mean_planned_delay", "planned d (ticks)", "mean of the delay that the method plans with"),
    Metric("starved_fraction", "starved (%)", "ticks without a chunk action: the fallback acts", rate=True),
    Metric("mean_execute_horizon", "mean L (ticks)", "mean ticks from one query to the next"),
    Metric("age_p50", "age_p50 (ticks)", "median age of the observation behind an executed action", decimals=1),
    Metric("age_p99", "age_p99 (ticks)", "99th percentile of that age", decimals=1),
    Metric("flow_evals_per_tick", "flow evals/tick", "evaluations of the flow network per tick (compute)"),
)
# What the zero-delay baseline must have in common with the experiment.
SHARED_SETTINGS = ("num_evals", "num_flow_steps", "physics", "model")
DIFFERENCE_METRICS = tuple(m for m in EPISODE_METRICS if m.column != "max_delta_action")


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


def _load_baseline(root: Path, seeds: Sequence[int], like: CellData, command: str) -> tuple[tuple[CellData, ...], str]:
    """The cells `no_delay/naive/seed_<n>` of the experiment's seeds, or none and why."""
    cells = [Cell("no_delay", NAIVE, seed, like.cell.level) for seed in seeds]
    if not all((results.cell_dir(root, cell) / results.MARKER).exists() for cell in cells):
        return (), f"{root} does not hold one for every seed; compute it with: {command}"
    try:
        baseline = tuple(results.read_cell(results.cell_dir(root, cell), cell) for cell in cells)
    except results.CellError as error:
        raise results.CellError(f"{error}\nCompute the baseline again with: {command}") from None
    for data in baseline:
        for key in ("checkpoint_sha256", "level_sha256", "code_version"):
            if data.inputs.get(key) != like.inputs.get(key):
                what = key.removesuffix("_sha256").replace("_", " ")
                return (), f"the one in {root} has another {what}; compute it with: {command}"
        for name in SHARED_SETTINGS:
            here, there = (one.inputs.get("config", {}).get(name) for one in (data, like))
            if here != there:
                return (), f"the one in {root} has {name}={here!r}, not {there!r}; compute it with: {command}"
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
        raise ValueError(f"the cells hold different episodes (counts {sizes}) and cannot be paired; run them again")
    mixed = [name for name, factor in varying_settings(cells).items() if factor == "cell"]
    if mixed:
        raise ValueError(f"the cells mix protocols: {', '.join(mixed)} differ from cell to cell; run them again")


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one dict with dotted names; lists stay values."""
    if not isinstance(config, dict):
        return {prefix: config}
    parts = [flatten(value, f"{prefix}.{name}" if prefix else str(name)) for name, value in config.items()]
    return {name: value for part in parts for name, value in part.items()}


def varying_settings(cells: Sequence[CellData]) -> dict[str, str]:
    """Settings that are not the same in all cells -> the factor that decides them, or "cell" if none does."""
    flat = [flatten(data.inputs.get("config", {})) for data in cells]
    varying = {}
    for name in dict.fromkeys(name for settings in flat for name in settings):
        values = [repr(settings.get(name)) for settings in flat]
        if len(set(values)) > 1:
            deciding = [
                f for f in ("profile", "method", "seed") if _decides([getattr(c.cell, f) for c in cells], values)
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
        [{"profile": p, "method": m, **statistics.summarise_group(c, *columns)} for (p, m), c in groups.items()]
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
                    | statistics.group_difference(after, before, metric.column)
                )
    return pd.DataFrame(rows)


def judge(experiment: Experiment, method: str = REALTIME) -> statistics.Verdict:
    """The verdict on tail control for `method`; see `stats.judge_tail_control`."""

    def metrics(profile: str) -> statistics.SeedMetrics:
        rows = [data.result for data in experiment.group(profile, method)]
        if not rows:
            raise ValueError(f"there are no cells {profile}/{method}; the verdict needs {LONG_TAIL} and {CONTROLLED}")
        return statistics.SeedMetrics(*([row[name] for row in rows] for name in ("d_p99", "p_violate", SOLVED.column)))

    baseline = statistics.solve_rate(experiment.baseline) if experiment.baseline else None
    return statistics.judge_tail_control(metrics(LONG_TAIL), metrics(CONTROLLED), baseline)
