"""How command-line programs start and how they fail."""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import tyro

from rtc.shared import toml
from rtc.shared.entry import plain_errors

__all__ = ["from_file", "open_first", "plain_errors", "start"]

Parsed = TypeVar("Parsed")


def open_first(path: str | Path) -> None:
    """Prints a program's last line: the file to look at."""
    print(f"open first: {path}")


def from_file(arguments: type[Parsed], argv: Sequence[str] | None = None) -> Parsed:
    """Defaults whose `config` is that of the TOML file that `--config-file` names, if it names one.

    Args:
        arguments: a dataclass with fields `config` and `config_file`.
        argv: arguments without the program's name; `sys.argv` if None.

    Raises:
        ValueError: the file cannot be read, or holds a field or a value that does not fit.
    """
    required = [f for f in dataclasses.fields(arguments) if f.default is f.default_factory is dataclasses.MISSING]
    default = arguments(**{field.name: tyro.MISSING for field in required})
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-file", "--config_file")
    path = parser.parse_known_args(argv)[0].config_file
    if path is None:
        return default
    return dataclasses.replace(default, config=toml.fill(default.config, toml.read(path), path))


def start(
    arguments: type[Parsed],
    run: Callable[[Parsed], None],
    description: str | None,
    argv: Sequence[str] | None = None,
    default: Callable[[], Parsed] | None = None,
) -> None:
    """Parses the command line into `arguments` and runs it.

    Args:
        arguments: a dataclass.
        run: what to do.
        description: text of --help.
        argv: arguments without the program's name; `sys.argv` if None.
        default: gives the values that flags change; by default those of the dataclass.
    """
    with plain_errors():
        options = {} if default is None else {"default": default()}
        run(tyro.cli(arguments, args=argv, description=description, **options))
