"""`--plugin FILE`: methods of a user's own, registered before the command line is read, which may name them."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rtc import methods
from rtc.shared import commands


def load(argv: Sequence[str] | None) -> None:
    """Loads the files that `--plugin` names.

    Args:
        argv: arguments without the program's name; `sys.argv` if None.

    Raises:
        ValueError: a file is not there, or registers no method or one whose name is taken.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--plugin", nargs="*", type=Path, default=[])
    for path in parser.parse_known_args(argv)[0].plugin:
        methods.load_plugin(path)


def start(
    arguments: type[commands.Parsed],
    run: Callable[[commands.Parsed], None],
    description: str | None,
    argv: Sequence[str] | None = None,
    **options: Any,
) -> None:
    """`commands.start` of a program with a field `plugin`."""
    with commands.plain_errors():
        load(argv)
    commands.start(arguments, run, description, argv, **options)
