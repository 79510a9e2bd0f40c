"""Reads the arrays of an untrusted pickle: nested dictionaries of numeric arrays and nothing else.

A pickle can run any code when it is loaded. Here every name that it may refer to resolves to a stand-in of this
module, any other name is refused before anything runs, and NumPy only ever gets checked bytes.
"""

import io
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np


class _Refused(ValueError):
    """A pickle asked for more than arrays and containers."""


class _PickledDtype:
    """Stands in for numpy.dtype: plain numbers only."""

    __slots__ = ("value",)

    def __init__(self, code: str, *_flags: bool):
        if not re.fullmatch(r"b1|[iu][1248]|f[248]", str(code)):
            raise _Refused(f"array dtype {str(code)[:40]!r} is not a plain number")
        self.value = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if any(part is not None for part in state[2:5]):
            raise _Refused("array dtype with fields is not a plain number")
        self.value = self.value.newbyteorder(state[1])


class _PickledArray:
    """Stands in for an array under construction: NumPy gets checked bytes, never the pickle's own state."""

    __slots__ = ("value",)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, fortran_order, data = state
        if not all(isinstance(size, int) and size >= 0 for size in shape):
            raise ValueError(f"array shape {shape!r}")
        flat = np.frombuffer(data, dtype.value)
        self.value = flat.reshape(shape, order="F" if fortran_order else "C")


class _Allowed:
    """A global that a pickle may name. It can be called but not changed: BUILD calls `__setstate__`."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., object]):
        self._function = function

    def __call__(self, *args: object) -> object:
        return self._function(*args)

    def __setstate__(self, _state: object) -> NoReturn:
        raise _Refused("it tries to change a class or function")


def _new_array(*_arguments: object) -> _PickledArray:
    return _PickledArray()


def _new_jax_array(_function: object, _arguments: object, state: tuple[Any, ...], _aval: object) -> _PickledArray:
    array = _PickledArray()
    array.__setstate__(state)
    return array


def _refuse_call(*_arguments: object) -> NoReturn:
    raise _Refused("it builds an array without a numeric type")


_ALLOWED = {
    ("jax._src.array", "_reconstruct_array"): _Allowed(_new_jax_array),
    ("numpy.core.multiarray", "_reconstruct"): _Allowed(_new_array),
    ("numpy._core.multiarray", "_reconstruct"): _Allowed(_new_array),
    ("numpy", "ndarray"): _Allowed(_refuse_call),
    ("numpy", "dtype"): _Allowed(_PickledDtype),
}


class _ArrayUnpickler(pickle.Unpickler):
    """Resolves the names in `_ALLOWED` to stand-ins of this module and refuses any other."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _ALLOWED:
            raise _Refused(f"it refers to {module}.{name}")
        return _ALLOWED[module, name]


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a pickle by their paths in its dictionaries, as in "mlp_stack/0/token_mix_in/kernel".

    Raises:
        ValueError: the file is damaged, or holds anything but dictionaries of numeric arrays.
    """
    try:
        return dict(_walk(_ArrayUnpickler(io.BytesIO(path.read_bytes())).load()))
    except _Refused as error:
        reason = "a checkpoint holds only numeric arrays, so do not trust this file"
        raise ValueError(f"{path} was refused: {error}; {reason}") from error
    except Exception as error:  # damaged pickles raise nearly anything
        fix = "download it again or choose another run"
        raise ValueError(f"{path} is truncated or damaged ({type(error).__name__}: {error}); {fix}") from error


def _walk(tree: object, prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """The arrays in nested dictionaries, by path."""
    if isinstance(tree, _PickledArray):
        yield prefix, tree.value
    elif isinstance(tree, dict):
        for key, child in tree.items():
            yield from _walk(child, f"{prefix}/{key}" if prefix else str(key))
    else:
        raise _Refused(f"entry {prefix!r} is a {type(tree).__name__}")
