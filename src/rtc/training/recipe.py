"""What single levels need that differs from the defaults: a TOML file with one table per level.

    [hard_lunar_lander]
    progress_reward = 0.5

A table holds fields of a script's configuration. What the user sets otherwise than the preset wins over it.
"""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from rtc.shared.validation import unknown

Config = TypeVar("Config")


def read(path: Path) -> dict[str, dict[str, Any]]:
    """The tables of a recipe, by level name.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not TOML, or holds anything but tables.
    """
    try:
        tables = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not valid TOML ({error})") from error
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ValueError(f"{path}: {name}={table!r} stands outside a table; put it below a line [<level>]")
    return tables


def for_level(path: Path | None, level: str, config: Config, preset: Config) -> Config:
    """The configuration for one level.

    Args:
        path: the recipe; None changes nothing.
        level: the level's name.
        config: the user's configuration.
        preset: what it was before the user changed it: fields that differ stay as the user set them.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a field is unknown or its value out of range.
    """
    table = {} if path is None else read(path).get(level, {})
    fields = [field.name for field in dataclasses.fields(config)]
    for name in table:
        if name not in fields:
            raise unknown(f"{path}: [{level}] field", name, fields)
    wanted = {name: value for name, value in table.items() if getattr(config, name) == getattr(preset, name)}
    try:
        return dataclasses.replace(config, **wanted)
    except ValueError as error:
        raise ValueError(f"{path}: [{level}]: {error}") from error
