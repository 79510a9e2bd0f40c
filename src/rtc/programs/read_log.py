"""Reads a latency log of a robot or a policy server, describes its delays, writes a trace that evaluations replay.

    python exp/read_log.py logs/robot_client_1758000000.log --hz 30
    python exp/read_log.py delays.csv --column latency --unit s --hz 50

reads logs of LeRobot (asynchronous client and server, real-time chunking), timings of openpi, and tables of any origin;
docs/latency-logs.md says how to get them. What is not among the delays is counted and shown.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from rtc.delay import logs
from rtc.delay.logs import DelayLog
from rtc.report import latency_log
from rtc.report.latency_log import Replay
from rtc.shared import commands, files
from rtc.shared.provenance import CONSOLE

# How to evaluate, and the policy with the longest chunks that is there: in a checkout, and with an installed package.
_SCRIPT = Replay(("python", "src/eval_flow.py"), "logs-bc/h8", chunk=8)
_INSTALLED = Replay((CONSOLE, "eval"), "logs-bc/grasp_easy_h4", chunk=4)


@dataclass(frozen=True)
class Arguments:
    """Command line of read_log.

    Attributes:
        log: the file.
        hz: control rate of the robot, in ticks per second.
        format: lerobot_client, lerobot_server, lerobot_rtc, openpi_table, openpi_replies or table; by default what the
            file's content shows.
        column: where a table, or a reply in JSON, has the delay.
        minus: a column with time stamps to subtract: the delay is `column` minus this one.
        unit: of the column: ns, us, ms, s or ticks; by default what its name ends in.
        keep_first: keep the first query of a session.
        keep_warm_up: keep leading delays far above what follows.
        output_dir: where report and trace go; by default exp_runs/latency_logs/<name of the log>.
        overwrite: replace the report of another log there, or of other delays of this one.
    """

    log: tyro.conf.Positional[Path]
    hz: float = 30.0
    format: str | None = None
    column: str | None = None
    minus: str | None = None
    unit: str | None = None
    keep_first: bool = False
    keep_warm_up: bool = False
    output_dir: Path | None = None
    overwrite: bool = False


def read(args: Arguments) -> DelayLog:
    """The log of a command line. Raises ValueError as `logs.read` does."""
    return logs.read(
        args.log,
        args.format,
        column=args.column,
        minus=args.minus,
        unit=args.unit,
        hz=args.hz,
        keep_first=args.keep_first,
        keep_warm_up=args.keep_warm_up,
    )


def run(args: Arguments) -> None:
    started = time.time()
    root = args.output_dir or Path("exp_runs/latency_logs") / args.log.stem
    log = read(args)
    found = logs.describe(log, args.hz)
    latency_log.require_own(root, log, overwrite=args.overwrite)
    files.require_writable(root)
    page = latency_log.write(log, found, replay(), root, started)
    print(*(section.markdown() for section in latency_log.sections(log, found, replay(), root)), sep="\n\n")
    commands.open_first(page)


def replay() -> Replay:
    """How the report of a log says that it can be replayed."""
    return _INSTALLED if Path(sys.argv[0]).name == CONSOLE else _SCRIPT


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
