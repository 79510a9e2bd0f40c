"""Step E: the verdict on tail_v1, its tables and its figures, from the finished cells of steps A and D."""

from dataclasses import dataclass
from pathlib import Path

from rtc.control import timeline
from rtc.policies import checkpoints
from rtc.report import tail_v1 as report_tail_v1
from rtc.report import web
from rtc.shared import commands, files, provenance, tables
from rtc.study import cells
from rtc.study.protocols import tail_v1
from rtc.study.protocols.tail_arguments import TailArguments
from rtc.study.protocols.tail_v1 import CONTROLLED, LONG_TAIL, NAIVE, REALTIME, Experiment


@dataclass(frozen=True)
class Arguments(TailArguments):
    """Command line of step E; the defaults are the protocol.

    Attributes:
        profiles: delay profiles; long_tail and tail_controlled are compared.
        methods: execution methods; realtime is judged.
        output_root: where step D wrote its cells; the summary goes there too.
        baseline_root: where step A wrote the zero-delay baseline.
    """

    profiles: tuple[str, ...] = (LONG_TAIL, CONTROLLED)
    methods: tuple[str, ...] = (NAIVE, REALTIME)
    output_root: str = "exp_runs/tail_v1"
    baseline_root: str = "exp_runs/stepA_baseline"

    def __post_init__(self) -> None:
        needed = {"profiles": (LONG_TAIL, CONTROLLED), "methods": (REALTIME,)}
        for field, names in needed.items():
            missing = [name for name in names if name not in getattr(self, field)]
            if missing:
                raise ValueError(f"{field}={getattr(self, field)} lacks {', '.join(missing)}: the verdict needs it")
        if not self.seeds:
            raise ValueError("seeds=() is empty: give at least one")


def load(args: Arguments) -> Experiment:
    """The verified cells of these arguments.

    Raises:
        ValueError: cells are missing, damaged or of another policy or protocol; says how to compute them.
    """
    flags = f"--level-path {args.level_path} --run-path {args.run_path} --num-evals {args.num_evals}"
    flags += f" --num-flow-steps {args.num_flow_steps} --seeds {' '.join(map(str, args.seeds))}"
    command = f"python exp/run_stepD_tail_v1.py --output-root {args.output_root} {flags}"
    found = tail_v1.load_experiment(
        args.output_root,
        args.baseline_root,
        profiles=args.profiles,
        methods=args.methods,
        seeds=args.seeds,
        level=Path(args.level_path).stem,
        run_command=command,
        baseline_command=f"python exp/run_stepA_baseline.py --output-root {args.baseline_root} {flags}",
    )
    inputs = found.cells[0].inputs
    policy = checkpoints.sha256(checkpoints.policy_path(args.run_path, args.level_path))
    asked = {"num_evals": args.num_evals, "num_flow_steps": args.num_flow_steps, "checkpoint_sha256": policy}
    for name, value in asked.items():
        there = inputs.get(name, inputs["config"].get(name))
        if there != value:
            raise ValueError(f"the cells hold {name}={there}, not {value}: compute them with: {command}")
    return found


def run(args: Arguments) -> None:
    found = load(args)
    root = files.require_writable(args.output_root)
    shown = cells.Cell(LONG_TAIL, REALTIME, args.seeds[0], Path(args.level_path).stem)
    trace_path = cells.cell_dir(root, shown) / cells.TRACE
    trace = timeline.load_trace(trace_path) if trace_path.exists() else None
    summary = report_tail_v1.write_report(found, root, command=provenance.command_line(), trace=trace)
    print(tables.format_table(report_tail_v1.outcome_table(summary)), end="\n\n")
    print(tables.format_table(report_tail_v1.delay_table(summary)), end="\n\n")
    print("\n".join(report_tail_v1.verdict_lines(tail_v1.judge(found))), end="\n\n")
    web.write(root, "tail_v1")
    for name in (cells.COLLECTED, "summary.csv", "summary.md", "index.html", "figures"):
        print(root / name)


if __name__ == "__main__":
    commands.start(Arguments, run, __doc__)
