"""Where the files that come with the project are, and what a level is called however its path is spelled."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# An installed wheel holds what it needs of the checkout's folders here.
DATA = Path(__file__).resolve().parents[1] / "data"


def shipped(relative: str | Path) -> Path:
    """A file or folder that comes with the project, by its path in the repository: from the checkout, or the wheel."""
    place = ROOT / relative
    return DATA / relative if not place.exists() and (DATA / relative).exists() else place


def is_name(level: str | Path) -> bool:
    """Whether `level` is a bare level name ("grasp_easy") rather than a path."""
    text = str(level)
    return "/" not in text and not text.endswith(".json")


def level_file(path: str | Path) -> Path:
    """The absolute path of an existing world file, symbolic links followed.

    A link to something that is not called `.json` (a store that names files by their hash) keeps its own name.
    """
    target = Path(path).resolve()
    return target if target.suffix == ".json" else Path(path).absolute()


def level_name(level: str | Path) -> str:
    """A level's name: "grasp_easy" for "grasp_easy", "worlds/l/grasp_easy.json", a link to it or any other spelling."""
    if is_name(level):
        return str(level)
    return (level_file(level) if Path(level).is_file() else Path(level)).name.removesuffix(".json")
