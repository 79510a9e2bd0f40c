"""How all figures look, and where they are written.

Colours are those of Okabe and Ito (2008) and, where these do not suffice, of Paul Tol's muted scheme; colour-blind
readers tell them apart. A method has one colour in all figures. Every figure is a function that returns a
matplotlib figure; `save` writes it as PNG and SVG.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from rtc.shared.files import PathLike, atomic_path

BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY, YELLOW, BLACK = "#CC79A7", "#56B4E9", "#F0E442", "#000000"
GREY, LIGHT = "#6B6B6B", "#D9D9D9"
INDIGO, TEAL, WINE, ROSE, OLIVE, FOREST, SAND = (
    "#332288",
    "#44AA99",
    "#882255",
    "#CC6677",
    "#999933",
    "#117733",
    "#DDCC77",
)
METHOD_COLORS: Mapping[str, str] = MappingProxyType(
    {
        "naive": ORANGE,
        "realtime": BLUE,
        "trained_prefix": GREEN,
        "bid": PURPLE,
        "hard_masking": SKY,
        "synchronous": BLACK,
        "temporal_ensemble": OLIVE,
        "realtime_linear": INDIGO,
        "realtime_ones": TEAL,
        "realtime_stop_gradient": WINE,
        "bid_contrast": ROSE,
    }
)
# For methods of a user's own, and for whatever else is drawn as a series.
_FURTHER_COLORS = (VERMILLION, FOREST, SAND, GREY)
SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, BLACK, OLIVE)
LEVELS_PER_ROW = 4
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
    for path in paths:
        metadata = {"Date": None} if path.suffix == ".svg" else {}
        with atomic_path(path) as temporary, matplotlib.rc_context(STYLE):
            figure.savefig(temporary, dpi=150, metadata=metadata, facecolor="white")
    return paths


def subplots(rows: int, columns: int, size: tuple[float, float], **options) -> tuple[Figure, np.ndarray]:
    """An empty figure and its panels; without pyplot there is no global state, no display, and nothing to close."""
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def solve_rate_panels(figure: Figure | SubFigure, levels: Sequence[str], **options) -> Iterator[tuple[Axes, str]]:
    """`level_panels` for solve rates in percent."""
    for ax, level in level_panels(figure, levels, **options):
        ax.set_ylim(0, 102)
        yield ax, level


def level_panels(figure: Figure | SubFigure, levels: Sequence[str], **options) -> Iterator[tuple[Axes, str]]:
    """One panel per level, in rows of four, with its name."""
    rows, columns = -(-len(levels) // LEVELS_PER_ROW), min(LEVELS_PER_ROW, len(levels))
    for ax, level in panels(figure.subplots(rows, columns, squeeze=False, sharey=True, **options), levels):
        ax.set_title(level, fontsize=8)
        yield ax, level


def panels(axes: np.ndarray, names: Sequence[str]) -> Iterator[tuple[Axes, str]]:
    """The panels of a grid, one per name in rows; those that are left stay empty."""
    for ax in axes.flat[len(names) :]:
        ax.set_visible(False)
    yield from zip(axes.flat, names, strict=False)


def method_color(method: str, methods: Sequence[str]) -> str:
    """Colour of a method: its own, which variants (`realtime+oracle`) share; others go by their place in `methods`."""
    own = METHOD_COLORS.get(_base(method))
    if own is not None:
        return own
    others = list(dict.fromkeys(_base(name) for name in methods if _base(name) not in METHOD_COLORS))
    return _FURTHER_COLORS[others.index(_base(method)) % len(_FURTHER_COLORS)]


def _base(method: str) -> str:
    return method.partition("+")[0]


def series_color(name: str, names: Sequence[str]) -> str:
    """Colour of a series that is no method, by its place in `names`."""
    return SERIES[list(names).index(name) % len(SERIES)]
