"""Observations and chunks as bytes: MessagePack with NumPy arrays, as openpi's client and servers exchange them.

An array is a map with the keys `__ndarray__`, `data`, `dtype` and `shape`, a scalar one with `__npgeneric__`, `data`
and `dtype` (keys are bytes). Numbers, texts and bytes are all that is read: nothing is unpickled, no class is named.
"""

import math
from typing import Any

import numpy as np

# Kinds of numpy's types that are plain data: booleans, integers, floats, texts and bytes.
KINDS = "biufSU"


def pack(value: Any) -> bytes:
    """Dictionaries, lists, texts, numbers and arrays as bytes. Raises ValueError for anything else."""
    import msgpack

    try:
        return msgpack.packb(value, default=_packed)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"the observation cannot be sent: {error}") from error


def unpack(content: bytes) -> Any:
    """The value that bytes of `pack` stand for. Raises ValueError where they stand for none."""
    import msgpack

    try:
        return msgpack.unpackb(content, object_hook=_unpacked)
    except (ValueError, TypeError, KeyError, OverflowError, msgpack.exceptions.UnpackException) as error:
        raise ValueError(f"no MessagePack with arrays: {error}") from error


def _packed(value: Any) -> Any:
    if not isinstance(value, np.ndarray | np.generic):
        raise TypeError(f"a {type(value).__name__} is neither an array nor a number, text, list or dictionary")
    if value.dtype.kind not in KINDS:
        raise TypeError(f"an array of type {value.dtype} is no plain data")
    if isinstance(value, np.ndarray):
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}


def _unpacked(found: dict[Any, Any]) -> Any:
    if b"__ndarray__" not in found and b"__npgeneric__" not in found:
        return found
    dtype = np.dtype(found[b"dtype"])
    if dtype.kind not in KINDS:
        raise ValueError(f"an array of type {dtype} is no plain data")
    if b"__npgeneric__" in found:
        return dtype.type(found[b"data"])
    shape, data = tuple(found[b"shape"]), found[b"data"]
    if not all(isinstance(size, int) and size >= 0 for size in shape) or len(data) != dtype.itemsize * math.prod(shape):
        raise ValueError(f"{len(data)} bytes are no array of type {dtype} and shape {shape}")
    return np.frombuffer(data, dtype).reshape(shape)
