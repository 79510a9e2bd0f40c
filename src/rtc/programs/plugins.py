"""`--plugin FILE`: methods of a user's own, registered before the command line is read, which may name them."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rtc import methods


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
