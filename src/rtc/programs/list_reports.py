"""Lists the reports: `python exp/list_reports.py` writes the page above them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rtc.report import overview
from rtc.shared import commands


@dataclass(frozen=True)
class Arguments:
    """Writes the page above all reports: what each asks and answers, and where its data are."""

    root: Path = Path("exp_runs")
    """Folder that has the reports' folders in it."""


def list_reports(args: Arguments) -> None:
    """Writes README.md and index.html of the folder, in both languages."""
    commands.open_first(overview.write(args.root))


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, list_reports, Arguments.__doc__, argv)
