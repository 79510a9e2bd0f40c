"""Tables as aligned Markdown, numbers and intervals as tables show them, and percentiles as values that occurred."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Real

from rtc.shared import markup


def format_table(table: pd.DataFrame) -> str:
    """A table as aligned Markdown; floats with four significant digits, numbers to the right."""
    columns = [_cell_text(str(name)) for name in table.columns]
    rows = [[_cell_text(value) for value in row] for row in table.itertuples(index=False)]
    numeric = [pd.api.types.is_numeric_dtype(table[name]) for name in table.columns]
    widths = [max(3, *(len(row[i]) for row in [columns, *rows])) for i in range(len(columns))]

    def line(cells: Sequence[str]) -> str:
        aligned = [c.rjust(w) if n else c.ljust(w) for c, w, n in zip(cells, widths, numeric, strict=True)]
        return "| " + " | ".join(aligned) + " |"

    rule = ["-" * (w - 1) + (":" if n else "-") for w, n in zip(widths, numeric, strict=True)]
    return "\n".join([line(columns), line(rule), *(line(row) for row in rows)])


def _cell_text(value: Any) -> str:
    if isinstance(value, float):
        return "n/a" if np.isnan(value) else f"{value:.4g}"
    return markup.plain(str(value)).replace("|", "\\|").replace("\n", " ")


def number(value: float, decimals: int, signed: bool = False) -> str:
    """A number with so many decimals; n/a where there is none."""
    return f"{value:{'+' if signed else ''}.{decimals}f}" if math.isfinite(value) else "n/a"


def interval(value: float, low: float, high: float, decimals: int, signed: bool = False) -> str:
    """An estimate and its interval: value [low, high]."""
    value_text, low_text, high_text = (number(x, decimals, signed) for x in (value, low, high))
    return f"{value_text} [{low_text}, {high_text}]"


def p_value(value: float) -> str:
    """A p value."""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


PERCENTILES = (50, 95, 99)


def percentiles(
    values: Real[np.ndarray, " n"] | Sequence[float], levels: Sequence[int] = PERCENTILES
) -> dict[int, float]:
    """Percentiles by level, as values that occurred (inverse of the empirical distribution)."""
    found = np.percentile(values, levels, method="inverted_cdf")
    return {level: float(value) for level, value in zip(levels, found, strict=True)}
