"""Timings of openpi: the Parquet file of its simple client, and replies kept as JSON lines.

The names are those of Physical-Intelligence/openpi: `examples/simple_client/main.py` (`--timing-file`),
`serving/websocket_policy_server.py` (`server_timing`) and `policies/policy.py` (`policy_timing`).
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rtc.delay.logs import text, units
from rtc.delay.logs.record import DUPLICATE, MALFORMED, MISSING, Entry, Reading
from rtc.shared.validation import unknown

CLIENT, SERVER, POLICY = "client_infer_ms", "server_infer_ms", "policy_infer_ms"
TIME = "time_s"
_MEASURES = {
    CLIENT: "the time from sending the observation to having the chunk, measured by the client",
    SERVER: "the policy's time for a reply, measured by the server",
    POLICY: "the network's time for a reply, measured by the policy",
}
_NOTES = {
    CLIENT: (),
    SERVER: (
        "The client's time is not there, so the server's was used: the way there and back, unpacking and waiting for "
        "other requests are missing.",
    ),
    POLICY: (
        "Neither the client's time nor the server's is there, so the policy's was used: everything around the network "
        "is missing, and openpi stops this clock before it fetches the result, so that it may show no more than the "
        "launch.",
    ),
}
_PREVIOUS = (
    "prev_total_ms was not used: it belongs to the request before and includes the server's wait for that request."
)


def _said(column: str) -> tuple[str, tuple[str, ...]]:
    """From when to when a column's delay lasts, and what has to be known of it."""
    return _MEASURES.get(column, f"the log's {column}"), _NOTES.get(column, ())


@dataclass(frozen=True)
class OpenpiTable:
    """The Parquet file of the simple client. It has asked twice before, so the first queries are not in it.

    Attributes:
        column: column of the delays, in ms; by default the client's.
    """

    name: ClassVar[str] = "openpi_table"
    knows_first: ClassVar[bool] = False
    looked_for: ClassVar[str] = f"a Parquet column {CLIENT}, {SERVER} or {POLICY}"
    column: str | None = None

    def read(self, path: Path) -> Reading:
        """One delay per row.

        Raises:
            ValueError: the file cannot be read, or has no such column of numbers.
        """
        import pyarrow  # here, since it takes long to import and other logs do not need it
        import pyarrow.parquet

        try:
            table = pyarrow.parquet.read_table(path)
        except (OSError, pyarrow.ArrowException) as error:
            raise ValueError(f"log={str(path)!r} cannot be read as Parquet: {error}") from error
        column = self._column(path, table.column_names)
        if not (pyarrow.types.is_floating(table[column].type) or pyarrow.types.is_integer(table[column].type)):
            kind = table[column].type
            raise ValueError(f"log={str(path)!r}: column {column!r} holds {kind}, not numbers: give another --column")
        entries = [_of_value(row, value, column) for row, value in enumerate(table[column].to_pylist(), 1)]
        measures, notes = _said(column)
        known = {name: table[name].to_pylist() for name in (CLIENT, SERVER) if name in table.column_names}
        others = (_PREVIOUS,) if "server_prev_total_ms" in table.column_names else ()
        return Reading(entries, table.num_rows, measures, (*notes, *_transport(known), *others))

    def _column(self, path: Path, names: Sequence[str]) -> str:
        if self.column is None:
            found = next((name for name in (CLIENT, SERVER, POLICY) if name in names), None)
            if found is None:
                raise ValueError(f"log={str(path)!r} has columns {list(names)}: looked for {self.looked_for}")
            return found
        if self.column not in names:
            raise unknown("column", self.column, names)
        if units.unit_of(self.column) != "ms":
            raise ValueError(f"column={self.column!r}: a Parquet column must be in milliseconds and end in _ms")
        return self.column


def _transport(columns: Mapping[str, Sequence[float | None]]) -> tuple[str, ...]:
    """What the client measures beyond the server."""
    if len(columns) < 2:
        return ()
    rest = np.array(columns[CLIENT], np.float64) - np.array(columns[SERVER], np.float64)
    if not np.isfinite(rest).any():
        return ()
    return (f"The way there and back takes {np.nanmedian(rest):.1f} ms in the median (client minus server).",)


def _of_value(line: int, value: Any, column: str, first: bool = False, time_s: float = math.nan) -> Entry:
    shown = f"{column}={value}"
    if value is None:
        return Entry(line, shown, refused=MISSING)
    number = _number(value)
    if not math.isfinite(number):
        return Entry(line, shown, refused=MALFORMED)
    return Entry(line, shown, number, time_s, first=first)


def _number(value: Any) -> float:
    """A value of JSON or Parquet as a float; NaN for what is no number, or larger than a float holds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


@dataclass(frozen=True)
class OpenpiReplies:
    """Replies of the server as JSON lines, with whatever the client adds.

    Attributes:
        column: key of the delays, in ms; keys of nested objects with dots between them. By default the client's,
            if a line has it.
    """

    name: ClassVar[str] = "openpi_replies"
    knows_first: ClassVar[bool] = True
    looked_for: ClassVar[str] = f"JSON lines with {CLIENT}, server_timing.infer_ms or policy_timing.infer_ms"
    column: str | None = None

    def read(self, path: Path) -> Reading:
        """One delay per line. A reply without `prev_total_ms` is the first of a connection.

        Raises:
            ValueError: no line has the chosen key.
        """
        replies, number, seen = [], 0, set()
        for number, line in text.lines(path):
            if line.strip():
                replies.append((number, line, _parsed(line), line in seen))
                seen.add(line)
        column, key = self._column([reply for _, _, reply, _ in replies if reply is not None])
        entries = [_of_reply(*one, key) for one in replies]
        measures, notes = _said(column)
        timed = any("prev_total_ms" in _timing(reply) for _, _, reply, _ in replies if reply is not None)
        return Reading(entries, number, measures, (*notes, *((_PREVIOUS,) if timed else ())))

    def _column(self, replies: Sequence[Mapping]) -> tuple[str, str]:
        """What the delays are called in the client's table, and their key."""
        keys = {CLIENT: CLIENT, SERVER: "server_timing.infer_ms", POLICY: "policy_timing.infer_ms"}
        if self.column is None:
            known = (name for name, key in keys.items() if any(_at(reply, key) is not None for reply in replies))
            column = next(known, CLIENT)
            return column, keys[column]
        if replies and all(_at(reply, self.column) is None for reply in replies):
            raise unknown("column", self.column, sorted({name for reply in replies for name in _keys(reply)}))
        if units.unit_of(self.column.rsplit(".", 1)[-1]) != "ms":
            raise ValueError(f"column={self.column!r}: a key of JSON lines must be in milliseconds and end in _ms")
        names = {key: name for name, key in keys.items()}
        return names.get(self.column, self.column), self.column


def _parsed(line: str) -> Mapping | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):  # no JSON, or an integer of thousands of digits
        return None
    return found if isinstance(found, dict) else None


def _at(reply: Mapping, key: str) -> Any:
    """The value under a key with dots; None if there is none."""
    found: Any = reply
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _keys(reply: Mapping, before: str = "") -> list[str]:
    """All keys with dots that lead to values."""
    found = []
    for name, value in reply.items():
        found += _keys(value, f"{before}{name}.") if isinstance(value, dict) else [f"{before}{name}"]
    return found


def _timing(reply: Mapping) -> Mapping:
    found = reply.get("server_timing")
    return found if isinstance(found, dict) else {}


def _of_reply(line: int, shown: str, reply: Mapping | None, again: bool, key: str) -> Entry:
    if reply is None:
        return Entry(line, shown, refused=MALFORMED)
    if again:
        return Entry(line, shown, refused=DUPLICATE)
    timing = _timing(reply)
    first = bool(timing) and "prev_total_ms" not in timing
    return _of_value(line, _at(reply, key), key, first, _number(reply.get(TIME)))
