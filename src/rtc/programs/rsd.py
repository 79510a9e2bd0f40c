"""RSD on the benchmark: what the layers are worth, ways to decode, and the closed loop with the decoding's own delays.

Finished cells are kept in <root>/cells/<level>/ and not computed again. Needs the times of exp/bench_rsd.py.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rtc import report
from rtc.shared import commands
from rtc.study import runner
from rtc.study.arguments import keep_report
from rtc.study.outcome import Outcome
from rtc.study.protocols import rsd
from rtc.study.protocols.rsd import Protocol


@dataclass(frozen=True)
class Arguments:
    """Command line of run_rsd.

    Attributes:
        protocol: what to evaluate.
        bench: what exp/bench_rsd.py measured.
    """

    protocol: Protocol = field(default_factory=Protocol)
    bench: Path = Path("exp_runs/rsd_bench/bench.json")


def run(args: Arguments) -> None:
    """Computes what is missing and writes tables, figures and page.

    Raises:
        FileNotFoundError: there are no times of passes.
    """
    if not args.bench.exists():
        raise FileNotFoundError(f"no times of passes at {args.bench}: run `python exp/bench_rsd.py` first")
    keep_report(args.protocol, Protocol(), args.protocol.root, Protocol.root)
    study = rsd.study(args.protocol, json.loads(args.bench.read_text()))
    how = args.protocol.arguments().of(study)
    if not args.protocol.report_only:
        runner.run(study, how)
    outcome = Outcome.read(study, how, required=None)
    commands.open_first(report.write(study, outcome, how.root))


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
