"""What was read of a latency log, and the rules by which some of it is left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

# Why an entry of a log is no delay of the series, in the order in which tables show them.
MALFORMED, MISSING, DUPLICATE, NEGATIVE = "malformed", "missing", "duplicate", "negative"
FIRST, WARM_UP = "first query", "warm-up"
REASONS = (MALFORMED, MISSING, DUPLICATE, NEGATIVE, FIRST, WARM_UP)
EXAMPLES = 3
EXAMPLE_HEAD, EXAMPLE_TAIL = 45, 65
# Leading delays are warm-up while each is more than this many medians of the log, ...
WARM_UP_FACTOR = 3.0
# ... unless they are more than this share of it (one may always be): then they are how the system behaves.
WARM_UP_SHARE = 0.1


class Entry(NamedTuple):
    """A line or row of a log that should hold a delay.

    Attributes:
        line: its number in the file, from 1.
        text: what examples show of it.
        latency_ms: the delay in ms; NaN where there is none.
        time_s: when, in seconds from any start; NaN where the log does not say.
        refused: why it holds no delay, "" if it does.
        first: the first query of a session, or one that the writer of the log calls warm-up.
    """

    line: int
    text: str
    latency_ms: float = float("nan")
    time_s: float = float("nan")
    refused: str = ""
    first: bool = False


@dataclass(frozen=True)
class Reading:
    """What a format found in a file.

    Attributes:
        entries: in the file's order.
        lines: lines or rows of the file.
        measures: what a delay is here, the end of a sentence.
        notes: what a reader of the numbers has to know.
        resolution_ms: step in which the log gives delays; 0 if it is finer than 0.001 ms.
    """

    entries: Sequence[Entry]
    lines: int
    measures: str
    notes: tuple[str, ...] = ()
    resolution_ms: float = 0.0


@dataclass(frozen=True)
class LeftOut:
    """Entries that are not among the delays.

    Attributes:
        reason: one of `REASONS`.
        count: how many.
        examples: the first few, each with its line number.
    """

    reason: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class DelayLog:
    """The delays of a log.

    Attributes:
        latency_ms: in the log's order, in ms.
        time_s: when each was logged, in seconds after the first; None if the log does not say.
        path: the file.
        sha256: digest of its content.
        format: name of its format.
        chosen: why it was read in that format.
        measures: what a delay is, the end of a sentence.
        lines: lines or rows of the file.
        left_out: what was left out, and why.
        notes: what a reader of the numbers has to know.
        resolution_ms: step in which the log gives delays; 0 if it is finer than 0.001 ms.
    """

    latency_ms: Float[np.ndarray, " n"]
    time_s: Float[np.ndarray, " n"] | None
    path: str
    sha256: str
    format: str
    chosen: str
    measures: str
    lines: int
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    resolution_ms: float


class Kept(NamedTuple):
    """Entries that are delays of the series, and what became of the others."""

    entries: list[Entry]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]


def warm_up(latency_ms: Float[np.ndarray, " n"]) -> int:
    """How many leading delays are each above `WARM_UP_FACTOR` times the median of all; none if that is 0."""
    median = np.median(latency_ms)
    return int(np.argmax(latency_ms <= WARM_UP_FACTOR * median)) if median > 0 else 0


def keep(entries: Sequence[Entry], keep_first: bool, keep_warm_up: bool) -> Kept:
    """Applies the rules, in the order of `REASONS`.

    Args:
        entries: in the file's order.
        keep_first: keep first queries.
        keep_warm_up: keep leading delays far above what follows.
    """
    out: dict[str, list[Entry]] = {reason: [] for reason in REASONS}
    kept = []
    for entry in entries:
        reason = entry.refused or (NEGATIVE if entry.latency_ms < 0 else "")
        reason = reason or (FIRST if entry.first and not keep_first else "")
        (out[reason] if reason else kept).append(entry)
    notes: tuple[str, ...] = ()
    if kept and not keep_warm_up:
        leading, limit = warm_up(np.array([e.latency_ms for e in kept])), max(1, int(WARM_UP_SHARE * len(kept)))
        if leading <= limit:
            out[WARM_UP], kept = kept[:leading], kept[leading:]
        else:
            notes = (
                f"The first {leading} delays are each above {WARM_UP_FACTOR:g} times the median. They were kept: they "
                f"are more than a tenth of the log, so perhaps no warm-up.",
            )
    left_out = tuple(_left_out(reason, found) for reason, found in out.items() if found)
    return Kept(kept, left_out, notes)


def _left_out(reason: str, entries: Sequence[Entry]) -> LeftOut:
    return LeftOut(
        reason, len(entries), tuple(f"line {entry.line}: {shorten(entry.text)}" for entry in entries[:EXAMPLES])
    )


def shorten(text: str) -> str:
    """A text on one line; long ones without their middle."""
    text = " ".join(text.split())
    return text if len(text) <= EXAMPLE_HEAD + EXAMPLE_TAIL else f"{text[:EXAMPLE_HEAD]} … {text[-EXAMPLE_TAIL:]}"


def summary(left_out: Sequence[LeftOut]) -> str:
    """What was left out in one line, for an error; "" for nothing."""
    return "; ".join(f"{one.count} {one.reason} ({one.examples[0]})" for one in left_out)
