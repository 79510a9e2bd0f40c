"""The published delay sweep: solve rate against a constant, known inference delay, over levels and methods.

The protocol is that of the simulated benchmark of Real-Time Chunking (arXiv 2506.07339, section 5.1): every query takes
d control ticks, the controller knows d, and s >= d actions are executed per query.
"""

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
from jaxtyping import Float

from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.shared.validation import require_int
from rtc.study import cells as results
from rtc.study import statistics
from rtc.study.cells import Cell, CellData, CellError
from rtc.study.evaluation import EvalConfig
from rtc.study.runner import PlannedCell
from rtc.study.statistics import Interval

NAIVE, REALTIME = "naive", "realtime"
# Means over the 12 levels at d = 0 ... 4, s = max(d, 1), in arXiv 2509.23224, table 4.
PUBLISHED: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {NAIVE: (0.908, 0.781, 0.757, 0.593, 0.512), REALTIME: (0.909, 0.882, 0.841, 0.748, 0.629)}
)


@dataclasses.dataclass(frozen=True, order=True)
class Point:
    """A delay d and an execute horizon s, in control ticks."""

    delay: int
    horizon: int

    @property
    def profile(self) -> str:
        return f"d{self.delay}_s{self.horizon}"


def curve(delays: Iterable[int], chunk_size: int) -> list[Point]:
    """The points s = max(d, 1) of the published curve.

    Raises:
        ValueError: a delay that is negative, or so long that a chunk ends before the next one is there.
    """
    points = [Point(delay, max(delay, 1)) for delay in delays]
    for point in points:
        require_int("delays", point.delay, low=0, high=chunk_size // 2)
    return points


def grid(delays: Iterable[int], chunk_size: int) -> list[Point]:
    """All points at which every tick has an action of its own: max(d, 1) <= s <= H - d."""
    starts = curve(delays, chunk_size)
    return [Point(p.delay, s) for p in starts for s in range(p.horizon, chunk_size - p.delay + 1)]


def plan(
    level: str, methods: Sequence[str], points: Sequence[Point], base: EvalConfig, seed: int = 0
) -> list[PlannedCell]:
    """The cells of one level, those of one method after each other."""
    return [
        PlannedCell(
            Cell(point.profile, method, seed, level),
            dataclasses.replace(
                base,
                method=method,
                delay_profile=DelayProfileConfig(mode="fixed", fixed_delay=point.delay),
                estimator=EstimatorConfig(kind="oracle"),
                execution=dataclasses.replace(base.execution, execute_horizon=point.horizon),
            ),
        )
        for method in methods
        for point in points
    ]


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Finished cells: per level, method and point the outcomes of the same episodes.

    Attributes:
        cells: by (level, method, point).
    """

    cells: Mapping[tuple[str, str, Point], CellData]

    @classmethod
    def read(cls, root: Path, levels: Sequence[str], methods: Sequence[str], points: Sequence[Point]) -> "Sweep":
        """Reads what is complete below `root`/<level>/; the rest is left out."""
        found = {}
        for level in levels:
            for method in methods:
                for point in points:
                    cell = Cell(point.profile, method, 0, level)
                    directory = results.cell_dir(root / level, cell)
                    with contextlib.suppress(CellError):
                        found[level, method, point] = results.read_cell(directory, cell)
        return cls(found)

    def names(self, place: int) -> list:
        """The distinct levels (0), methods (1) or points (2), in order of appearance."""
        return list(dict.fromkeys(key[place] for key in self.cells))

    def solved(self, level: str, method: str, point: Point) -> Float[np.ndarray, " n"]:
        return self.cells[level, method, point].episodes[statistics.SOLVED].to_numpy(float)

    def complete(self, method: str, point: Point) -> bool:
        """Whether all levels of the sweep have this point."""
        return all((level, method, point) in self.cells for level in self.names(0))

    def rows(self) -> pd.DataFrame:
        """One row per level, method and point: solve rate with its Wilson interval, and the cell's metrics."""
        rows = []
        for (level, method, point), cell in self.cells.items():
            rate = statistics.solve_rate([cell])
            where = {"level": level, "method": method, **dataclasses.asdict(point), "episodes": len(cell.episodes)}
            rest = {name: value for name, value in cell.result.items() if name not in (*where, "profile", "seed")}
            rows.append(where | {"solved": rate.value, "solved_low": rate.low, "solved_high": rate.high} | rest)
        return pd.DataFrame(rows)

    def mean(self, method: str, point: Point) -> Interval:
        """Mean solve rate over the levels."""
        return statistics.mean_over_levels([self.solved(level, method, point) for level in self.names(0)])

    def gain(self, method: str, reference: str, point: Point) -> Interval:
        """Mean over the levels of the paired difference of solve rates."""
        return statistics.mean_over_levels(
            [self.solved(level, method, point) - self.solved(level, reference, point) for level in self.names(0)]
        )


def mean_table(sweep: Sweep, points: Sequence[Point]) -> pd.DataFrame:
    """Mean solve rates by delay, beside the published ones, and the paired gain over naive."""
    rows = []
    for point in points:
        row: dict[str, object] = {"d": point.delay, "s": point.horizon}
        for method in sweep.names(1):
            if sweep.complete(method, point):
                row[method] = statistics.percent(sweep.mean(method, point))
        for method in sweep.names(1):
            if method != NAIVE and sweep.complete(method, point) and sweep.complete(NAIVE, point):
                row[f"{method} - naive"] = statistics.percent(sweep.gain(method, NAIVE, point), signed=True)
        if point.horizon == max(point.delay, 1):
            for method, rates in PUBLISHED.items():
                row[f"published {method}"] = f"{100 * rates[point.delay]:.1f}" if point.delay < len(rates) else "n/a"
        rows.append(row)
    return pd.DataFrame(rows).fillna("n/a")


def level_table(sweep: Sweep, method: str, points: Sequence[Point]) -> pd.DataFrame:
    """Solve rates of one method, a row per level and a column per point."""
    rows = []
    for level in sweep.names(0):
        row: dict[str, object] = {"level": level}
        for point in points:
            there = (level, method, point) in sweep.cells
            name = f"d = {point.delay}, s = {point.horizon}"
            row[name] = (
                statistics.percent(statistics.solve_rate([sweep.cells[level, method, point]])) if there else "n/a"
            )
        rows.append(row)
    return pd.DataFrame(rows)
