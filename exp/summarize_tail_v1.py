"""Summarises the tail_v1 experiment: verdict, tables and figures.

    python exp/summarize_tail_v1.py --output-root exp_runs/tail_v1

reads the finished cells, checks them, and writes summary.csv, summary.md, results_all.csv and figures/ there.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from rtc import figures, report, results
from rtc.report import Experiment

TRACE = "timeline.npz"


@dataclass(frozen=True)
class Arguments:
    """Command line of summarize_tail_v1.

    Attributes:
        output_root: where run_stepD_tail_v1.py wrote its cells; the summary goes there too.
        baseline_root: where run_stepA_baseline.py wrote the zero-delay baseline.
        level_path: world file or level name of the experiment.
        profiles: delay profiles; long_tail and tail_controlled are compared.
        methods: execution methods; realtime is judged.
        seeds: seeds.
        num_evals: episodes that each cell must hold; by default any number.
    """

    output_root: str = "exp_runs/tail_v1"
    baseline_root: str = "exp_runs/stepA_baseline"
    level_path: str = "worlds/l/grasp_easy.json"
    profiles: tuple[str, ...] = (report.LONG_TAIL, report.CONTROLLED)
    methods: tuple[str, ...] = (report.NAIVE, report.REALTIME)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    num_evals: int | None = None

    def __post_init__(self) -> None:
        needed = {"profiles": (report.LONG_TAIL, report.CONTROLLED), "methods": (report.REALTIME,)}
        for field, names in needed.items():
            missing = [name for name in names if name not in getattr(self, field)]
            if missing:
                raise ValueError(
                    f"{field}={getattr(self, field)} lacks {', '.join(missing)}; the verdict needs it"
                )
        if not self.seeds:
            raise ValueError("seeds is empty; give at least one")


def load(args: Arguments) -> Experiment:
    """The verified cells. Raises ValueError, with the command to run, where some are missing or damaged."""
    command = f"python exp/run_stepD_tail_v1.py --output-root {args.output_root}"
    experiment = report.load_experiment(
        args.output_root,
        args.baseline_root,
        profiles=args.profiles,
        methods=args.methods,
        seeds=args.seeds,
        level=Path(args.level_path).stem,
        run_command=command,
        baseline_command=f"python exp/run_stepA_baseline.py --output-root {args.baseline_root}",
    )
    found = len(experiment.cells[0].episodes)
    if args.num_evals not in (None, found):
        fix = f"{command} --num-evals {args.num_evals}"
        raise ValueError(
            f"num_evals={args.num_evals}, but the cells hold {found} episodes; compute them with: {fix}"
        )
    return experiment


def find_trace(args: Arguments) -> figures.EpisodeTrace | None:
    """The episode to show: `<output_root>/timeline.npz`, else that of the first judged cell, else None."""
    cell = results.Cell(report.LONG_TAIL, report.REALTIME, args.seeds[0], Path(args.level_path).stem)
    for directory in (Path(args.output_root), results.cell_dir(args.output_root, cell)):
        if (directory / TRACE).exists():
            return figures.load_trace(directory / TRACE)
    return None


def main(argv: Sequence[str] | None = None) -> None:
    args = tyro.cli(Arguments, args=argv, description=__doc__)
    try:
        experiment, trace = load(args), find_trace(args)
    except ValueError as error:
        sys.exit(f"error: {error}")
    root = Path(args.output_root)
    summary = report.write_report(experiment, root, command=results.command_line(), trace=trace)
    print(report.format_table(report.outcome_table(summary)), end="\n\n")
    print(report.format_table(report.delay_table(summary)), end="\n\n")
    print("\n".join(report.verdict_lines(report.judge(experiment))), end="\n\n")
    for name in (results.COLLECTED, "summary.csv", "summary.md", "figures"):
        print(root / name)


if __name__ == "__main__":
    main()
