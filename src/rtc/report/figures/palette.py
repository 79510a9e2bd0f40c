"""Colour and mark of every method, the same in all figures.

Colours are those of Okabe and Ito (2008) and, where these do not suffice, of Paul Tol's muted scheme; colour-blind
readers tell them apart. Methods that share an ingredient share its colour; no two methods share colour and mark, and
marks remain where a page is printed in grey. Variants of one method in a study differ in how the mark is filled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from rtc.study.study import Study

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
MAGENTA, BROWN = "#AA4499", "#661100"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, BLACK, OLIVE)
FILLS = ("full", "none", "left", "right", "bottom", "top")


@dataclass(frozen=True)
class Look:
    """How something is drawn: its colour, matplotlib's name of its mark, and how that is filled."""

    color: str
    mark: str = "o"
    fill: str = "full"

    def style(self, size: float = 6.0) -> dict[str, Any]:
        """The arguments of `Axes.plot` for the mark."""
        return {
            "color": self.color,
            "marker": self.mark,
            "fillstyle": self.fill,
            "markersize": size,
            "markerfacecoloralt": "white",
            "markeredgecolor": self.color,
        }


LOOKS: Mapping[str, Look] = MappingProxyType(
    {
        "naive": Look(ORANGE, "o"),
        "synchronous": Look(BLACK, "s"),
        "temporal_ensemble": Look(OLIVE, "h"),
        "realtime": Look(BLUE, "^"),
        "realtime_linear": Look(INDIGO, "<"),
        "realtime_ones": Look(TEAL, ">"),
        "realtime_stop_gradient": Look(WINE, "v"),
        "hard_masking": Look(SKY, "D"),
        "bid": Look(PURPLE, "P"),
        "bid_contrast": Look(ROSE, "X"),
        "trained_prefix": Look(GREEN, "s"),
        "paint": Look(MAGENTA, "p"),
        "carried_noise": Look(ORANGE, "d"),
        "foresee_simulator": Look(FOREST, "o"),
        "foresee_learned": Look(FOREST, "s"),
        "foresee_learned+realtime": Look(FOREST, "^"),
        "robot_only_simulator": Look(SAND, "o"),
        "robot_only_learned": Look(SAND, "s"),
        "vlash": Look(SAND, "D"),
        "vlash_simulator": Look(SAND, "P"),
        "futurertc": Look(BROWN, "d"),
        "a2c2": Look(VERMILLION, "*"),
        "head_only": Look(VERMILLION, "X"),
        "trained_prefix+a2c2": Look(VERMILLION, "s"),
        "foresee_simulator+a2c2": Look(VERMILLION, "o"),
        "foresee_learned+a2c2": Look(VERMILLION, "^"),
        "delay_expert": Look(GREY, "*"),
    }
)
# For methods of a user's own and for token policies, by their place.
_FURTHER = tuple(Look(color, mark) for mark in ("H", "8", "p") for color in (BROWN, MAGENTA, GREY, YELLOW))


def looks(labels: Mapping[str, str]) -> dict[str, Look]:
    """The look of every label, from the method that it stands for: a label -> method."""
    others = list(dict.fromkeys(method for method in labels.values() if method not in LOOKS))
    found: dict[str, Look] = {}
    for method in dict.fromkeys(labels.values()):
        look = LOOKS.get(method) or _FURTHER[others.index(method) % len(_FURTHER)]
        variants = [label for label, other in labels.items() if other == method]
        # The method under its own name comes first.
        variants.sort(key=lambda label, method=method: label != method)
        for place, label in enumerate(variants):
            found[label] = Look(look.color, look.mark, FILLS[place % len(FILLS)])
    return found


def of_study(study: Study) -> dict[str, Look]:
    """The look of every label of a study's methods."""
    return looks({one.method: one.method if one.decoding else one.config.method for one in study.arms})


def distinct_colors(names: Sequence[str]) -> dict[str, str]:
    """A colour by name, each another one as far as there are colours, for drawings without marks for methods.

    A method has its own, unless a name before it has that.
    """
    found: dict[str, str] = {}
    for name in names:
        if name in LOOKS and LOOKS[name].color not in found.values():
            found[name] = LOOKS[name].color
    palette = dict.fromkeys((*SERIES, *(look.color for look in LOOKS.values())))
    free = [color for color in palette if color not in found.values()] or list(palette)
    others = [name for name in dict.fromkeys(names) if name not in found]
    return found | {name: free[place % len(free)] for place, name in enumerate(others)}


def series_color(name: str, names: Sequence[str]) -> str:
    """Colour of a series that is no method, by its place in `names`."""
    return SERIES[list(names).index(name) % len(SERIES)]
