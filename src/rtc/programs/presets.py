"""What the training programs' command lines share: presets, and the levels that they name."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from rtc.policies.checkpoints import level_slug
from rtc.shared import commands, paths
from rtc.shared.paths import WorldRules
from rtc.shared.validation import require_some, unknown
from rtc.worlds.kinetix import levels
from rtc.worlds.kinetix.levels import Level

T = TypeVar("T")


def parse(arguments: type[T], presets: Mapping[str, T], argv: Sequence[str] | None = None) -> T:
    """Parses the command line over the defaults of the preset it names (`--preset`, first preset if absent).

    Args:
        arguments: a dataclass with a field `preset`.
        presets: default values by preset name; flags override them one by one.
        argv: arguments without the program's name; `sys.argv` if None.

    Raises:
        ValueError: there is no preset of this name.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    name = next(iter(presets))
    for i, word in enumerate(argv):
        if word == "--preset" and i + 1 < len(argv):
            name = argv[i + 1]
        elif word.startswith("--preset="):
            name = word.partition("=")[2]
    if name not in presets:
        raise unknown("preset", name, presets)
    return commands.parse(arguments, argv, default=presets[name])


def start(
    arguments: type[T], presets: Mapping[str, T], run: Callable[[T], Any], argv: Sequence[str] | None = None
) -> None:
    """Parses the command line over the presets and runs it."""
    with commands.plain_errors():
        run(parse(arguments, presets, argv))


def expand(level_paths: Sequence[str]) -> tuple[str, ...]:
    """Level paths with "all" replaced by the benchmark's levels. Raises ValueError where there are none."""
    require_some("level_paths", level_paths)
    return tuple(path for given in level_paths for path in (levels.LEVEL_NAMES if given == "all" else [given]))


def load_levels(level_paths: Sequence[str], world_rules: WorldRules | None = None) -> dict[str, Level]:
    """The levels by the name of their files, "all" standing for the benchmark's; `world_rules` as of `paths.under`.

    Raises:
        ValueError: there are none, two have one name, so that one's files would overwrite the other's, or a file is
            faulty.
        FileNotFoundError: no such level.
    """
    loaded: dict[str, Level] = {}
    for path in paths.under(world_rules, expand(level_paths)):
        slug, level = level_slug(path), levels.load(path)
        if slug in loaded and loaded[slug].sha256 != level.sha256:
            raise ValueError(
                f"level_paths has two levels named {level.name}, whose files would overwrite each other: "
                "rename one of them, or give them run folders of their own"
            )
        loaded[slug] = level
    return loaded
