"""Step E: the verdict on tail_v1, its tables and its figures, from the finished cells of steps A and D."""

import dataclasses
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from rtc import report
from rtc.control.controller import ExecutionConfig
from rtc.delay.estimators import EstimatorConfig
from rtc.programs import plugins
from rtc.shared import commands, files
from rtc.study.cells import CellError
from rtc.study.outcome import Outcome
from rtc.study.protocols import tail_v1
from rtc.study.protocols.tail_v1 import BASELINE, CONTROLLED, LONG_TAIL, REALTIME, TailArguments


@dataclass(frozen=True)
class Arguments(TailArguments):
    """Command line of step E; the defaults are the protocol.

    Attributes:
        profiles: delay profiles; long_tail and tail_controlled are compared.
        methods: execution methods; realtime is judged.
        estimator: what the methods were told about the delay.
        execution: how chunks were executed.
        output_root: where step D wrote its cells; the summary goes there too.
        baseline_root: where step A wrote the zero-delay baseline.
    """

    profiles: tuple[str, ...] = tail_v1.PROFILES
    methods: tuple[str, ...] = tail_v1.METHODS
    estimator: EstimatorConfig = field(default_factory=EstimatorConfig)
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)
    output_root: str = "exp_runs/tail_v1"
    baseline_root: str = "exp_runs/stepA_baseline"

    def __post_init__(self) -> None:
        needed = {"profiles": (LONG_TAIL, CONTROLLED), "methods": (REALTIME,)}
        for name, wanted in needed.items():
            missing = [one for one in wanted if one not in getattr(self, name)]
            if missing:
                raise ValueError(f"{name}={getattr(self, name)} lacks {', '.join(missing)}: the verdict needs it")
        if not self.seeds:
            raise ValueError("seeds=() is empty: give at least one")


def load(args: Arguments) -> Outcome:
    """The verified cells of these arguments.

    Raises:
        CellError: cells are missing, damaged or of another policy or protocol; says how to compute them.
    """
    base = dataclasses.replace(args.config(), estimator=args.estimator, execution=args.execution)
    study = tail_v1.study(base, args.profiles, args.methods, args.baseline_root)
    required = [one.key for one in study.arms if one.key != BASELINE]
    try:
        return Outcome.read(study, args.of_study(args.output_root), required=required)
    except CellError as error:
        raise CellError(f"{error}\nCompute them with: {command(args)}") from None


def command(args: Arguments) -> str:
    """The command that computes the cells."""
    return shlex.join(["python", "exp/run_stepD_tail_v1.py", *commands.flags(args, skip=("baseline_root",))])


def run(args: Arguments) -> None:
    """Writes the report."""
    outcome = load(args)
    root = files.require_writable(args.output_root)
    page = report.write(outcome.study, outcome, root)
    print(report.verdict(outcome))
    commands.open_first(page)


def main(argv: Sequence[str] | None = None) -> None:
    plugins.start(Arguments, run, __doc__, argv)
