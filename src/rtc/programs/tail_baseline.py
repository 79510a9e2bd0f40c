"""Step A: what the policy does without any delay (naive, d = 0, s = 1), and a video of one episode."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rtc.programs import plugins
from rtc.report import preview
from rtc.report.preview import Take
from rtc.shared import commands, tables
from rtc.study import cells, plan, runner
from rtc.study.protocols import tail_v1
from rtc.study.protocols.tail_v1 import TailArguments


@dataclass(frozen=True)
class Arguments(TailArguments):
    """Command line of step A; the defaults are the protocol.

    Attributes:
        output_root: where results and video go; finished cells are not computed again.
    """

    output_root: str = "exp_runs/stepA_baseline"


def run(args: Arguments) -> None:
    """Computes the baseline's cells and writes results.csv and preview.mp4."""
    study, how = tail_v1.baseline_study(args.config()), args.of_study(args.output_root)
    runner.run(study, how)
    root = Path(args.output_root)
    table = cells.collect(root, "results.csv")
    shown = plan.planned(study, how, study.arms[0], args.level_path, args.seeds[0])
    take = Take(shown.subject, shown.config, shown.read())
    preview.write(root / "preview.mp4", [take], preview.typical(take.cell))
    print(tables.format_table(table[list(cells.MAIN_COLUMNS)]))
    print(f"video: {root / 'preview.mp4'}")
    commands.open_first(root / "results.csv")


def main(argv: Sequence[str] | None = None) -> None:
    plugins.start(Arguments, run, __doc__, argv)
