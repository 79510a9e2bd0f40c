"""Step A: what the policy does without any delay (naive, d = 0, s = 1), and a video of one episode."""

from dataclasses import dataclass
from pathlib import Path

from rtc.report import preview
from rtc.shared import commands, files, tables
from rtc.study import cells, runner
from rtc.study.cells import Cell
from rtc.study.evaluation import EvalConfig
from rtc.study.protocols.tail_arguments import TailArguments
from rtc.study.runner import PlannedCell


@dataclass(frozen=True)
class Arguments(TailArguments):
    """Command line of step A; the defaults are the protocol.

    Attributes:
        output_root: where results and video go; finished cells are not computed again.
    """

    output_root: str = "exp_runs/stepA_baseline"


def run(args: Arguments) -> None:
    subject = runner.load_subject(args.run_path, args.level_path)
    config = EvalConfig(
        num_evals=args.num_evals,
        num_flow_steps=args.num_flow_steps,
        physics=args.physics,
        num_slots=args.num_slots,
        model=subject.policy.config,
    )
    plan = [PlannedCell(Cell("no_delay", "naive", seed, subject.level.name), config) for seed in args.seeds]
    places = runner.run_cells(args.output_root, plan, subject, overwrite=args.overwrite)
    table = cells.collect(args.output_root, [planned.cell for planned in plan])
    root = Path(args.output_root)
    files.atomic_write(root / "results.csv", files.to_csv(table))
    preview.write(root / "preview.mp4", subject, config, places[plan[0].cell] / cells.TRACE)
    print(tables.format_table(table[list(cells.MAIN_COLUMNS)]))
    print(f"results: {root / 'results.csv'}   video: {root / 'preview.mp4'}")


if __name__ == "__main__":
    commands.start(Arguments, run, __doc__)
