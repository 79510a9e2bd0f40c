"""Step D, tail_v1: naive and Real-Time Chunking under a long-tailed delay and under the same delay, capped."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rtc.control.controller import ExecutionConfig
from rtc.delay.estimators import EstimatorConfig
from rtc.programs import plugins
from rtc.shared import commands, tables
from rtc.study import cells, runner
from rtc.study.protocols import tail_v1
from rtc.study.protocols.tail_v1 import TailArguments


@dataclass(frozen=True)
class Arguments(TailArguments):
    """Command line of step D; the defaults are the protocol.

    Attributes:
        profiles: names of delay profiles.
        methods: names of execution methods.
        estimator: what the methods are told about the delay.
        execution: how chunks are executed.
        output_root: where results go; finished cells are not computed again.
    """

    profiles: tuple[str, ...] = tail_v1.PROFILES
    methods: tuple[str, ...] = tail_v1.METHODS
    estimator: EstimatorConfig = field(default_factory=EstimatorConfig)
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    output_root: str = "exp_runs/tail_v1"


def run(args: Arguments) -> None:
    """Computes the cells of the matrix and writes results_all.csv."""
    base = dataclasses.replace(args.config(), estimator=args.estimator, execution=args.execution)
    runner.run(tail_v1.study(base, args.profiles, args.methods), args.of_study(args.output_root))
    table = cells.collect(args.output_root)
    print(tables.format_table(table[list(cells.MAIN_COLUMNS)]))
    commands.open_first(Path(args.output_root) / cells.COLLECTED)


def main(argv: Sequence[str] | None = None) -> None:
    plugins.start(Arguments, run, __doc__, argv)
