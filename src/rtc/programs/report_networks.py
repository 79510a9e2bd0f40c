"""Writes logs-bc/networks.md: how well the networks of methods predict, from the facts beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rtc.report import networks
from rtc.shared import commands
from rtc.shared.validation import require_some
from rtc.worlds.kinetix.levels import SHIPPED


@dataclass(frozen=True)
class Arguments:
    """Command line of report_networks.

    Attributes:
        levels: levels to report.
        root: folder of the runs; the report goes there too.
    """

    levels: tuple[str, ...] = SHIPPED
    root: Path = Path("logs-bc")

    def __post_init__(self) -> None:
        require_some("levels", self.levels)


def run(args: Arguments) -> None:
    commands.open_first(networks.write(args.root, args.levels))


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
