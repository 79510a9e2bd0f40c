"""The finished cells of a study in one file, `<root>/episodes.parquet`, which is small enough to be shipped.

A row is an episode: what cell it belongs to (level, profile, method, seed), its number, and the columns of episodes.csv
but for two poor measures of smoothness and what the study leaves out. The file's metadata hold, under "cells_xz", what
else there is of every cell.
Where a cell's own folder is missing, it is read from here: in a clone, reports are written and runs go on without
computing it again.
"""

import base64
import dataclasses
import functools
import json
import lzma
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rtc.shared.files import PathLike, atomic_path, lock
from rtc.study import cells as store
from rtc.study.cells import IDENTITY_COLUMNS, Cell, CellData, Standing

NAME = "episodes.parquet"
LEFT_OUT = ("max_delta_action", "max_ddelta_action")
# What else there is of the cells: as it is packed now, and as it was packed before.
_KEY, _OLD_KEY = b"cells_xz", b"cells"


@dataclass(frozen=True)
class Archive:
    """Cells that were read from a file, by what they are."""

    cells: Mapping[Cell, CellData]

    def standing(self, cell: Cell, inputs: store.Inputs) -> Standing:
        """What is kept of a cell, against what is wanted."""
        if cell not in self.cells:
            return Standing("missing", "not computed yet")
        return store.compared(self.cells[cell].inputs, inputs)


def path(root: PathLike) -> Path:
    return Path(root) / NAME


def update(root: PathLike, cells: Iterable[CellData]) -> None:
    """Writes the cells to the archive, in the place of those that are there; all others stay.

    Raises:
        ValueError: the archive that is there is damaged.
    """
    with lock(root, wait=True):
        there = read(root).cells
        new = {one.cell: one.without(LEFT_OUT) for one in cells}
        if any(cell not in there or _text(there[cell]) != _text(one) for cell, one in new.items()):
            write(root, {**there, **new}.values())


def write(root: PathLike, cells: Iterable[CellData]) -> None:
    """Writes the cells to `<root>/episodes.parquet`, atomically; floats that fit are kept in single precision."""
    cells = [one.without(LEFT_OUT) for one in cells]
    frames = [one.episodes.assign(cell=np.int32(number)) for number, one in enumerate(cells)]
    table = pa.Table.from_pandas(_compact(pd.concat(frames, ignore_index=True)), preserve_index=False)
    numbers = table.column("cell").to_numpy()
    for place, name in enumerate(IDENTITY_COLUMNS):
        values = np.array([getattr(one.cell, name) for one in cells])[numbers]
        column = pa.array(values) if name == "seed" else pa.array(values).dictionary_encode()
        table = table.add_column(place, name, column)
    about = json.dumps([_about(one) for one in cells])
    packed = base64.b85encode(lzma.compress(about.encode(), preset=9))
    table = table.drop_columns(["cell"]).replace_schema_metadata()
    # Metadata of the schema would stand in the file twice; Arrow's own schema is not needed.
    options = {"compression": "zstd", "compression_level": 19, "store_schema": False}
    with atomic_path(path(root)) as temporary, pq.ParquetWriter(temporary, table.schema, **options) as file:
        file.write_table(table)
        file.add_key_value_metadata({_KEY.decode(): packed.decode()})


def _compact(frame: pd.DataFrame) -> pd.DataFrame:
    """The same values in smaller types."""
    found = {}
    for name, column in frame.items():
        values = column.to_numpy()
        if values.dtype.kind in "iu":
            found[name] = pd.to_numeric(column, downcast="integer")
        elif values.dtype.kind != "f":
            found[name] = column
        else:
            single = values.astype(np.float32)
            exact = np.array_equal(single.astype(np.float64), values.astype(np.float64), equal_nan=True)
            found[name] = single if exact else values
    return pd.DataFrame(found)


def _text(one: CellData) -> str:
    """What there is of a cell besides its episodes, to compare: its provenance tells runs apart."""
    return json.dumps(_about(one), sort_keys=True)


def _about(one: CellData) -> dict[str, Any]:
    return {
        "cell": dataclasses.asdict(one.cell),
        "episodes": len(one.episodes),
        "columns": {name: str(kind) for name, kind in one.episodes.dtypes.items()},
        "result": one.result,
        "delay_counts": {str(delay): int(count) for delay, count in one.delay_counts.items()},
        "inputs": one.inputs,
        "provenance": one.provenance,
    }


def read(root: PathLike) -> Archive:
    """The cells of `<root>/episodes.parquet`; none where there is no such file.

    Raises:
        ValueError: the file is damaged.
    """
    file = path(root)
    try:
        stamp = file.stat()
    except FileNotFoundError:
        return Archive({})
    return _read(file.resolve(), stamp.st_mtime_ns, stamp.st_size)


@functools.lru_cache(maxsize=4)
def _read(file: Path, _changed: int, _size: int) -> Archive:
    try:
        table = pq.read_table(file)
        about = json.loads(_unpacked(table.schema.metadata))
        frame = table.drop_columns(list(IDENTITY_COLUMNS)).to_pandas()
        if sum(one["episodes"] for one in about) != len(frame):
            raise ValueError("its episodes are not those of its cells")
        return Archive(MappingProxyType(_cells(about, frame)))
    except (OSError, ValueError, KeyError, TypeError, zlib.error, lzma.LZMAError, pa.ArrowException) as error:
        raise ValueError(f"{file} is damaged ({error}): git checkout, or delete it and run again") from error


def _unpacked(metadata: Mapping[bytes, bytes]) -> bytes:
    if _KEY in metadata:
        return lzma.decompress(base64.b85decode(metadata[_KEY]))
    return zlib.decompress(base64.b85decode(metadata[_OLD_KEY]))


def _cells(about: list[dict[str, Any]], frame: pd.DataFrame) -> dict[Cell, CellData]:
    found, first = {}, 0
    for one in about:
        cell, last = Cell(**one["cell"]), first + one["episodes"]
        found[cell] = CellData(
            cell=cell,
            result=one["result"],
            # As read from the cell's own CSV files: cells may have columns that others lack.
            episodes=frame.iloc[first:last][list(one["columns"])].astype(one["columns"]).reset_index(drop=True),
            delay_counts={int(delay): count for delay, count in one["delay_counts"].items()},
            inputs=one["inputs"],
            provenance=one["provenance"],
        )
        first = last
    return found
