"""Tables as aligned Markdown, and percentiles as values that occurred."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float


def format_table(table: pd.DataFrame) -> str:
    """A table as aligned Markdown; floats with four significant digits, numbers to the right."""
    columns = [str(name) for name in table.columns]
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
    return str(value).replace("|", "\\|")


PERCENTILES = (50, 95, 99)


def percentiles(times_ms: Float[np.ndarray, " n"]) -> dict[int, float]:
    """The percentiles that are reported of latencies, by level, as values that occurred."""
    found = np.percentile(times_ms, PERCENTILES, method="inverted_cdf")
    return {level: float(value) for level, value in zip(PERCENTILES, found, strict=True)}
