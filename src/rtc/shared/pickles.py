"""Reads the arrays of an untrusted pickle: nested dictionaries and lists of numeric arrays and nothing else.

A pickle can run any code when it is loaded. Here every name that it may refer to resolves to a stand-in of this
module, any other name is refused before anything runs, and NumPy only ever gets checked bytes. All pickle protocols
are read, with arrays in C or Fortran order.
"""

import io
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np


class _Refused(ValueError):
    """A pickle asked for code: a file that a checkpoint's author did not mean as one."""


class _Unsupported(ValueError):
    """A pickle holds something harmless that this reader does not know."""


class _PickledDtype:
    """Stands in for numpy.dtype: plain numbers only."""

    __slots__ = ("value",)

    def __init__(self, code: object, *_flags: object):
        if isinstance(code, _Allowed):
            raise _Refused("it makes a data type of a function")
        if not re.fullmatch(r"b1|[iu][1248]|f[248]", str(code)):
            raise _Unsupported(f"array dtype {str(code)[:40]!r} is not a plain number")
        self.value = np.dtype(str(code))

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if any(part is not None for part in state[2:5]):
            raise _Unsupported("array dtype with fields is not a plain number")
        self.value = self.value.newbyteorder(state[1])


class _PickledArray:
    """Stands in for an array under construction: NumPy gets checked bytes, never the pickle's own state."""

    __slots__ = ("value",)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, fortran_order, data = state
        self.value = _array(data, dtype, shape, "F" if fortran_order else "C")


class _Allowed:
    """A global that a pickle may name. It can be called but not changed: BUILD calls `__setstate__`."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., object]):
        self._function = function

    def __call__(self, *args: object) -> object:
        return self._function(*args)

    def __setstate__(self, _state: object) -> NoReturn:
        raise _Refused("it tries to change a class or function")


def _array(data: Any, dtype: Any, shape: Any, order: str) -> np.ndarray:
    shape = (shape,) if isinstance(shape, int) else shape
    if not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError(f"array shape {shape!r}")
    return np.frombuffer(data, dtype.value).reshape(shape, order=order)


def _new_array(*_arguments: object) -> _PickledArray:
    return _PickledArray()


def _new_jax_array(_function: object, _arguments: object, state: tuple[Any, ...], _aval: object) -> _PickledArray:
    array = _PickledArray()
    array.__setstate__(state)
    return array


def _from_buffer(data: Any, dtype: Any, shape: Any, order: object, axes: Any = None) -> _PickledArray:
    """An array of protocol 5. Order "K" with `axes` is a permutation of a C-ordered array's axes."""
    array = _PickledArray()
    if axes is None:
        array.value = _array(data, dtype, shape, "F" if order == "F" else "C")
    else:
        array.value = _array(data, dtype, shape, "C").transpose([int(axis) for axis in axes])
    return array


def _from_scalar(dtype: Any, data: Any) -> _PickledArray:
    array = _PickledArray()
    array.value = _array(data, dtype, (), "C")
    return array


def _encoded(text: object, encoding: object = "latin1") -> bytes:
    """Bytes as protocols below 3 write them: latin-1 text that is encoded again."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _Refused(f"it calls _codecs.encode with encoding {str(encoding)[:40]!r}")
    return text.encode("latin1")


def _empty(kind: type) -> Callable[..., object]:
    def make(*arguments: object) -> object:
        if arguments and not (kind is bytearray and len(arguments) == 1 and isinstance(arguments[0], bytes)):
            raise _Refused(f"it calls {kind.__name__} with arguments")
        return kind(*arguments)

    return make


def _refuse_call(*_arguments: object) -> NoReturn:
    raise _Refused("it builds an array without a numeric type")


_ALLOWED = {
    ("jax._src.array", "_reconstruct_array"): _Allowed(_new_jax_array),
    ("numpy", "ndarray"): _Allowed(_refuse_call),
    ("numpy", "dtype"): _Allowed(_PickledDtype),
    ("_codecs", "encode"): _Allowed(_encoded),
    ("collections", "OrderedDict"): _Allowed(_empty(dict)),
    **{(module, "bytes"): _Allowed(_empty(bytes)) for module in ("builtins", "__builtin__")},
    **{(module, "bytearray"): _Allowed(_empty(bytearray)) for module in ("builtins", "__builtin__")},
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Allowed(_new_array) for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _Allowed(_from_scalar) for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Allowed(_from_buffer) for core in ("core", "_core")},
}
# Where containers and array types of checkpoints live: a class of theirs is unknown here rather than suspect.
_DATA_LIBRARIES = ("jax", "jaxlib", "flax", "haiku", "numpy", "ml_dtypes", "collections", "torch", "optax", "orbax")


class _ArrayUnpickler(pickle.Unpickler):
    """Resolves the names in `_ALLOWED` to stand-ins of this module and refuses any other."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        is_class = re.fullmatch(r"[A-Z]\w*|bfloat16|float8_\w+", name)
        if is_class and module.split(".")[0] in _DATA_LIBRARIES:
            raise _Unsupported(f"it holds a {module}.{name}")
        raise _Refused(f"it refers to {module}.{name}")

    def persistent_load(self, _pid: object) -> NoReturn:
        raise _Unsupported("it refers to objects outside the file")


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a pickle by their paths in its containers, as in "mlp_stack/0/token_mix_in/kernel".

    Raises:
        ValueError: the file is damaged, asks for code, or holds anything but dictionaries and lists of numeric arrays;
            the message says which.
    """
    try:
        return dict(_walk(_ArrayUnpickler(io.BytesIO(path.read_bytes())).load()))
    except _Refused as error:
        reason = "a checkpoint holds only numeric arrays, so do not trust this file"
        raise ValueError(f"{path} was refused: {error}; {reason}") from error
    except _Unsupported as error:
        fix = "save its arrays as plain NumPy arrays in dictionaries and lists"
        raise ValueError(f"{path} is unsupported: {error}; {fix}") from error
    except Exception as error:  # damaged pickles raise nearly anything
        fix = "download it again or choose another run"
        raise ValueError(f"{path} is truncated or damaged ({type(error).__name__}: {error}); {fix}") from error


def _walk(tree: object, prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """The arrays in nested containers, by path; the entries of a list are numbered."""
    if isinstance(tree, _PickledArray):
        yield prefix, tree.value
    elif isinstance(tree, dict | list | tuple):
        for key, child in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _walk(child, f"{prefix}/{key}" if prefix else str(key))
    elif isinstance(tree, _Allowed):
        raise _Refused(f"entry {prefix!r} is a function")
    else:
        raise _Unsupported(f"entry {prefix!r} is a {type(tree).__name__}")
