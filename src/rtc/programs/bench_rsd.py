"""Wall-clock time of RSD at batch 1 on this device: every way to decode, and what a pass costs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rtc.bench import tokens, tokens_report
from rtc.shared import commands, files
from rtc.study.protocols.rsd import Runs


@dataclass(frozen=True)
class Arguments:
    """Command line of bench_rsd.

    Attributes:
        level: level whose episodes are run.
        queries: queries per arm, at least.
        repeats: repetitions of single passes and of shortened queries.
        runs: where the policies are.
        output_root: where tables and figure go.
    """

    level: str = "grasp_easy"
    queries: int = 2000
    repeats: int = 300
    runs: Runs = field(default_factory=Runs)
    output_root: Path = Path("exp_runs/rsd_bench")


def run(args: Arguments) -> None:
    started, root = time.time(), files.require_writable(args.output_root)
    measured = tokens.measure(args.runs.tokens, args.runs.flow, args.level, args.queries, args.repeats)
    commands.open_first(tokens_report.write(measured, root, started))


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
