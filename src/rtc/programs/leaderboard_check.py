"""Checks an entry of the leaderboard: `exp-delta leaderboard check FOLDER`.

Its file, its protocol, its episodes and the code that computed them have to be those that the table wants. An entry's
plugin is executed, so read it first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from rtc.report import leaderboard
from rtc.shared import commands, tables
from rtc.study import archive, entries


@dataclass(frozen=True)
class Arguments:
    """Command line of leaderboard check.

    Attributes:
        folder: the entry, or its episodes.parquet.
    """

    folder: tyro.conf.Positional[Path]


def run(args: Arguments) -> None:
    """Prints the entry's row, if nothing is wrong with it.

    Raises:
        ValueError: something is; all of it is named.
    """
    folder = args.folder.parent if args.folder.name == archive.NAME else args.folder
    found = entries.problems(folder)
    if found:
        raise ValueError("\n  ".join([f"{folder} is no entry for the table: {len(found)} problems", *found]))
    outcome = entries.outcome(folder)
    print(tables.format_table(leaderboard.table([outcome])))
    print(f"{folder} is complete: {len(outcome.cells)} cells")
    commands.open_first(archive.path(folder))


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
