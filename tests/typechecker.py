"""How the tests check the package's annotations of arrays: shapes and types of what every call is given and returns."""

import functools
import inspect
import operator
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from beartype import beartype
from jaxtyping import AbstractArray

# Their functions say themselves what is wrong with a shape, and tests read what they say.
SAY_IT_THEMSELVES = ("rtc.policies.flow", "rtc.study.statistics", "rtc.worlds.libero.adapter")


def of_arrays(jaxtyped: Callable) -> Callable:
    """jaxtyping's decorator, which leaves what names no array as it is: four functions in five.

    Every function that it wraps is made two more times, and binds its arguments at every call.
    """

    def only_where_needed(**options: Any) -> Callable:
        wrap = jaxtyped(**options)
        return lambda thing: wrap(thing) if any(map(_of_arrays, _hints(thing))) else thing

    return only_where_needed


def _hints(thing: Any) -> Iterator[Any]:
    return iter(()) if inspect.isclass(thing) else iter(thing.__annotations__.values())


def check(function: Callable) -> Callable:
    """The function with its arrays checked; numpy's may stand for JAX's among the arguments.

    Other hints are left alone: `Self` and the project's protocols are for readers and editors, beartype refuses them.
    So are constructors: JAX takes dataclasses apart and puts shapes, devices or nothing in place of their arrays.
    """
    if function.__name__ == "__init__" or function.__module__ in SAY_IT_THEMSELVES:
        return function
    hints = {name: hint for name, hint in function.__annotations__.items() if _of_arrays(hint)}
    function.__annotations__ = {name: hint if name == "return" else _widened(hint) for name, hint in hints.items()}
    return beartype(function)


def _of_arrays(hint: Any) -> bool:
    parts = list(_parts(hint))
    refused = [part for part in parts if part is typing.Self or getattr(part, "_is_protocol", False)]
    return not refused and any(map(_is_array, parts))


def _is_array(hint: Any) -> bool:
    return inspect.isclass(hint) and issubclass(hint, AbstractArray)


def _parts(hint: Any) -> Iterator[Any]:
    yield hint
    for part in typing.get_args(hint):
        yield from _parts(part)


def _widened(hint: Any) -> Any:
    if _is_array(hint):
        return hint | hint.dtype[np.ndarray, hint.dim_str] if hint.array_type is jax.Array else hint
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return functools.reduce(operator.or_, map(_widened, typing.get_args(hint)))
    return hint
