"""Where world files are, and what a level is called in the names of checkpoints."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def level_slug(level_path: str | Path) -> str:
    """The level's name in checkpoint files: "worlds/l/grasp_easy.json" gives "worlds_l_grasp_easy"."""
    path = Path(level_path)
    if path.is_absolute() and path.is_relative_to(ROOT):
        path = path.relative_to(ROOT)
    elif len(path.parts) == 1:
        path = Path("worlds/l") / path
    return path.as_posix().removesuffix(".json").replace("/", "_")
