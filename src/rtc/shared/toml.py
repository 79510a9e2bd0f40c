"""Configurations in TOML files: tables for nested dataclasses, keys for their fields, every value checked."""

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from rtc.shared.validation import unknown

Config = TypeVar("Config")


def read(path: str | Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ValueError: no such file, or not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path} cannot be read as TOML: {error}") from error


def fill(default: Config, values: Mapping[str, Any], where: str) -> Config:
    """A dataclass with some fields changed; tables change nested dataclasses, arrays become tuples.

    Args:
        default: the values of all other fields.
        values: the changes.
        where: what the values belong to, for messages.

    Raises:
        ValueError: a field is unknown (the message has the closest name), of another type or out of range.
    """
    hints = typing.get_type_hints(type(default))
    names = [field.name for field in dataclasses.fields(default)]
    changes = {}
    for name, value in values.items():
        if name not in names:
            raise unknown(f"{where}: field", name, names)
        current = getattr(default, name)
        if dataclasses.is_dataclass(current):
            if not isinstance(value, Mapping):
                raise ValueError(f"{where}: {name}={value!r} must be a table [{name}]")
            changes[name] = fill(current, value, f"{where}, {name}")
        else:
            changes[name] = _checked(hints[name], value, f"{where}: {name}")
    try:
        return dataclasses.replace(default, **changes)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def _checked(hint: Any, value: Any, where: str) -> Any:
    """The value as its field wants it."""
    wanted = [kind for kind in typing.get_args(hint) if kind is not types.NoneType]
    kinds = wanted if typing.get_origin(hint) in (types.UnionType, typing.Union) else [hint]
    for kind in kinds:
        origin = typing.get_origin(kind)
        if origin is tuple and isinstance(value, list):
            return tuple(value)
        if origin is typing.Literal and isinstance(value, str):
            return value
        if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if kind is Path and isinstance(value, str):
            return Path(value)
        if isinstance(kind, type) and type(value) is kind:
            return value
    raise ValueError(f"{where}={value!r} has the type {type(value).__name__}; it must be {hint}")
