"""Recordings as `.npz` files without pickles: a named tuple of arrays, whose `facts` are kept as JSON."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rtc.shared.files import atomic_path


def save(path: Path, data: NamedTuple, *, compressed: bool = False) -> None:
    """Writes a recording, atomically."""
    arrays = data._asdict() | {"facts": np.asarray(json.dumps(data.facts, default=str))}
    with atomic_path(path) as temporary:
        (np.savez_compressed if compressed else np.savez)(temporary, **arrays)


def load(path: Path, kind: type[NamedTuple], otherwise: str) -> dict[str, Any]:
    """The fields of a recording.

    Args:
        path: the file.
        kind: its fields.
        otherwise: what a message calls a file that holds something else: "no file of …".

    Raises:
        ValueError: it is damaged, or something else.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            fields = {name: arrays[name] for name in kind._fields}
    except (KeyError, OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is {otherwise} ({error}); delete it and record again") from error
    return fields | {"facts": json.loads(str(fields["facts"]))}


def require_same(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises ValueError where a recording was made otherwise than wanted; says in what."""
    changed = [
        f"{name} = {found.get(name)!r}, not {wanted[name]!r}" for name in wanted if found.get(name) != wanted[name]
    ]
    if changed:
        raise ValueError(f"{path} was recorded otherwise ({', '.join(changed)}); use another folder or --no-resume")
