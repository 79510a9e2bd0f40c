"""Draws the levels' start states into one labelled picture: `python src/render_levels.py`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from rtc.shared import commands, paths
from rtc.shared.files import atomic_path
from rtc.shared.paths import WorldRules
from rtc.shared.validation import require_some
from rtc.worlds.kinetix import levels, render


@dataclass(frozen=True)
class Arguments:
    """Draws the start states of levels into one labelled picture."""

    level_paths: tuple[str, ...] = levels.LEVEL_NAMES
    """World files, Kinetix dumps or level names."""
    world_rules: WorldRules | None = None
    """How Kinetix dumps are read: as written (dump, the default), or as Kinetix's importer builds them (importer)."""
    output: Path = Path("worlds/levels.png")
    """Picture to write; any format that Pillow knows by its suffix."""
    size: int = 360
    """Pixels per level."""


def render_levels(args: Arguments) -> None:
    """Writes the picture that the arguments describe."""
    require_some("level_paths", args.level_paths)
    shown = [levels.load(path) for path in paths.under(args.world_rules, args.level_paths)]
    pictures = [render.draw(levels.shapes(level, level.start), size=args.size) for level in shown]
    picture = render.grid(pictures, [level.name for level in shown])
    with atomic_path(args.output) as temporary:
        Image.fromarray(picture).quantize(128, dither=Image.Dither.NONE).save(temporary)
    print(f"{len(shown)} levels drawn")
    commands.open_first(args.output)


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, render_levels, Arguments.__doc__, argv)
