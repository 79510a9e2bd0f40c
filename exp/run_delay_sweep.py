"""The published delay curve: 12 levels, constant delays d = 0 ... 4, s = max(d, 1), every execution method.

Finished cells are kept in <output-root>/cells/ and not computed again; tables and figure cover what is there.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

from rtc import methods
from rtc.report import published_curve as delay_sweep_report
from rtc.shared import commands
from rtc.study import runner
from rtc.study.evaluation import DEFAULT_SLOTS, EvalConfig
from rtc.study.protocols import published_curve
from rtc.study.protocols.published_curve import Sweep
from rtc.study.runner import Subject
from rtc.worlds.kinetix.levels import LEVEL_NAMES


@dataclass(frozen=True)
class Arguments:
    """Command line of run_delay_sweep; the defaults are the protocol.

    Attributes:
        levels: levels to evaluate.
        delays: inference delays d in control ticks, constant and known to the controller.
        methods: execution methods.
        grid: evaluate `grid_methods` at every s from max(d, 1) to H - d too.
        grid_methods: methods of the grid.
        num_evals: episodes per point.
        num_flow_steps: Euler steps per chunk.
        run_path: run of the policies.
        prefix_run_path: run of the policies trained with simulated delay, for trained_prefix.
        num_slots: episodes simulated at a time, per device; results do not depend on it.
        output_root: where cells, tables and the figure go.
        report_only: write tables and figure of the cells that are there.
    """

    levels: tuple[str, ...] = LEVEL_NAMES
    delays: tuple[int, ...] = (0, 1, 2, 3, 4)
    methods: tuple[str, ...] = ("naive", "realtime", "hard_masking", "trained_prefix", "bid")
    grid: bool = False
    grid_methods: tuple[str, ...] = ("naive", "realtime")
    num_evals: int = 2048
    num_flow_steps: int = 5
    run_path: str = "logs-bc/h8"
    prefix_run_path: str = "logs-bc/h8_prefix"
    num_slots: int = DEFAULT_SLOTS
    output_root: str = "exp_runs/delay_sweep"
    report_only: bool = False


@functools.cache
def load(run_path: str, level: str) -> Subject:
    """A level and the run's policy for it; methods share them."""
    return runner.load_subject(run_path, f"worlds/l/{level}.json")


def run_level(args: Arguments, level: str) -> None:
    """All cells of one level that are not there yet."""
    for method in args.methods:
        subject = load(methods.run_for(method, args.run_path, args.prefix_run_path), level)
        chunk = subject.policy.action_chunk_size
        points = set(published_curve.curve(args.delays, chunk))
        if args.grid and method in args.grid_methods:
            points |= set(published_curve.grid(args.delays, chunk))
        base = EvalConfig(
            num_evals=args.num_evals,
            num_flow_steps=args.num_flow_steps,
            num_slots=args.num_slots,
            model=subject.policy.config,
        )
        cells = published_curve.plan(level, (method,), sorted(points), base)
        runner.run_cells(Path(args.output_root) / "cells" / level, cells, subject)


def run(args: Arguments) -> None:
    if not args.report_only:
        for level in args.levels:
            run_level(args, level)
    run_path = methods.run_for(args.methods[0], args.run_path, args.prefix_run_path)
    chunk = load(run_path, args.levels[0]).policy.action_chunk_size
    curve, grid = published_curve.curve(args.delays, chunk), published_curve.grid(args.delays, chunk)
    sweep = Sweep.read(Path(args.output_root) / "cells", args.levels, args.methods, grid)
    delay_sweep_report.write(sweep, curve, grid if args.grid else [], Path(args.output_root))


if __name__ == "__main__":
    commands.start(Arguments, run, __doc__)
