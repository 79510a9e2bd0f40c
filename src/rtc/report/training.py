"""What was trained and how well it does: one row per shipped policy, and the learning curves."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rtc.policies import checkpoints
from rtc.policies.checkpoints import level_slug
from rtc.report import figures
from rtc.study import cells, runner, statistics
from rtc.study.cells import Cell
from rtc.study.evaluation import EvalConfig
from rtc.study.runner import PlannedCell
from rtc.training import cloning, progress

ZERO_DELAY = "no_delay"


@dataclasses.dataclass(frozen=True)
class Shipped:
    """One checkpoint in logs-bc/.

    Attributes:
        run: directory of the run, logs-bc/<run>.
        epoch: its epoch.
        level: name of the level.
    """

    run: Path
    epoch: int
    level: str


def shipped(root: Path, levels: Sequence[str]) -> Iterator[Shipped]:
    """All checkpoints of the given levels below `root`, by run, epoch and level."""
    for run in sorted(path for path in root.iterdir() if path.is_dir()):
        for epoch in checkpoints.list_epochs(run):
            for level in levels:
                if cloning.policy_path(run, epoch, level_slug(level)).with_suffix(".safetensors").is_file():
                    yield Shipped(run, epoch, level)


def solve_rate(policy: Shipped, root: Path, num_evals: int) -> statistics.Interval:
    """Naive solve rate at zero delay, s = 1; its cell is kept below `root` and not computed again."""
    subject = runner.load_subject(policy.run, policy.level, policy.epoch)
    config = EvalConfig(num_evals=num_evals, model=subject.policy.config)
    cell = Cell(ZERO_DELAY, "naive", 0, policy.level)
    root = root / policy.run.name / str(policy.epoch) / policy.level
    place = runner.run_cells(root, [PlannedCell(cell, config)], subject)[cell]
    return statistics.solve_rate([cells.read_cell(place, cell)])


def row(policy: Shipped, rate: statistics.Interval) -> dict[str, Any]:
    """A row of the table."""
    path = cloning.policy_path(policy.run, policy.epoch, level_slug(policy.level))
    found, facts = checkpoints.load_policy(path)
    experts, masked = facts["data_experts"], facts.get("data_masked_experts", {})
    size = sum(path.with_suffix(suffix).stat().st_size for suffix in (".safetensors", ".json"))
    return {
        "level": policy.level,
        "solved (%)": statistics.percent(rate),
        "experts solved (%)": _rates(experts),
        "masked (%)": _rates(masked) or "-",
        "expert steps (M)": ", ".join(f"{e['env_steps'] / 1e6:.1f}" for e in experts.values()),
        "expert time (s)": round(sum(e["seconds"] for e in experts.values())),
        "data (transitions)": facts["data_transitions"],
        "data solved (%)": f"{100 * facts['data_solve_rate']:.1f}",
        "H": found.config.action_chunk_size,
        "loss": facts["loss"],
        "cloning time (s)": round(facts["seconds"]),
        "size (kB)": round(size / 1000),
        "commit": _short(facts.get("git_commit")),
    }


def _rates(experts: dict[str, dict[str, Any]]) -> str:
    return ", ".join(f"{100 * facts['solve_rate']:.1f}" for facts in experts.values())


def _short(commit: str | None) -> str:
    return commit[:10] if commit else "unknown"


def expert_curves(run: Path, levels: Sequence[str]) -> Figure:
    """Solve rate of every expert of a run during training, one panel per level; given-up seeds in grey."""
    with matplotlib.rc_context(figures.STYLE):
        height = 1.2 + 1.7 * -(-len(levels) // figures.LEVELS_PER_ROW)
        figure = Figure(figsize=(10, height), layout="constrained")
        for ax, level in figures.solve_rate_panels(figure, levels):
            for path in sorted((run / "stats").glob(f"{level_slug(level)}_seed_*.csv")):
                table = pd.DataFrame(progress.read_rows(path))
                smooth = table["solve_rate"].rolling(8, min_periods=1).mean()
                kept = any(run.glob(f"[0-9]*/policies/{path.stem}.safetensors"))
                color = figures.BLUE if kept else figures.LIGHT
                ax.plot(table["env_steps"] / 1e6, 100 * smooth, color=color, linewidth=1.0, zorder=2 if kept else 1)
        figure.supxlabel("environment steps (millions)", fontsize=9)
        figure.supylabel("episodes solved (%), mean of 8 updates", fontsize=9)
    return figure


def cloning_curves(runs: Sequence[Path], levels: Sequence[str]) -> Figure:
    """Flow-matching loss by epoch, one panel per run and a line per level."""
    with matplotlib.rc_context(figures.STYLE):
        figure, axes = figures.subplots(1, len(runs), (1 + 3.2 * len(runs), 3.2))
        for ax, run in zip(axes[0], runs, strict=True):
            for number, level in enumerate(levels):
                rows = progress.read_rows(run / "stats" / f"{level_slug(level)}.csv")
                if rows:
                    shade = matplotlib.colormaps["viridis"](number / max(1, len(levels) - 1))
                    epochs = np.arange(1, len(rows) + 1)
                    ax.plot(epochs, [r["loss"] for r in rows], color=shade, linewidth=1.0, label=level)
            ax.set_title(run.name)
            ax.set_xlabel("epoch")
        figure.axes[0].set_ylabel("flow-matching loss")
        figure.legend(*figure.axes[-1].get_legend_handles_labels(), loc="outside right center", frameon=False)
    return figure
