"""Units of latencies, and numbers as logs write them."""

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Literal

Unit = Literal["ns", "us", "ms", "s", "ticks"]

# Milliseconds in one of each; a tick's depend on the control rate.
_MS: Mapping[str, float] = MappingProxyType({"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3})
UNITS = (*_MS, "ticks")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def unit_of(name: str) -> str | None:
    """The unit that a column's name ends in ("latency_ms"), None if it says none."""
    return next((unit for unit in UNITS if name.lower().endswith(f"_{unit}")), None)


def to_ms(value: float, unit: str, hz: float) -> float:
    """A duration in milliseconds; `hz` is the control rate that ticks are counted at."""
    return value * 1000 / hz if unit == "ticks" else value * _MS[unit]


def is_number(text: str) -> bool:
    """Whether a cell holds a finite number, without thousands separators, underscores or words."""
    return _NUMBER.fullmatch(text.strip()) is not None and math.isfinite(float(text))


def difference(later: str, earlier: str) -> float:
    """The difference of two numbers, computed exactly: stamps in nanoseconds have more digits than a float holds."""
    return float(Decimal(later.strip()) - Decimal(earlier.strip()))
