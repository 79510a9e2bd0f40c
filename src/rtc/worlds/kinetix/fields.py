"""Values of world files: each function checks one JSON value and returns it in Python's terms.

All raise ValueError with the place, the value and the fix.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rtc.shared.validation import unknown

_LARGEST = float(np.finfo(np.float32).max)

Point = tuple[float, float]
Parser = Callable[[Any, str], Any]


def shown(value: Any) -> str:
    """A value for a message of one line."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:100]}… ({type(value).__name__})"


def mapping(value: Any, at: str) -> Mapping[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise ValueError(f"{at} = {shown(value)} is not an object; write {{...}}")
    return value


def text(value: Any, at: str) -> str:
    """A non-empty string."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{at} = {shown(value)} is not a name; write a non-empty string")
    return value


def flag(value: Any, at: str) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{at} = {shown(value)} is not a switch; write true or false")
    return value


def number(value: Any, at: str) -> float:
    """A finite number, in single precision too."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST:
        raise ValueError(f"{at} = {shown(value)} is not a finite number; write a number such as 0.5")
    return float(value)


def non_negative(value: Any, at: str) -> float:
    """A number of at least 0."""
    if number(value, at) < 0:
        raise ValueError(f"{at} = {shown(value)} is negative; write 0 or more")
    return float(value)


def positive(value: Any, at: str) -> float:
    """A number above 0."""
    if number(value, at) <= 0:
        raise ValueError(f"{at} = {shown(value)} is not positive; write a number above 0")
    return float(value)


def point(value: Any, at: str) -> Point:
    """Two numbers [x, y]."""
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"{at} = {shown(value)} is not a pair; write two numbers [x, y]")
    return number(value[0], f"{at}[0]"), number(value[1], f"{at}[1]")


def points(count: int) -> Parser:
    """A parser of `count` pairs of numbers."""

    def parser(value: Any, at: str) -> tuple[Point, ...]:
        if not isinstance(value, list) or len(value) != count:
            raise ValueError(f"{at} = {shown(value)} is not a list of {count} points; write [[x, y], ...]")
        return tuple(point(item, f"{at}[{k}]") for k, item in enumerate(value))

    return parser


def integer(low: int | None = None, high: int | None = None) -> Parser:
    """A parser of whole numbers from `low` to `high`, both included; None: as far as 32 bits reach."""
    low, high = -(2**31) if low is None else low, 2**31 - 1 if high is None else high

    def parser(value: Any, at: str) -> int:
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not whole or not low <= value <= high:
            raise ValueError(f"{at} = {shown(value)} is not a whole number from {low} to {high}; write one")
        return int(value)

    return parser


def size(value: Any, at: str) -> Point:
    """A positive [width, height]."""
    width, height = point(value, at)
    if min(width, height) <= 0:
        raise ValueError(f"{at} = {shown(value)} is an empty rectangle; write a positive [width, height]")
    return width, height


def limits(value: Any, at: str) -> Point:
    """An ordered [low, high]."""
    low, high = point(value, at)
    if low > high:
        raise ValueError(f"{at} = {shown(value)}: the lower limit is above the upper one; swap them")
    return low, high


def vertices(value: Any, at: str) -> tuple[Point, ...]:
    """Three or four points, clockwise around a convex outline."""
    if not isinstance(value, list) or len(value) not in (3, 4):
        raise ValueError(f"{at} = {shown(value)}: a polygon has 3 or 4 vertices; write [[x, y], [x, y], [x, y]]")
    points = tuple(point(vertex, f"{at}[{i}]") for i, vertex in enumerate(value))
    corners = zip(points, points[1:] + points[:1], points[2:] + points[:2], strict=True)
    turns = [(q[0] - p[0]) * (r[1] - q[1]) - (q[1] - p[1]) * (r[0] - q[0]) for p, q, r in corners]
    if all(turn > 0 for turn in turns):
        raise ValueError(f"{at} = {shown(value)} runs counter-clockwise; reverse the order")
    if not all(turn < 0 for turn in turns):
        raise ValueError(
            f"{at} = {shown(value)} is not a convex polygon; order the vertices clockwise around a convex outline"
        )
    return points


def choice(*allowed: Any) -> Parser:
    """A parser that takes one of `allowed` and returns its position."""

    def parser(value: Any, at: str) -> int:
        if isinstance(value, bool) or value not in allowed:
            raise unknown(at, value, map(str, allowed))
        return allowed.index(value)

    return parser
