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
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rtc.shared.files import PathLike, atomic_write, read_csv, to_csv
from rtc.shared.provenance import canonical_json, digest_of_inputs, sha256

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
EPISODES, DELAYS, RESULTS, MARKER = "episodes.csv", "delays.csv", "results.csv", "cell.json"
TRACE, COLLECTED = "timeline.npz", "results_all.csv"
_DATA_FILES = (EPISODES, DELAYS, RESULTS)
_SCHEMA = 1


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
