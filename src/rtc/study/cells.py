"""Results on disk: what a cell is, how it is written, and what a directory holds.

A *cell* is one (profile, method, seed) of a study on one level. Its directory `<level's root>/<profile>/<method>/
seed_<n>/` holds

    episodes.csv   one row per episode
    results.csv    one row: the cell's metrics
    delays.csv     histogram of the sampled inference delays, in control ticks (where delays are simulated)
    cell.json      the commit marker, written last: what the results depend on, file hashes, provenance
    ...            what else belongs to it, such as timeline.npz: one of its episodes tick by tick

A cell counts as done only if its marker carries the wanted inputs and every file still has the recorded hash. So a run
killed at any instant loses at most the cell it was computing, and never reuses a broken one.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from rtc.shared.files import PathLike, atomic_write, read_csv, to_csv
from rtc.shared.provenance import canonical_json, sha256

IDENTITY_COLUMNS = ("profile", "method", "seed", "level")
# Leading columns of results.csv wherever delays are simulated.
MAIN_COLUMNS = (
    *IDENTITY_COLUMNS,
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
# The inputs that may differ in a cell that is computed again unasked: a version of the code.
CODE = "code"
# And versions of what simulates a world that is stepped from Python, by package.
SIMULATOR = "simulator"
VERSIONS = (CODE, SIMULATOR)
_REQUIRED = (EPISODES, RESULTS)
_SCHEMA = 3

Inputs = Mapping[str, Any]
Status = Literal["complete", "missing", "damaged", "older", "other"]


@dataclasses.dataclass(frozen=True, order=True)
class Cell:
    """One table row of a study. The profile and method names are directory names."""

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
        delay_counts: delay in control ticks -> number of queries; empty where no delays are simulated.
        inputs: what its results depend on.
        directory: where it is.
    """

    cell: Cell
    result: dict[str, Any]
    episodes: pd.DataFrame
    delay_counts: dict[int, int]
    inputs: dict[str, Any]
    provenance: dict[str, Any]
    directory: Path | None = None

    @property
    def trace(self) -> Path | None:
        """The file of its episode that was recorded tick by tick, if there is one."""
        path = None if self.directory is None else self.directory / TRACE
        return path if path is not None and path.is_file() else None

    def without(self, columns: Sequence[str]) -> "CellData":
        """The same cell, whose episodes lack some columns."""
        return dataclasses.replace(self, episodes=self.episodes.drop(columns=list(columns), errors="ignore"))


class CellError(ValueError):
    """A cell is missing, belongs to another configuration, or its files are damaged."""


def cell_dir(root: PathLike, cell: Cell) -> Path:
    """`<root>/<profile>/<method>/seed_<n>`. Such a root holds the cells of one level."""
    return Path(root) / cell.profile / cell.method / f"seed_{cell.seed}"


def fingerprint(inputs: Inputs) -> str:
    """sha256 of everything that a cell's results depend on."""
    return sha256(canonical_json(inputs).encode())


def write_cell(
    directory: PathLike,
    cell: Cell,
    inputs: Inputs,
    result_row: Mapping[str, Any],
    episodes: pd.DataFrame,
    provenance: Mapping[str, Any],
    *,
    delay_counts: Mapping[int, int] | None = None,
    leading: Sequence[str] = MAIN_COLUMNS,
    attachments: Mapping[str, bytes] | None = None,
) -> None:
    """Writes a cell and then its commit marker.

    Args:
        directory: from `cell_dir`.
        inputs: what the results depend on, by name.
        result_row: the metrics of results.csv. The identity columns are filled in from `cell`.
        episodes: one row per episode, with a column `episode`.
        provenance: from `provenance(...)`.
        delay_counts: delay in control ticks -> number of queries; None where no delays are simulated.
        leading: columns that results.csv must have and starts with; the others follow in the given order.
        attachments: further files by name, hashed and committed like the tables.

    Raises:
        ValueError: a leading column or the episode index is missing, or a delay is negative.
    """
    directory = Path(directory)
    row = _ordered_row(cell, result_row, leading)
    if "episode" not in episodes.columns or episodes["episode"].duplicated().any():
        raise ValueError("episodes needs a column 'episode' with distinct indices: two runs are paired by it")
    tables = {EPISODES: episodes, RESULTS: pd.DataFrame([row])}
    if delay_counts is not None:
        if any(int(delay) != delay or delay < 0 for delay in delay_counts):
            raise ValueError(f"delay_counts has the delays {sorted(delay_counts)}; use whole ticks from 0 on")
        tables[DELAYS] = pd.DataFrame(sorted(delay_counts.items()), columns=["delay_ticks", "count"], dtype=int)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MARKER).unlink(missing_ok=True)
    contents = {name: to_csv(table).encode() for name, table in tables.items()} | dict(attachments or {})
    for name, content in contents.items():
        atomic_write(directory / name, content)
    marker = {
        "schema": _SCHEMA,
        "cell": dataclasses.asdict(cell),
        "fingerprint": fingerprint(inputs),
        "files": {name: sha256(content) for name, content in contents.items()},
        "inputs": inputs,
        "provenance": provenance,
    }
    atomic_write(directory / MARKER, json.dumps(plain(marker), indent=2) + "\n")


def _ordered_row(cell: Cell, values: Mapping[str, Any], leading: Sequence[str]) -> dict[str, Any]:
    identity = dataclasses.asdict(cell)
    for name, value in identity.items():
        if name in values and values[name] != value:
            raise ValueError(f"result_row has {name}={values[name]!r}, the cell {value!r}; leave it out")
    row = {**values, **identity}
    leading = tuple(dict.fromkeys((*IDENTITY_COLUMNS, *leading)))
    missing = [name for name in leading if name not in row]
    if missing:
        raise ValueError(f"result_row lacks {', '.join(missing)}; give every leading column")
    ordered = [*leading, *(name for name in values if name not in leading)]
    return {name: row[name].item() if hasattr(row[name], "item") else row[name] for name in ordered}


def plain(value: Any) -> Any:
    """The value as JSON gives it back: dicts, lists, strings and numbers."""
    return json.loads(canonical_json(value))


@dataclasses.dataclass(frozen=True)
class Standing:
    """What a cell's directory holds, against what is wanted there.

    Attributes:
        status: `complete`; `missing`; `damaged`: wanted, but broken; `older`: the same configuration, computed with
            another version of the code; `other`: another cell or configuration.
        reason: why it is not complete, in words.
    """

    status: Status
    reason: str = ""


def standing(directory: PathLike, cell: Cell | None = None, inputs: Inputs | None = None) -> Standing:
    """What `directory` holds.

    Args:
        cell: the identity that the marker must carry; None accepts any.
        inputs: what the results must depend on; None accepts anything.
    """
    directory = Path(directory)
    try:
        marker = json.loads((directory / MARKER).read_bytes())
        schema, identity = marker["schema"], Cell(**marker["cell"])
        for name in ("files", "inputs"):
            if not isinstance(marker.get(name, {}), dict):
                raise TypeError(f"{name}={marker[name]!r} is no table")
    except FileNotFoundError:
        return Standing("missing", "not computed yet")
    except (ValueError, KeyError, TypeError) as error:
        return Standing("damaged", f"{MARKER} is damaged ({error})")
    if schema != _SCHEMA:
        return Standing("other", f"{MARKER} has schema {schema}, this version reads {_SCHEMA}")
    if cell is not None and identity != cell:
        return Standing("other", f"holds {identity} on {identity.level}, not {cell} on {cell.level}")
    found = Standing("complete") if inputs is None else compared(marker.get("inputs", {}), inputs)
    if found.status == "other":
        return found
    broken = _broken_file(directory, marker.get("files", {}))
    return Standing("damaged", broken) if broken else found


def compared(there: Inputs, wanted: Inputs) -> Standing:
    """What results depend on, against what is wanted.

    Versions of a simulator that is not installed here are those that are there: it could not compute them again.
    """
    changed = [
        (name, there, wanted)
        for name, there, wanted in differences(there, plain(wanted))
        if not (name.startswith(f"{SIMULATOR}.") and wanted == "none")
    ]
    versions = {name for name, _, _ in changed if name.split(".")[0] in VERSIONS}
    if len(changed) > len(versions):
        named = "; ".join(f"{name} = {there}, not {wanted}" for name, there, wanted in changed if name not in versions)
        return Standing("other", f"computed with another configuration: {named}")
    if versions - {CODE}:
        return Standing("older", "computed with another version of the simulator")
    return Standing("older", "computed with another version of the code") if changed else Standing("complete")


def marked_inputs(directory: PathLike) -> dict[str, Any] | None:
    """What the results in `directory` depend on, as its marker says; None where there is no marker to be read."""
    try:
        return json.loads((Path(directory) / MARKER).read_bytes())["inputs"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _broken_file(directory: Path, files: Mapping[str, str]) -> str:
    for name in dict.fromkeys((*_REQUIRED, *files)):
        path = directory / name
        if not path.is_file():
            return f"{name} is missing"
        if sha256(path.read_bytes()) != files.get(name):
            return f"{name} does not match its recorded sha256"
    return ""


def differences(there: Any, wanted: Any) -> list[tuple[str, str, str]]:
    """Entries in which two nested dictionaries differ: (dotted name, value there, value wanted), as texts."""
    first, second = flatten(there), flatten(wanted)
    return [
        (name, *(str(side.get(name, "none")) for side in (first, second)))
        for name in dict.fromkeys((*second, *first))
        if (name in first) != (name in second) or first[name] != second[name]
    ]


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one dict with dotted names; lists stay values."""
    if not isinstance(config, dict):
        return {prefix: config}
    parts = [flatten(value, f"{prefix}.{name}" if prefix else str(name)) for name, value in config.items()]
    return {name: value for part in parts for name, value in part.items()}


def read_cell(
    directory: PathLike, cell: Cell | None = None, inputs: Inputs | None = None, *, older: bool = False
) -> CellData:
    """Reads a complete cell.

    Args:
        directory, cell, inputs: as of `standing`.
        older: another version of the code may have computed it.

    Raises:
        CellError: it is missing, damaged or another one; see `standing`.
    """
    return read_found(directory, standing(directory, cell, inputs), older=older)


def read_found(directory: PathLike, found: Standing, *, older: bool = False) -> CellData:
    """`read_cell` where the directory's `standing` is known already.

    Raises:
        CellError: it is not complete.
    """
    directory = Path(directory)
    if found.status != "complete" and not (older and found.status == "older"):
        raise CellError(f"{directory}: {found.reason}")
    marker = json.loads((directory / MARKER).read_bytes())
    counts = {}
    if DELAYS in marker["files"]:
        delays = read_csv(directory / DELAYS)
        counts = {int(d): int(n) for d, n in zip(delays["delay_ticks"], delays["count"], strict=True)}
    return CellData(
        cell=Cell(**marker["cell"]),
        result=read_csv(directory / RESULTS).iloc[0].to_dict(),
        episodes=read_csv(directory / EPISODES),
        delay_counts=counts,
        inputs=marker["inputs"],
        provenance=marker["provenance"],
        directory=directory,
    )


def complete_cells(root: PathLike) -> Iterator[Path]:
    """Directories of all complete cells below `root`, sorted; seeds in the order of their numbers."""
    places = (marker.parent for marker in Path(root).rglob(MARKER))

    def order(place: Path) -> tuple[Path, int]:
        number = place.name.removeprefix("seed_")
        return place.parent, int(number) if number.isdecimal() else 0

    return (place for place in sorted(places, key=order) if standing(place).status == "complete")


def collect(root: PathLike, name: str = COLLECTED) -> pd.DataFrame:
    """Joins the result rows of all complete cells below `root` into `<root>/<name>`.

    Raises:
        CellError: there is none.
    """
    rows = [read_csv(place / RESULTS) for place in complete_cells(root)]
    if not rows:
        raise CellError(f"{root} holds no complete cells")
    table = pd.concat(rows, ignore_index=True)
    atomic_write(Path(root) / name, to_csv(table))
    return table
