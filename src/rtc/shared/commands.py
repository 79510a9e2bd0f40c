"""How command-line programs start and how they fail."""

import argparse
import contextlib
import dataclasses
import io
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro

from rtc.shared import toml
from rtc.shared.entry import plain_errors

__all__ = ["changes", "flags", "from_file", "keep_page", "open_first", "parse", "plain_errors", "shown", "start"]

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


def changes(args: Any, usual: Any, harmless: Collection[str] = ()) -> list[str]:
    """The fields that arguments have otherwise than others of their kind, but for harmless ones."""
    names = [field.name for field in dataclasses.fields(args) if field.name not in harmless]
    return [name for name in names if getattr(args, name) != getattr(usual, name)]


def shown(args: Any, names: Sequence[str]) -> str:
    """Some fields of arguments with their values, for messages."""
    return ", ".join(f"{name}={getattr(args, name)!r}" for name in names)


def keep_page(args: Any, page: str | Path, place: str, *, usual: Any = None, harmless: Collection[str] = ()) -> None:
    """Keeps what a program's own settings measured from being replaced by what others do.

    Args:
        args: the program's arguments, a dataclass.
        page: the file that would be replaced.
        place: the field that says where it goes; where that was given, too, anything may.
        usual: the arguments that have the program's own settings; by default those without any flag.
        harmless: fields that do not change what is measured.

    Raises:
        ValueError: these are other settings, and the page is there.
    """
    usual = type(args)() if usual is None else usual
    changed = changes(args, usual, harmless)
    if changed and place not in changed and Path(page).exists():
        given, others = shown(args, changed), shown(usual, changed)
        raise ValueError(
            f"{given}: {page} was measured with {others}. Nothing was changed: give --{place.replace('_', '-')}"
        )


def flags(arguments: Any, skip: Collection[str] = (), prefix: str = "--") -> list[str]:
    """The command line that gives a dataclass of arguments its values, where they are not the defaults.

    Args:
        arguments: a dataclass whose fields are numbers, texts, paths, switches, tuples of these, and such dataclasses.
        skip: fields to leave out.
        prefix: what flags begin with.
    """
    found: list[str] = []
    for field in dataclasses.fields(arguments):
        value, name = getattr(arguments, field.name), field.name.replace("_", "-")
        made = field.default_factory is not dataclasses.MISSING
        if field.name in skip or value == (field.default_factory() if made else field.default):
            continue
        if dataclasses.is_dataclass(value):
            found += flags(value, prefix=f"{prefix}{name}.")
        elif isinstance(value, bool):
            found.append(f"{prefix}{name}" if value else f"{prefix}no-{name}")
        else:
            found += [f"{prefix}{name}", *map(str, value if isinstance(value, tuple) else [value])]
    return found


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
        run(parse(arguments, argv, description=description, **options))


def parse(arguments: type[Parsed], argv: Sequence[str] | None = None, **options: Any) -> Parsed:
    """`tyro.cli`, except that what the arguments themselves refuse is raised as it is, in a line and not in a box.

    Args:
        arguments: a dataclass.
        argv: arguments without the program's name; `sys.argv` if None.
        options: of `tyro.cli`.

    Raises:
        ValueError: a field's value, or several together, were refused.
        SystemExit: help was asked for, or the line is none of these arguments'; tyro has said so.
    """
    held = _Held()
    try:
        with contextlib.redirect_stderr(held):
            return tyro.cli(arguments, args=argv, **options)
    except SystemExit as ended:
        refused = _refusal(ended)
        if refused is not None:
            raise refused from None
        print(held.getvalue(), end="", file=sys.stderr)
        raise


_PARSING = {"tyro", *sys.stdlib_module_names}


class _Held(io.StringIO):
    """Keeps what is written to the standard error, and passes for it."""

    encoding = "utf-8" if sys.stderr is None else sys.stderr.encoding

    def isatty(self) -> bool:
        return sys.__stderr__ is not None and sys.__stderr__.isatty()


def _refusal(error: BaseException | None) -> ValueError | None:
    """The ValueError of the arguments' own checks that an error came from; tyro explains those of parsing a word."""
    while error is not None:
        if isinstance(error, ValueError) and _raised_by(error).partition(".")[0] not in _PARSING:
            return error
        error = error.__cause__ or error.__context__
    return None


def _raised_by(error: BaseException) -> str:
    """The module that raised an error."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return "" if place is None else place.tb_frame.f_globals.get("__name__", "")
