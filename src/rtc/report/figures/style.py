"""How all figures look, and where they are written.

Every figure is a function that returns a matplotlib figure; `save` writes it as PNG and SVG. Figures are as wide as a
telephone's screen, so that their smallest text can be read there; panels stand below each other. Colours and marks:
`palette`.
"""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from PIL import Image

from rtc.report.figures.palette import BLACK, GREY
from rtc.shared.files import PathLike, atomic_path, atomic_write

# Inches. On a page of 390 px a figure has 358, which leaves text of 9 points 9.5 px high.
WIDTH = 4.7
LEVELS_PER_ROW = 3
# An arm more, and a panel or figure is divided.
MOST_ARMS = 8
_COLOURS = 128  # of a PNG
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": BLACK,
    "ytick.labelcolor": BLACK,
    "svg.hashsalt": "exp-delta",  # makes SVG files reproducible
}


def save(figure: Figure, stem: PathLike) -> list[Path]:
    """Writes `<stem>.png` (150 dpi) and `<stem>.svg` atomically; returns both paths."""
    paths = [Path(f"{stem}.png"), Path(f"{stem}.svg")]
    with matplotlib.rc_context(STYLE):
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=150, facecolor="white")
        with Image.open(picture) as image:
            small = image.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
        packed = io.BytesIO()
        small.save(packed, format="png", optimize=True)
        atomic_write(paths[0], packed.getvalue())
        with atomic_path(paths[1]) as temporary:
            figure.savefig(temporary, metadata={"Date": None}, facecolor="white")
    return paths


def subplots(rows: int, columns: int, size: tuple[float, float], **options) -> tuple[Figure, np.ndarray]:
    """An empty figure and its panels; without pyplot there is no global state, no display, and nothing to close."""
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def solve_rate_panels(figure: Figure | SubFigure, levels: Sequence[str], **options) -> Iterator[tuple[Axes, str]]:
    """`level_panels` for solve rates in percent."""
    for ax, level in level_panels(figure, levels, **options):
        ax.set_ylim(0, 104)
        yield ax, level


def level_panels(figure: Figure | SubFigure, levels: Sequence[str], **options) -> Iterator[tuple[Axes, str]]:
    """One panel per level, in rows of three, with its name."""
    rows, columns = -(-len(levels) // LEVELS_PER_ROW), min(LEVELS_PER_ROW, len(levels))
    for ax, level in panels(figure.subplots(rows, columns, squeeze=False, sharey=True, **options), levels):
        ax.set_title(level, fontsize=8)
        ax.tick_params(labelsize=8)
        yield ax, level


def panels(axes: np.ndarray, names: Sequence[str]) -> Iterator[tuple[Axes, str]]:
    """The panels of a grid, one per name in rows; those that are left stay empty."""
    for ax in axes.flat[len(names) :]:
        ax.set_visible(False)
    yield from zip(axes.flat, names, strict=False)
