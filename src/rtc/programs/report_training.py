"""Evaluates every policy in logs-bc/ without delay and writes logs-bc/README.md: how it was trained, what it solves."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rtc.report import training
from rtc.shared import commands
from rtc.shared.validation import require_some
from rtc.worlds.kinetix.levels import SHIPPED


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

    levels: tuple[str, ...] = SHIPPED
    num_evals: int = 512
    root: Path = Path("logs-bc")
    expert_run: Path = Path("logs-expert/benchmark")
    cells: Path = Path("exp_runs/policies/cells")

    def __post_init__(self) -> None:
        require_some("levels", self.levels)


def run(args: Arguments) -> None:
    started = time.time()
    policies = training.shipped(args.root, args.levels)
    rates = {policy: training.solve_rate(policy, args.cells, args.num_evals) for policy in policies}
    commands.open_first(training.write(rates, args.root, args.expert_run, args.levels, args.num_evals, started))


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
