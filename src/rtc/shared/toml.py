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

_WANTED = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a text",
    list: "an array",
    dict: "a table",
    Path: "a path, as a text",
}


def read(path: str | Path) -> dict[str, Any]:
    """The tables of a TOML file, with or without a byte order mark.

    Raises:
        ValueError: no such file, or not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text("utf-8-sig"))
    except (OSError, ValueError) as error:  # tomllib's own, undecodable bytes, integers of thousands of digits
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
    changes = _checked_fields(type(default), default, values, where)
    try:
        return dataclasses.replace(default, **changes)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def named_tables(path: str | Path) -> dict[str, dict[str, Any]]:
    """The tables of a file that holds nothing else, by name.

        [hard_lunar_lander]
        progress_reward = 0.5

    Raises:
        ValueError: the file cannot be read, or holds anything but tables.
    """
    tables = read(path)
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ValueError(f"{path}: {name}={table!r} stands outside a table; put it below a line [<name>]")
    return tables


def for_table(path: str | Path | None, name: str, config: Config, preset: Config) -> Config:
    """A configuration changed by one table of a file (see `named_tables`), where the user has not changed it already.

    Args:
        path: the file; None changes nothing.
        name: the table; a file without it changes nothing.
        config: the user's configuration.
        preset: what it was before the user changed it: fields that differ stay as the user set them.

    Raises:
        ValueError: the file cannot be read, a field is unknown, of another type or out of range.
    """
    table = {} if path is None else named_tables(path).get(name, {})
    where = f"{path}: [{name}]"
    _checked_fields(type(config), config, table, where)  # a fault counts even where the user's value wins
    return fill(config, _unchanged(table, config, preset), where)


def _unchanged(values: Mapping[str, Any], config: Any, preset: Any) -> dict[str, Any]:
    """The values of fields that are the same in `config` and `preset`."""
    found = {}
    for name, value in values.items():
        ours, theirs = getattr(config, name), getattr(preset, name)
        if dataclasses.is_dataclass(ours) and type(ours) is type(theirs):
            found[name] = _unchanged(value, ours, theirs)
        elif ours == theirs:
            found[name] = value
    return found


def _checked_fields(kind: type, default: Any, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The values as the fields of the dataclass `kind` want them; `default` is an instance, or None."""
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind) if field.init]
    found = {}
    for name, value in values.items():
        if name not in names:
            raise unknown(f"{where}: field", name, names)
        current = getattr(default, name, None)
        if dataclasses.is_dataclass(current):
            found[name] = fill(current, _table(value, name, where), f"{where}, {name}")
        else:
            found[name] = checked(hints[name], value, name, where)
    return found


def _table(value: Any, name: str, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: {name}={value!r} must be a table [{name}]")
    return value


def _alternatives(hint: Any) -> list[Any]:
    """What a value may be, None left out: TOML has none."""
    union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    return [kind for kind in typing.get_args(hint) if kind is not types.NoneType] if union else [hint]


def _fits(kind: Any, value: Any) -> bool:
    """Whether a value has a type's outer form."""
    origin = typing.get_origin(kind)
    if origin is tuple:
        return isinstance(value, list)
    if origin is typing.Literal:
        return any(type(value) is type(option) for option in typing.get_args(kind))
    if dataclasses.is_dataclass(kind):
        return isinstance(value, Mapping)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return kind is Any or type(value) is (str if kind is Path else kind)


def checked(hint: Any, value: Any, name: str, where: str) -> Any:
    """A value as a field of this type wants it: arrays become tuples, integers floats, where these are wanted.

    Args:
        hint: the type: one that a field of a configuration may have, list, dict, or several of these with `|`.
        value: as TOML has it.
        name: of the field, for messages.
        where: what the field belongs to, for messages.

    Raises:
        ValueError: the value is of another type.
    """
    kind = next((kind for kind in _alternatives(hint) if _fits(kind, value)), None)
    if kind is None:
        raise ValueError(f"{where}: {name}={value!r} has the type {type(value).__name__}; it must be {_in_words(hint)}")
    if dataclasses.is_dataclass(kind):
        return _new(kind, value, f"{where}, {name}")
    if typing.get_origin(kind) is typing.Literal and value not in typing.get_args(kind):
        raise unknown(f"{where}: {name}", value, [str(option) for option in typing.get_args(kind)])
    if typing.get_origin(kind) is tuple:
        return _checked_items(kind, value, name, where)
    try:
        return kind(value) if kind in (float, Path) else value
    except OverflowError as error:
        raise ValueError(f"{where}: {name}={value!r} is too large; it must be a number below 1.8e308") from error


def _checked_items(kind: Any, values: list[Any], name: str, where: str) -> tuple[Any, ...]:
    items = typing.get_args(kind)
    if len(items) == 2 and items[1] is ...:
        items = items[:1] * len(values)
    if len(items) != len(values):
        raise ValueError(f"{where}: {name}={values!r} has {len(values)} entries; it must be {_in_words(kind)}")
    pairs = enumerate(zip(items, values, strict=True))
    return tuple(checked(item, value, f"{name}[{index}]", where) for index, (item, value) in pairs)


def _new(kind: type[Config], values: Mapping[str, Any], where: str) -> Config:
    """A dataclass from a table alone."""
    found = _checked_fields(kind, None, values, where)
    for field in dataclasses.fields(kind):
        required = field.init and field.default is field.default_factory is dataclasses.MISSING
        if required and field.name not in found:
            raise ValueError(f"{where}: {field.name} is missing; it must be given")
    try:
        return kind(**found)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def _in_words(hint: Any) -> str:
    """A type as users call it."""
    return " or ".join(_one_in_words(kind) for kind in _alternatives(hint))


def _one_in_words(kind: Any) -> str:
    origin, items = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and items[-1] is ...:
        return f"an array, each entry {_in_words(items[0])}"
    if origin is tuple:
        return f"an array of {len(items)}: {', '.join(_in_words(item) for item in items)}"
    if origin is typing.Literal:
        return f"one of {', '.join(repr(option) for option in items)}"
    return "a table" if dataclasses.is_dataclass(kind) else _WANTED.get(kind, str(kind))
