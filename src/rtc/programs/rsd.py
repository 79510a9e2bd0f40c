"""RSD on the benchmark: what the layers are worth, ways to decode, and the closed loop with the decoding's own delays.

Finished cells are kept in <root>/cells/<level>/ and not computed again. Needs the times of exp/bench_rsd.py.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtc import report
from rtc.shared import commands
from rtc.shared.validation import require_float, require_positive
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


def times(path: Path) -> Mapping[str, Any]:
    """What exp/bench_rsd.py measured.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else.
    """
    if not path.exists():
        raise FileNotFoundError(f"no times of passes at {path}: run `python exp/bench_rsd.py` first")
    try:
        found = json.loads(path.read_text())
        for name in ("pass_ms", "draft_ms", "flow_ms", "overhead_ms"):
            require_float(name, found[name], low=0.0)
        require_positive("pass_ms", found["pass_ms"], "how long a pass takes")
        if not isinstance(found["git_commit"], str):
            raise TypeError(f"git_commit={found['git_commit']!r} is no text")
    except (ValueError, KeyError, TypeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"bench={str(path)!r} is no bench.json of `python exp/bench_rsd.py` ({reason})") from error
    return found


def run(args: Arguments) -> None:
    """Computes what is missing and writes tables, figures and page.

    Raises:
        FileNotFoundError, ValueError: as of `times`.
    """
    bench = times(args.bench)
    keep_report(args.protocol, Protocol(), args.protocol.root, Protocol.root)
    study = rsd.study(args.protocol, bench)
    how = args.protocol.arguments().of(study)
    if not args.protocol.report_only:
        runner.run(study, how)
    outcome = Outcome.read(study, how, required=None)
    commands.open_first(report.write(study, outcome, how.root))


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
