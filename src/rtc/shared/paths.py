"""Where the files that come with the project are, and what a level is called however its path is spelled."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

from rtc.shared.validation import require_choice

# How a Kinetix dump is read: as it is written, or as Kinetix's importer builds it (docs/levels.md).
WorldRules = Literal["dump", "importer"]

ROOT = Path(__file__).resolve().parents[3]
# An installed wheel holds what it needs of the checkout's folders here.
DATA = Path(__file__).resolve().parents[1] / "data"


def shipped(relative: str | Path) -> Path:
    """A file or folder that comes with the project, by its path in the repository: from the checkout, or the wheel."""
    place = ROOT / relative
    return DATA / relative if not place.exists() and (DATA / relative).exists() else place


def reading(level: str | Path) -> tuple[WorldRules | None, str]:
    """The rules that a level is given with, as in "importer:my_level.json", and the level; None for no rules."""
    rules, colon, rest = str(level).partition(":")
    return (rules, rest) if colon and rules in get_args(WorldRules) else (None, str(level))


def under(rules: WorldRules | None, levels: Iterable[str]) -> tuple[str, ...]:
    """The levels, of which every file that has no rules of its own gets these; "dump" is how files are read anyway.

    Raises:
        ValueError: unknown rules, or there is no such file.
    """
    levels = tuple(levels)
    if rules is None:
        return levels
    require_choice("world_rules", rules, get_args(WorldRules))
    bare = {level for level in levels if not is_name(level) and reading(level)[0] is None}
    if not bare:
        raise ValueError(
            f"world_rules={rules!r} has no effect on {', '.join(levels)}: it is for files of Kinetix dumps that are "
            "not given with rules of their own, so leave it out"
        )
    return tuple(f"{rules}:{level}" if rules == "importer" and level in bare else level for level in levels)


def is_name(level: str | Path) -> bool:
    """Whether `level` is a bare level name ("grasp_easy") rather than a path."""
    text = reading(level)[1]
    return "/" not in text and not text.endswith(".json")


def level_file(path: str | Path) -> Path:
    """The absolute path of an existing world file, symbolic links followed.

    A link to something that is not called `.json` (a store that names files by their hash) keeps its own name.
    """
    target = Path(path).resolve()
    return target if target.suffix == ".json" else Path(path).absolute()


def level_name(level: str | Path) -> str:
    """A level's name: "grasp_easy" for "grasp_easy", "worlds/l/grasp_easy.json", a link to it or any other spelling."""
    level = reading(level)[1]
    if is_name(level):
        return level
    return (level_file(level) if Path(level).is_file() else Path(level)).name.removesuffix(".json")
