"""Evaluates every policy in logs-bc/ without delay and writes logs-bc/README.md: how it was trained, what it solves."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rtc.report import figures, training
from rtc.report.training import Shipped
from rtc.shared import commands, files, provenance, tables
from rtc.study.statistics import Interval
from rtc.worlds.kinetix.levels import LEVEL_NAMES

INTRODUCTION = """\
Each run `logs-bc/<run>/<epoch>/policies/` holds one policy per level (`.safetensors`, and its facts in `.json`).

- `h8`: flow policies with chunks of 8 actions; the early epoch is the weak policy for bidirectional decoding.
- `h8_prefix`: the same, fine-tuned with simulated delay, for training-time RTC (`trained_prefix`).
- `h4`, `h4_prefix`: the same with chunks of 4 (study L).
- `h8_seed1`, `h8_seed2`: cloned from the same demonstrations as `h8`, with other seeds (study M).
- `grasp_easy_h4`: the policy of tail_v1, with chunks of 4, from an expert of its own.

`solved`: naive, no delay, a new chunk at every tick (d = 0, s = 1), {num_evals} episodes, with Wilson's 95 % interval.
Where a policy's facts say `data_record_mode`, drawn actions were executed and the experts' mode is what is imitated
(DART). Experts are imitated if they solve at least 65 % of their last episodes in training, unless
`worlds/demonstrations.toml` asks for more; `masked` are the others. Seeds that never solved an episode were given up
and are not counted. Times are wall times of training, in seconds; the machine was doing other things at times.
"""


@dataclass(frozen=True)
class Arguments:
    """Command line of report_training.

    Attributes:
        levels: levels to report.
        num_evals: episodes per policy.
        root: where the policies are; the report goes there too.
        expert_run: the experts' run, for their learning curves; skipped where it is not there.
        cells: where finished evaluations are kept.
    """

    levels: tuple[str, ...] = LEVEL_NAMES
    num_evals: int = 2048
    root: Path = Path("logs-bc")
    expert_run: Path = Path("logs-expert/benchmark")
    cells: Path = Path("exp_runs/policies/cells")


def section(name: str, policies: dict[Shipped, Interval]) -> str:
    """The table of one run and epoch."""
    table = tables.format_table(pd.DataFrame([training.row(*item) for item in policies.items()]))
    rates = [rate.value for rate in policies.values()]
    mean = f"Mean over {len(rates)} levels: {np.mean(rates):.1%}; lowest: {min(rates):.1%}."
    return f"## {name}\n\n{table}\n\n{mean}\n"


def run(args: Arguments) -> None:
    started = time.time()
    groups: dict[tuple[Path, int], dict[Shipped, Interval]] = {}
    for policy in training.shipped(args.root, args.levels):
        rate = training.solve_rate(policy, args.cells, args.num_evals)
        groups.setdefault((policy.run, policy.epoch), {})[policy] = rate
    parts = ["# Policies\n", INTRODUCTION.format(num_evals=args.num_evals)]
    parts += [section(f"{run.name}, epoch {epoch}", found) for (run, epoch), found in groups.items()]
    parts.append("![Cloning curves](cloning_curves.png)\n")
    runs = list(dict.fromkeys(run for run, _ in groups))
    figures.save(training.cloning_curves(runs, args.levels), args.root / "cloning_curves")
    if (args.expert_run / "stats").is_dir():
        figures.save(training.expert_curves(args.expert_run, args.levels), args.root / "expert_curves")
    if (args.root / "expert_curves.png").is_file():
        parts.append("![Expert curves](expert_curves.png)\n")
    files.atomic_write(args.root / "README.md", "\n".join([*parts, provenance.footer(started)]))
    commands.open_first(args.root / "README.md")


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
