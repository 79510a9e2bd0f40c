"""Files: atomic writes, locks, exact CSV."""

import fcntl
import os
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

PathLike = str | os.PathLike[str]

_TEMPORARY = ".tmp-"
_LEFTOVER = re.compile(r"\.tmp-\d+-[0-9a-f]{8}-")
# From 3.1 on pandas rounds every float correctly, and warns if told to.
_PANDAS = tuple(int(part) for part in pd.__version__.split(".")[:2])
_EXACT_FLOATS: dict[str, Any] = {} if _PANDAS >= (3, 1) else {"float_precision": "round_trip"}


@contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Yields a temporary path in the same directory; it becomes `path` when the block succeeds.

    The temporary name keeps the suffix of `path`, for writers that go by it. Missing directories are created.
    If the block raises, the temporary file is removed and `path` stays as it was.

    Raises:
        FileNotFoundError: the block did not create the file.
        OSError: the file cannot be written (a full disk, say); it names `path`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        # What fails while a file is written does not say which: "No space left on device".
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    _sync(path.parent)


def atomic_write(path: PathLike, data: bytes | str) -> None:
    """Writes `data` (text as UTF-8) to `path` so that a reader sees the old file or the whole new one."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_writable(root: PathLike) -> Path:
    """Creates `root` and writes a probe file there, so that a run fails before its work and not after it.

    Raises:
        OSError: the directory cannot be created or written to (read-only, full disk, a file in its place).
    """
    root = Path(root)
    probe = root / f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}-probe"
    try:
        root.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(bytes(1 << 16))
            _sync(probe)
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        fix = "choose another output root, make this one writable, or free some space on its disk"
        message = f"cannot write to the output root ({error.strerror}); {fix}"
        raise OSError(error.errno, message, str(root)) from error
    return root


@contextmanager
def lock(root: PathLike, wait: bool = False) -> Iterator[None]:
    """Holds `<root>/.lock`, so that only one run at a time writes to `root`.

    The kernel drops the lock when its process dies, so a killed run leaves nothing to clean up. The file
    names the holder's process id and host.

    Args:
        wait: wait for whoever holds the lock.

    Raises:
        ValueError: another process holds the lock, and `wait` is off.
    """
    path = Path(root) / ".lock"
    descriptor = _acquire(path, wait)
    try:
        os.write(descriptor, f"pid {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquire(path: Path, wait: bool) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode(errors="replace") or "another process"
            os.close(descriptor)
            fix = "wait for that run, stop it, or choose another output root"
            raise ValueError(f"output root '{path.parent}' is in use by {holder}; {fix}") from None
        # The previous holder may have unlinked the file between our open and our lock: then start over.
        if _is_same_file(descriptor, path):
            os.ftruncate(descriptor, 0)
            return descriptor
        os.close(descriptor)


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def remove_leftovers(root: PathLike) -> int:
    """Deletes temporary files that killed runs left in the directories of an experiment; returns their number.

    Call it while holding `lock(root)`: another run's temporary files are its writes in progress.
    """
    root = Path(root)
    places = (root, root / "figures", *root.glob("*/*/seed_*"))
    leftovers = [path for place in places for path in place.glob(f"{_TEMPORARY}*") if _LEFTOVER.match(path.name)]
    for path in leftovers:
        path.unlink(missing_ok=True)
    return len(leftovers)


def to_csv(table: pd.DataFrame) -> str:
    """CSV text from which `read_csv` gets every float back bit by bit (float32 is widened first)."""
    singles = table.select_dtypes("float32").columns
    return table.astype(dict.fromkeys(singles, "float64")).to_csv(index=False, lineterminator="\n")


def read_csv(path: PathLike) -> pd.DataFrame:
    """Reads a table that `to_csv` wrote."""
    return pd.read_csv(path, **_EXACT_FLOATS)
