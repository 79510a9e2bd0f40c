"""Text logs: lines with their numbers, and the stamps that LeRobot puts before its messages."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

# LEVEL, optionally the process, date and time, 15 characters of "path:line". lerobot.utils.utils.init_logging
_PREFIX = re.compile(r"\b[A-Z]+ (?:\[PID: \d+\] )?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) .{15} ")


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a text file, numbered from 1, without their ends; bytes that are no UTF-8 show as �."""
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, 1):
            yield number, line.rstrip("\r\n")


def has_prefix(line: str) -> bool:
    """Whether a line is stamped as LeRobot's are."""
    return _PREFIX.search(line) is not None


def time_s(line: str) -> float:
    """When a line was logged, in seconds; NaN where it has no stamp. Clock changes within a log are not undone."""
    found = _PREFIX.search(line)
    if found is None:
        return float("nan")
    try:
        return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:  # digits that are no date
        return float("nan")


def message(line: str) -> str:
    """A line without its stamp."""
    return _PREFIX.sub("", line, count=1)
