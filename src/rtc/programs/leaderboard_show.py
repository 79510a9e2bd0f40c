"""Prints the leaderboard as Markdown, from committed outcomes: `exp-delta leaderboard show`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rtc.report import leaderboard
from rtc.shared import commands, files
from rtc.study import entries


@dataclass(frozen=True)
class Arguments:
    """Command line of leaderboard show.

    Attributes:
        protocol: the study whose outcomes it compares.
        output: a file to write it to, instead of printing it.
    """

    protocol: str = entries.PROTOCOL
    output: Path | None = None


def run(args: Arguments) -> None:
    """Prints or writes the table."""
    page = leaderboard.section(Path(), args.protocol)
    if args.output is None:
        print(page, end="")
        return
    files.atomic_write(args.output, page)
    commands.open_first(args.output)


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
