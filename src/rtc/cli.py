"""How command-line programs start and how they fail."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import tyro

Parsed = TypeVar("Parsed")


@contextmanager
def plain_errors() -> Iterator[None]:
    """Shows users the message of an expected error (bad input, missing file, non-finite number), no traceback."""
    try:
        yield
    except (ValueError, OSError, FloatingPointError) as error:
        raise SystemExit(f"error: {error}") from error


def start(
    arguments: type[Parsed], run: Callable[[Parsed], None], description: str | None, argv: Sequence[str] | None = None
) -> None:
    """Parses the command line into `arguments` and runs it.

    Args:
        arguments: a dataclass.
        run: what to do.
        description: text of --help.
        argv: arguments without the program's name; `sys.argv` if None.
    """
    with plain_errors():
        run(tyro.cli(arguments, args=argv, description=description))
