"""Tables of delays: CSV, TSV, or one number per line; a column of durations, or two of time stamps."""

import csv
import functools
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from rtc.delay.laws import SUSPICIOUS_MS
from rtc.delay.logs import units
from rtc.delay.logs.record import DUPLICATE, MALFORMED, MISSING, Entry, Reading
from rtc.delay.logs.units import UNITS, Unit
from rtc.shared.validation import require_choice, require_positive, unknown

COLUMN, TIME = "latency_ms", "time_s"
# What `rostopic echo -p` calls the time at which a message came, and the stamp that its sender gave it; both in ns.
ROS_RECEIVED, ROS_STAMP = "%time", "header.stamp"
# Nobody waits that long for a chunk.
_SUSPICIOUS_MEDIAN_MS = 60_000.0


class Row(NamedTuple):
    """A row with its line number."""

    line: int
    cells: list[str]


class Source(NamedTuple):
    """Where in a row the delay is: in a column, or the difference of it and another one."""

    column: str
    minus: str | None
    unit: str


@dataclass(frozen=True)
class Table:
    """A table, with or without a header; columns without one are called 1, 2, … Lines that begin with # are comments.

    Attributes:
        column: column of the delays or, with `minus`, of the times at which chunks came. None takes `latency_ms`, the
            only column, the only one called a latency or delay, or the two stamps that `rostopic echo -p` writes.
        minus: column of the observations' time stamps, which are subtracted.
        unit: of the column, or of both. None is what its name ends in.
        hz: control rate, which ticks are counted at.

    Raises:
        ValueError: an unknown unit, no control rate, or `minus` without `column` or the same.
    """

    name: ClassVar[str] = "table"
    knows_first: ClassVar[bool] = False
    looked_for: ClassVar[str] = "rows with a number in the column of the delays"
    column: str | None = None
    minus: str | None = None
    unit: Unit | None = None
    hz: float = 30.0

    def __post_init__(self):
        require_positive("hz", self.hz, "the control rate in ticks per second")
        if self.unit is not None:
            require_choice("unit", self.unit, UNITS)
        if self.minus is not None and self.column is None:
            raise ValueError(f"minus={self.minus!r} is subtracted from a column: give --column too")
        if self.minus is not None and self.minus == self.column:
            raise ValueError(f"minus={self.minus!r} is the column itself, so that every delay would be 0: give another")

    def read(self, path: Path) -> Reading:
        """One delay per row.

        Raises:
            ValueError: the file cannot be read, there is no such column or two of that name, the unit is not known, or
                ticks are not whole.
        """
        where = f"log={str(path)!r}"
        rows, comments, lines = _rows(path, where)
        header = [name.strip() for name in rows[0].cells] if rows and is_header(rows[0].cells) else None
        names = header or [str(number) for number in range(1, len(rows[0].cells) + 1)] if rows else []
        body = rows[1:] if header else rows
        source = self._source(names, where)
        entries = self._entries(body, names, source, where)
        measured = source.column if source.minus is None else f"{source.column} minus {source.minus}"
        notes = (f"Lines that are comments: {comments}.",) if comments else ()
        if source.unit == "ticks":
            notes += (f"Ticks were turned into ms at {self.hz:g} Hz: a delay of d ticks is d control periods.",)
        found = np.array([entry.latency_ms for entry in entries if not entry.refused])
        notes += _suspicion(found, source, where)
        return Reading(entries, lines, f"the column {measured}, in {source.unit}", notes)

    def _source(self, names: Sequence[str], where: str) -> Source:
        twice = sorted({name for name in names if name and list(names).count(name) > 1})
        if twice:
            raise ValueError(
                f"{where} has the column {twice[0]!r} {list(names).count(twice[0])} times: keep one of them"
            )
        for field in ("column", "minus"):
            if names and getattr(self, field) is not None and getattr(self, field) not in names:
                raise unknown(field, getattr(self, field), names)
        column, minus, unit = self.column, self.minus, self.unit
        if column is None:
            stamps = [name for name in names if name.endswith(ROS_STAMP)]
            if ROS_RECEIVED in names and len(stamps) == 1:
                column, minus, unit = ROS_RECEIVED, stamps[0], unit or "ns"
        if column is None:
            column = _usual(names, where)
        if minus is not None and unit is None and units.unit_of(minus) != units.unit_of(column):
            raise ValueError(f"column={column!r} and minus={minus!r} say no unit, or not the same: give --unit")
        unit = unit or units.unit_of(column)
        if unit is None and names:
            raise ValueError(
                f"{where}: the name of column {column!r} does not end in its unit: give --unit, one of: "
                f"{', '.join(UNITS)}"
            )
        return Source(column, minus, unit or "ms")

    def _entries(self, rows: Sequence[Row], names: Sequence[str], source: Source, where: str) -> list[Entry]:
        cell = _cells(names)
        entries, seen = [], set()
        for row in rows:
            entry = self._entry(row, len(names), source, cell, where)
            stamps = (cell(row, source.column), cell(row, source.minus)) if source.minus and not entry.refused else None
            if stamps is not None and stamps in seen:
                entry = entry._replace(refused=DUPLICATE)
            seen.add(stamps)
            entries.append(entry)
        return entries

    def _entry(self, row: Row, width: int, source: Source, cell: Callable, where: str) -> Entry:
        shown = ",".join(row.cells)
        if len(row.cells) != width:
            return Entry(row.line, f"{shown} ({len(row.cells)} cells, {width} columns)", refused=MALFORMED)
        read = [cell(row, name) for name in (source.column, source.minus) if name is not None]
        if not all(read):
            return Entry(row.line, shown, refused=MISSING)
        if not all(map(units.is_number, read)):
            return Entry(row.line, shown, refused=MALFORMED)
        value = float(read[0]) if source.minus is None else units.difference(*read)
        if source.unit == "ticks" and value != round(value):
            raise ValueError(
                f"{where}, line {row.line}: {source.column}={read[0]!r} is no whole number of ticks: give its --unit"
            )
        time = cell(row, TIME) if source.minus is None else read[0]
        stamped = time is not None and units.is_number(time)
        scale = 1.0 if source.minus is None else units.to_ms(1.0, source.unit, self.hz) / 1000
        time_s = float(time) * scale if stamped else float("nan")
        return Entry(row.line, shown, units.to_ms(value, source.unit, self.hz), time_s)


def _rows(path: Path, where: str) -> tuple[list[Row], int, int]:
    """Rows that are not empty, the number of comments, and that of all lines."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where} is no UTF-8 text: {error}") from error
    lines = io.StringIO(text, newline=None).read().removesuffix("\n").split("\n")
    kept = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    comments = sum(line.startswith("#") for line in lines)
    separator = max("\t,;", key=kept[0][1].count) if kept else ","
    separator = separator if kept and separator in kept[0][1] else ","
    try:
        # A quoted name may stand after a blank that follows the separator.
        read = functools.partial(csv.reader, delimiter=separator, skipinitialspace=True)
        rows = [Row(number, next(read(io.StringIO(line)))) for number, line in kept]
    except csv.Error as error:
        raise ValueError(f"{where} cannot be read as a table: {error}") from error
    return rows, comments, len(lines)


def is_header(cells: Sequence[str]) -> bool:
    """Whether a first row names columns: no cell of it is a number."""
    return not any(map(units.is_number, cells))


def called_delay(name: str) -> bool:
    """Whether a column's name says that it holds delays."""
    return "latency" in name.lower() or "delay" in name.lower()


def _cells(names: Sequence[str]) -> Callable[[Row, str | None], str | None]:
    places = {name: place for place, name in enumerate(names)}

    def cell(row: Row, name: str | None) -> str | None:
        return row.cells[places[name]].strip() if name in places else None

    return cell


def _usual(names: Sequence[str], where: str) -> str:
    """The column of the delays where none is chosen."""
    for found in ([name for name in names if name == COLUMN], [name for name in names if called_delay(name)], names):
        if len(found) == 1:
            return found[0]
    if not names:
        return COLUMN
    raise ValueError(f"{where} has columns {list(names)}: give --column, and --minus if it is a time stamp")


def _suspicion(latency_ms: np.ndarray, source: Source, where: str) -> tuple[str, ...]:
    """Warns of a unit that is probably wrong."""
    said = ""
    if len(latency_ms) and 0 < latency_ms.max() < SUSPICIOUS_MS:
        said = f"the longest delay is {latency_ms.max():g} ms: {source.column} is perhaps not in {source.unit}"
    elif len(latency_ms) and np.median(latency_ms) > _SUSPICIOUS_MEDIAN_MS:
        said = f"half of the delays are above {np.median(latency_ms) / 1000:.0f} s: {source.column} is perhaps not in "
        said += source.unit
    if not said:
        return ()
    warnings.warn(f"{where}: {said}; give --unit", stacklevel=2)
    return (f"{said[0].upper()}{said[1:]}.",)
