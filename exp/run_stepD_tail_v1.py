"""Step D, tail_v1: naive and Real-Time Chunking under a long-tailed delay and under the same delay, capped."""

import dataclasses
from dataclasses import dataclass, field

from rtc.control.controller import ExecutionConfig
from rtc.delay import profiles as delays
from rtc.delay.estimators import EstimatorConfig
from rtc.shared import commands, tables
from rtc.study import cells as results
from rtc.study import runner
from rtc.study.cells import Cell
from rtc.study.evaluation import EvalConfig
from rtc.study.protocols.tail_arguments import TailArguments
from rtc.study.runner import PlannedCell


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

    profiles: tuple[str, ...] = ("long_tail", "tail_controlled")
    methods: tuple[str, ...] = ("naive", "realtime")
    estimator: EstimatorConfig = field(default_factory=EstimatorConfig)
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    output_root: str = "exp_runs/tail_v1"


def plan(args: Arguments, base: EvalConfig, level_name: str) -> list[PlannedCell]:
    """The cells, ordered so that those of one method, which share a compiled program, follow each other."""
    return [
        PlannedCell(
            Cell(profile, method, seed, level_name),
            dataclasses.replace(base, method=method, delay_profile=delays.profile(profile)),
        )
        for method in args.methods
        for profile in args.profiles
        for seed in args.seeds
    ]


def run(args: Arguments) -> None:
    subject = runner.load_subject(args.run_path, args.level_path)
    base = EvalConfig(
        num_evals=args.num_evals,
        num_flow_steps=args.num_flow_steps,
        estimator=args.estimator,
        execution=args.execution,
        physics=args.physics,
        num_slots=args.num_slots,
        model=subject.policy.config,
    )
    cells = plan(args, base, subject.level.name)
    runner.run_cells(args.output_root, cells, subject, overwrite=args.overwrite)
    table = results.collect(args.output_root, [planned.cell for planned in cells])
    print(tables.format_table(table[list(results.MAIN_COLUMNS)]))
    print(f"results: {args.output_root}/{results.COLLECTED}")


if __name__ == "__main__":
    commands.start(Arguments, run, __doc__)
