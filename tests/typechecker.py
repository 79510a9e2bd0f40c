"""How the tests check the package's annotations of arrays: shapes and types of what every call is given and returns."""

import inspect
import typing
from collections.abc import Callable, Iterator
from typing import Any

from beartype import beartype
from jaxtyping import AbstractArray


def check(function: Callable) -> Callable:
    """The function with its arrays checked.

    Other hints are left alone: `Self` and the project's protocols are for readers and editors, beartype refuses them.
    So are constructors: JAX takes dataclasses apart and puts shapes, devices or nothing in place of their arrays.
    """
    if function.__name__ == "__init__":
        return function
    hints = function.__annotations__
    function.__annotations__ = {name: hint for name, hint in hints.items() if _of_arrays(hint)}
    return beartype(function)


def _of_arrays(hint: Any) -> bool:
    parts = list(_parts(hint))
    refused = [part for part in parts if part is typing.Self or getattr(part, "_is_protocol", False)]
    return not refused and any(inspect.isclass(part) and issubclass(part, AbstractArray) for part in parts)


def _parts(hint: Any) -> Iterator[Any]:
    yield hint
    for part in typing.get_args(hint):
        yield from _parts(part)
