"""Which format a log has, and reading it."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from rtc.delay.logs import lerobot, record, text
from rtc.delay.logs.lerobot import LerobotClient, LerobotRtc, LerobotServer
from rtc.delay.logs.openpi import OpenpiReplies, OpenpiTable
from rtc.delay.logs.record import DelayLog, Reading
from rtc.delay.logs.tabular import Table, called_delay, is_header
from rtc.shared.provenance import sha256
from rtc.shared.validation import require_choice, require_read


class LogFormat(Protocol):
    """What a format is: a frozen dataclass whose fields are the options that it takes.

    Attributes:
        name: of the format.
        looked_for: what holds a delay, for errors.
        knows_first: whether it tells the first query of a session from others.
    """

    name: ClassVar[str]
    looked_for: ClassVar[str]
    knows_first: ClassVar[bool]

    def read(self, path: Path) -> Reading: ...


FORMATS: Mapping[str, type[LogFormat]] = MappingProxyType(
    {one.name: one for one in (LerobotClient, LerobotServer, LerobotRtc, OpenpiTable, OpenpiReplies, Table)}
)
_BY_MARKERS = (LerobotClient, LerobotServer, LerobotRtc)
_READS = {name: {field.name for field in dataclasses.fields(one)} for name, one in FORMATS.items()}


class Detected(NamedTuple):
    """A format's name, and what in the file speaks for it."""

    format: str
    why: str


def detect(path: str | Path) -> Detected:
    """The format of a log, by what is in it; a file's name does not count.

    Raises:
        ValueError: there is no such file, it is in no format that is known, or in two.
    """
    path = _existing(path)
    where = f"log={str(path)!r}"
    with open(path, "rb") as file:
        if file.read(4) == b"PAR1":
            return Detected(OpenpiTable.name, "it is a Parquet file")
    first, found, stamped, mismatches = None, {}, 0, 0
    for number, line in text.lines(path):
        if first is None and line.strip() and not line.startswith("#"):
            first = number, line
        stamped += text.has_prefix(line)
        mismatches += lerobot.MISMATCH in line
        for one in _BY_MARKERS:
            marker = next((marker for marker in one.markers if marker in line), None)
            if marker is not None:
                found.setdefault(one.name, f"line {number} has {marker!r}")
    if len(found) > 1:
        raise ValueError(f"{where} is several logs in one ({'; '.join(found.values())}): give --format")
    if found:
        return Detected(*next(iter(found.items())))
    if first is None:
        raise ValueError(f"{where} is empty")
    number, line = first
    if line.lstrip().startswith("{"):
        return Detected(OpenpiReplies.name, f"line {number} is a JSON object")
    if stamped:
        raise ValueError(f"{where} {_no_delays(stamped, mismatches)}")
    if _is_table(path):
        return Detected(Table.name, f"line {number} begins a table: {record.shorten(line)!r}")
    raise ValueError(
        f"{where} begins with {record.shorten(line)!r}, which is no format known here: "
        f"give --format, one of: {', '.join(FORMATS)}"
    )


def _no_delays(stamped: int, mismatches: int) -> str:
    """What is wrong with a log of LeRobot in which nothing says how long an answer took."""
    said = f"has lines as LeRobot stamps them ({stamped}), but none of those that hold a delay. "
    if mismatches:
        return f"{said}Some say {lerobot.MISMATCH!r} ({mismatches}): have real-time chunking log at level DEBUG"
    return f"{said}A client logs delays only if it calls receive_actions(verbose=True); see docs/latency-logs.md"


def _is_table(path: Path) -> bool:
    """Whether there is a number in the first two rows, or a column that is called a latency or delay."""
    rows = [line for _, line in text.lines(path) if line.strip() and not line.startswith("#")][:2]
    cells = [re.split("[,;\t]", row) for row in rows]
    return not all(map(is_header, cells)) or any(called_delay(name) for name in cells[0])


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        kind = "is a folder: give a file in it" if path.is_dir() else "does not exist: give the path of a log"
        raise ValueError(f"log={str(path)!r} {kind}")
    return path


def make(name: str, options: Mapping[str, Any], hz: float) -> LogFormat:
    """A format with the options that were given, those that are not None.

    Raises:
        ValueError: an unknown format, or an option that it does not take.
    """
    require_choice("format", name, FORMATS)
    given = {option: value for option, value in options.items() if value is not None}
    require_read("format", name, given, _READS)
    return FORMATS[name](**given, **({"hz": hz} if "hz" in _READS[name] else {}))


def read(
    path: str | Path,
    format: str | None = None,
    *,
    column: str | None = None,
    minus: str | None = None,
    unit: str | None = None,
    hz: float = 30.0,
    keep_first: bool = False,
    keep_warm_up: bool = False,
) -> DelayLog:
    """The delays of a log.

    Args:
        path: the file.
        format: one of `FORMATS`; None goes by what is in the file.
        column: where a table, or a reply in JSON, has the delay.
        minus: a column with time stamps that are subtracted from those in `column`.
        unit: of the columns, one of `units.UNITS`; None goes by the column's name.
        hz: control rate, which delays in ticks are counted at.
        keep_first: keep the first query of a session.
        keep_warm_up: keep leading delays far above what follows (`record.warm_up`).

    Raises:
        ValueError: the file cannot be read, its format is not known, an option has no effect with it, or nothing in the
            file is a delay; the message says what was looked for.
    """
    path = _existing(path)
    chosen = detect(path) if format is None else Detected(format, "it was asked for")
    reader = make(chosen.format, {"column": column, "minus": minus, "unit": unit}, hz)
    if keep_first and not reader.knows_first:
        raise ValueError(
            f"keep_first=True has no effect with format={chosen.format!r}, which does not say what a first query is: "
            "give --keep-warm-up to keep leading delays far above what follows, or leave it out"
        )
    reading = reader.read(path)
    kept = record.keep(reading.entries, keep_first, keep_warm_up)
    if not kept.entries:
        left = f"; left out: {record.summary(kept.left_out)}" if kept.left_out else ""
        raise ValueError(
            f"log={str(path)!r} holds no delays: looked for {reader.looked_for} in {reading.lines} lines{left}"
        )
    times = np.array([entry.time_s for entry in kept.entries], np.float64)
    return DelayLog(
        latency_ms=np.array([entry.latency_ms for entry in kept.entries], np.float64),
        time_s=times - times[0] if np.isfinite(times).all() else None,
        path=str(path),
        sha256=sha256(path.read_bytes()),
        format=chosen.format,
        chosen=chosen.why,
        measures=reading.measures,
        lines=reading.lines,
        left_out=kept.left_out,
        notes=(*reading.notes, *kept.notes),
        resolution_ms=reading.resolution_ms,
    )
