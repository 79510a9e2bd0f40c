"""Measured latencies in CSV files: a column `latency_ms`, in milliseconds, one row per query."""

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

COLUMN = "latency_ms"


@dataclass(frozen=True, eq=False)
class MeasuredLatencies:
    """What a file holds.

    Attributes:
        latency_ms: the latencies, in the file's order.
        sha256: digest of the file's content.
    """

    latency_ms: Float[np.ndarray, " n"]
    sha256: str


def read_trace(path: str | Path) -> Float[np.ndarray, " n"]:
    """Latencies in milliseconds from the column `latency_ms` of a CSV file. Raises ValueError as `load` does."""
    return load(path).latency_ms


def load(path: str | Path) -> MeasuredLatencies:
    """The latencies of a CSV file and the digest of its content.

    Raises:
        ValueError: the file cannot be read as CSV, has no column `latency_ms` or a column twice, has a row of another
            length than its header, holds nothing, or a latency is negative or not a finite number; the message has
            path, row and value.
    """
    where = f"trace_path={str(path)!r}"
    try:
        content = Path(path).read_bytes()
        # A byte order mark at the start is not part of the first name.
        lines = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        rows = [(lines.line_num, row) for row in lines if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{where} cannot be read as CSV: {error}") from error
    if not rows:
        raise ValueError(f"{where} cannot be read as CSV: it is empty")
    (_, header), *body = rows
    column = _column([name.strip() for name in header], where)
    latency = []
    for number, (line, row) in enumerate(body, 1):
        place = f"{where}, data row {number} (line {line})"
        if len(row) != len(header):
            raise ValueError(
                f"{place} has {len(row)} cells and the header {len(header)}: give every cell a column, and end no row "
                "with a comma"
            )
        latency.append(_latency(row[column], place))
    if not latency:
        raise ValueError(f"{where} holds no latencies")
    return MeasuredLatencies(np.array(latency, np.float64), hashlib.sha256(content).hexdigest())


def _column(header: Sequence[str], where: str) -> int:
    """Where the latencies are."""
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise ValueError(f"{where} has the column {twice[0]} {header.count(twice[0])} times: keep one of them")
    if COLUMN not in header:
        raise ValueError(f"{where} has columns {list(header)}: it needs a column {COLUMN}, separated by commas")
    return header.index(COLUMN)


def _latency(text: str, place: str) -> float:
    try:
        value = np.nan if "_" in text else float(text)
    except ValueError:
        value = np.nan
    if not 0 <= value < np.inf:
        raise ValueError(f"{place}: {COLUMN}={text!r} must be a number of at least 0, in milliseconds")
    return value
