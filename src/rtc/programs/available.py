"""Which methods can be measured here: those whose policies and networks are there."""

from collections.abc import Callable
from typing import TypeVar

from rtc import methods

T = TypeVar("T")


def available(load: Callable[[str], T]) -> dict[str, T]:
    """By method, what `load` makes of its name, where it can; why the others are left out is printed."""
    found = {}
    for name in methods.METHODS:
        try:
            found[name] = load(name)
        except (ValueError, FileNotFoundError) as error:
            print(f"{name} is left out: {error}")
    return found
