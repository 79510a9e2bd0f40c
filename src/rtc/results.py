"""Results on disk: atomic writes, the cell schema, resume after a crash.

A *cell* is one (profile, method, seed) of an experiment on one level. Its directory
`<root>/<profile>/<method>/seed_<n>/` holds

    episodes.csv   one row per episode
    delays.csv     histogram of the sampled inference delays, in control ticks
    results.csv    one row: the cell's metrics
    timeline.npz   one of its episodes tick by tick (rtc.traces)
    cell.json      the commit marker, written last: fingerprint, file hashes, provenance

A cell counts as done only if its marker carries the wanted fingerprint and every file still has the recorded
hash. So a run killed at any instant loses at most the cell it was computing, and never reuses a broken one.
"""

import dataclasses
import fcntl
import json
import os
import re
import secrets
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from rtc.provenance import canonical_json, digest_of_inputs, sha256

MAIN_COLUMNS = (
    "profile",
    "method",
    "seed",
    "level",
    "returned_episode_solved",
    "returned_episode_returns",
    "returned_episode_lengths",
    "d_p50",
    "d_p95",
    "d_p99",
    "p_violate",
    "max_delta_action",
    "max_ddelta_action",
)
PathLike = str | os.PathLike[str]
EPISODES, DELAYS, RESULTS, MARKER = "episodes.csv", "delays.csv", "results.csv", "cell.json"
TRACE, COLLECTED = "timeline.npz", "results_all.csv"
_DATA_FILES = (EPISODES, DELAYS, RESULTS)
_TEMPORARY = ".tmp-"
_LEFTOVER = re.compile(r"\.tmp-\d+-[0-9a-f]{8}-")
_SCHEMA = 1

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
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
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


@dataclasses.dataclass(frozen=True, order=True)
class Cell:
    """One table row of an experiment. The profile and method names are directory names."""

    profile: str
    method: str
    seed: int
    level: str

    def __post_init__(self) -> None:
        for field in ("profile", "method"):
            name = getattr(self, field)
            if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", name):
                raise ValueError(f"{field}={name!r} cannot name a directory; use letters, digits and _ - . +")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} is negative; use 0 or more")

    def __str__(self) -> str:
        return f"{self.profile}/{self.method}/seed_{self.seed}"


@dataclasses.dataclass(frozen=True)
class CellData:
    """A verified cell as read from disk.

    Attributes:
        result: the one row of results.csv.
        episodes: one row per episode.
        delay_counts: delay in control ticks -> number of queries.
        inputs: what the fingerprint was computed from (empty if the writer did not give it).
    """

    cell: Cell
    fingerprint: str
    result: dict[str, Any]
    episodes: pd.DataFrame
    delay_counts: dict[int, int]
    inputs: dict[str, Any]
    provenance: dict[str, Any]


class CellError(ValueError):
    """A cell is missing, belongs to another configuration, or its files are damaged."""


def cell_dir(root: PathLike, cell: Cell) -> Path:
    """`<root>/<profile>/<method>/seed_<n>`. One output root holds one level."""
    return Path(root) / cell.profile / cell.method / f"seed_{cell.seed}"


def write_cell(
    root: PathLike,
    cell: Cell,
    fingerprint: str,
    result_row: Mapping[str, Any],
    episodes: pd.DataFrame,
    delay_counts: Mapping[int, int],
    provenance: Mapping[str, Any],
    *,
    inputs: Mapping[str, Any] | None = None,
    attachments: Mapping[str, bytes] | None = None,
) -> Path:
    """Writes a cell and then its commit marker; returns the cell's directory.

    Args:
        fingerprint: from `fingerprint(...)`.
        result_row: the metrics of results.csv; `MAIN_COLUMNS` come first, the others follow in the given
            order. The identity columns (profile, method, seed, level) are filled in from `cell`.
        episodes: one row per episode, with a column `episode`.
        delay_counts: delay in control ticks -> number of queries.
        provenance: from `provenance(...)`.
        inputs: the arguments of `fingerprint(...)` by name, kept readable in the marker.
        attachments: further files by name, hashed and committed like the tables.

    Raises:
        ValueError: a main column or the episode index is missing, a delay is negative, or `inputs` does not
            give `fingerprint`.
    """
    directory = cell_dir(root, cell)
    row = _ordered_row(cell, result_row)
    if "episode" not in episodes.columns or episodes["episode"].duplicated().any():
        raise ValueError("episodes needs a column 'episode' with distinct indices: two runs are paired by it")
    if any(int(delay) != delay or delay < 0 for delay in delay_counts):
        raise ValueError(f"delay_counts has the delays {sorted(delay_counts)}; use whole ticks from 0 on")
    if inputs is not None and digest_of_inputs(inputs) != fingerprint:
        raise ValueError("inputs do not give this fingerprint; pass what fingerprint(...) was called with")

    directory.mkdir(parents=True, exist_ok=True)
    (directory / MARKER).unlink(missing_ok=True)
    delays = pd.DataFrame(sorted(delay_counts.items()), columns=["delay_ticks", "count"], dtype=int)
    tables = {EPISODES: episodes, DELAYS: delays, RESULTS: pd.DataFrame([row])}
    contents = {name: to_csv(table).encode() for name, table in tables.items()} | dict(attachments or {})
    for name, content in contents.items():
        atomic_write(directory / name, content)
    marker = {
        "schema": _SCHEMA,
        "cell": dataclasses.asdict(cell),
        "fingerprint": fingerprint,
        "files": {name: sha256(content) for name, content in contents.items()},
        "inputs": inputs or {},
        "provenance": provenance,
    }
    plain = json.loads(canonical_json(marker))
    atomic_write(directory / MARKER, json.dumps(plain, indent=2) + "\n")
    return directory


def _ordered_row(cell: Cell, values: Mapping[str, Any]) -> dict[str, Any]:
    identity = dataclasses.asdict(cell)
    for name, value in identity.items():
        if name in values and values[name] != value:
            raise ValueError(f"result_row has {name}={values[name]!r}, the cell {value!r}; leave it out")
    row = {**values, **identity}
    missing = [name for name in MAIN_COLUMNS if name not in row]
    if missing:
        raise ValueError(f"result_row lacks {', '.join(missing)}; give every main column")
    ordered = [*MAIN_COLUMNS, *(name for name in values if name not in MAIN_COLUMNS)]
    return {name: row[name].item() if hasattr(row[name], "item") else row[name] for name in ordered}


def to_csv(table: pd.DataFrame) -> str:
    """CSV text from which `read_csv` gets every float back bit by bit (float32 is widened first)."""
    singles = table.select_dtypes("float32").columns
    return table.astype(dict.fromkeys(singles, "float64")).to_csv(index=False, lineterminator="\n")


def read_csv(path: PathLike) -> pd.DataFrame:
    """Reads a table that `to_csv` wrote."""
    return pd.read_csv(path, **_EXACT_FLOATS)


def cell_problem(directory: PathLike, cell: Cell | None = None, fingerprint: str | None = None) -> str | None:
    """Why `directory` does not hold a complete cell; None if it does.

    Args:
        cell: the identity that the marker must carry; None accepts any.
        fingerprint: the fingerprint that the marker must carry; None accepts any.
    """
    directory = Path(directory)
    try:
        marker = json.loads((directory / MARKER).read_bytes())
        identity, recorded, files = Cell(**marker["cell"]), marker["fingerprint"], marker["files"]
    except FileNotFoundError:
        return "not computed yet"
    except (ValueError, KeyError, TypeError) as error:
        return f"{MARKER} is damaged ({error})"
    if marker.get("schema") != _SCHEMA:
        return f"{MARKER} has schema {marker.get('schema')}, this version reads {_SCHEMA}"
    if cell is not None and identity != cell:
        return f"holds {identity} on {identity.level}, not {cell} on {cell.level}"
    if fingerprint is not None and recorded != fingerprint:
        return "computed with another configuration, checkpoint, level or code version"
    for name in {*_DATA_FILES, *files}:
        path = directory / name
        if not path.is_file():
            return f"{name} is missing"
        if sha256(path.read_bytes()) != files.get(name):
            return f"{name} does not match its recorded sha256"
    return None


def is_complete(root: PathLike, cell: Cell, fingerprint: str) -> bool:
    """Whether `cell` is on disk with this fingerprint and undamaged files; if not, it has to be computed."""
    return cell_problem(cell_dir(root, cell), cell, fingerprint) is None


def read_cell(directory: PathLike, cell: Cell | None = None, fingerprint: str | None = None) -> CellData:
    """Reads a complete cell from its directory, or from an experiment's root that is a single cell.

    Raises:
        CellError: see `cell_problem`.
    """
    directory = Path(directory)
    problem = cell_problem(directory, cell, fingerprint)
    if problem:
        raise CellError(f"{directory}: {problem}")
    marker = json.loads((directory / MARKER).read_bytes())
    delays = read_csv(directory / DELAYS)
    return CellData(
        cell=Cell(**marker["cell"]),
        fingerprint=marker["fingerprint"],
        result=read_csv(directory / RESULTS).iloc[0].to_dict(),
        episodes=read_csv(directory / EPISODES),
        delay_counts={int(d): int(n) for d, n in zip(delays["delay_ticks"], delays["count"], strict=True)},
        inputs=marker["inputs"],
        provenance=marker["provenance"],
    )


def collect(
    root: PathLike,
    cells: Sequence[Cell],
    fingerprints: Mapping[Cell, str] | None = None,
    *,
    partial: bool = False,
) -> pd.DataFrame:
    """Joins the result rows of `cells`, in this order, into `<root>/results_all.csv`.

    Only complete cells are collected, and nothing else that may lie under `root`.

    Args:
        fingerprints: the wanted fingerprint of each cell; None checks identity and file hashes only.
        partial: leave incomplete cells out instead of raising.

    Raises:
        CellError: cells are incomplete (all are named), or none is complete.
    """
    wanted = {cell: fingerprints[cell] if fingerprints is not None else None for cell in cells}
    problems = {cell: cell_problem(cell_dir(root, cell), cell, key) for cell, key in wanted.items()}
    incomplete = [f"  {cell}: {problem}" for cell, problem in problems.items() if problem]
    complete = [cell for cell, problem in problems.items() if not problem]
    if not complete or (incomplete and not partial):
        raise CellError("\n".join([f"{len(incomplete)} of {len(wanted)} cells are incomplete:", *incomplete]))
    table = pd.concat([read_csv(cell_dir(root, cell) / RESULTS) for cell in complete], ignore_index=True)
    atomic_write(Path(root) / COLLECTED, to_csv(table))
    return table
