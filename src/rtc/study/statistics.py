"""Uncertainty of episode outcomes.

Two runs that share a seed meet the same randomness in episode i (common random numbers), so differences are
taken pair by pair, pair = (seed, episode), and the spread that both share cancels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats
from jaxtyping import Float

from rtc.study.cells import CellData

Vector = Float[np.ndarray, " n"]

SOLVED = "returned_episode_solved"
CONFIDENCE = 0.95
RESAMPLES = 10_000
_BATCH_VALUES = 2_000_000  # numbers that one batch of resamples may hold (16 MB)


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def wilson(successes: int, total: int, confidence: float = CONFIDENCE) -> Interval:
    """Wilson score interval of a success rate (Wilson 1927).

    Raises:
        ValueError: `total` is not positive, or `successes` lies outside 0..total.
    """
    if total < 1 or not 0 <= successes <= total:
        raise ValueError(f"successes={successes} of total={total}: 0 <= successes <= total and total >= 1 needed")
    test = scipy.stats.binomtest(int(successes), int(total))
    interval = test.proportion_ci(confidence, method="wilson")
    return Interval(successes / total, float(interval.low), float(interval.high))


def bootstrap_mean(values: Vector, confidence: float = CONFIDENCE, resamples: int = RESAMPLES) -> Interval:
    """Percentile bootstrap interval of a mean (Efron 1979), from a fixed random generator.

    Equal values give an interval of width zero; a single value gives NaN bounds: it says nothing on spread.

    Raises:
        ValueError: no values, or some that are not finite.
    """
    values = _finite(values, "values")
    mean = float(values.mean())
    if values.size == 1:
        return Interval(mean, math.nan, math.nan)
    if np.ptp(values) == 0:
        return Interval(mean, mean, mean)
    interval = scipy.stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, _BATCH_VALUES // values.size),
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Interval(mean, float(interval.low), float(interval.high))


def paired_difference(candidate: Vector, reference: Vector, **options: Any) -> Interval:
    """Paired bootstrap interval of mean(candidate) - mean(reference).

    Resampling pairs and taking the difference of means is resampling the differences and taking their mean,
    so this is `bootstrap_mean` of candidate - reference (with its `options`).

    Raises:
        ValueError: the two differ in length, are empty, or hold values that are not finite.
    """
    candidate, reference = _finite(candidate, "candidate"), _finite(reference, "reference")
    if candidate.size != reference.size:
        raise ValueError(f"candidate has {candidate.size} values, reference {reference.size}; pairs are needed")
    return bootstrap_mean(candidate - reference, **options)


def mean_over_levels(levels: Sequence[Vector], confidence: float = CONFIDENCE) -> Interval:
    """Mean over levels of the mean over their episodes, with a normal interval for levels that are given, not drawn.

    Episode i meets the same delays and noise keys on every level, so levels are not independent: the interval is that
    of the mean of the episodes' averages over the levels. It says how far more episodes on the same levels could move
    the mean, and nothing on other levels.

    Args:
        levels: per level, the values of the same episodes in the same order.

    Raises:
        ValueError: no levels, fewer than two episodes, different numbers of them, or values that are not finite.
    """
    episodes = _episode_averages(levels)
    mean, error = float(episodes.mean()), episodes.std(ddof=1) / math.sqrt(episodes.size)
    reach = float(scipy.stats.norm.ppf((1 + confidence) / 2) * error)
    return Interval(mean, mean - reach, mean + reach)


def _episode_averages(levels: Sequence[Vector]) -> Vector:
    levels = [_finite(values, "levels") for values in levels]
    sizes = {values.size for values in levels}
    if len(sizes) != 1 or min(sizes) < 2:
        raise ValueError(f"levels have {sorted(sizes)} episodes: give every level the same ones, at least two")
    return np.mean(levels, axis=0)


@dataclass(frozen=True)
class PairedTest:
    """A mean difference with its interval and the two-sided p value of no difference."""

    interval: Interval
    p_value: float


def paired_test(differences: Sequence[Vector], confidence: float = CONFIDENCE) -> PairedTest:
    """Mean over levels of paired differences, tested against 0 with the normal distribution of `mean_over_levels`.

    Differences that are all 0 give p = 1.

    Raises:
        ValueError: as `mean_over_levels`.
    """
    interval = mean_over_levels(differences, confidence)
    reach = interval.high - interval.value
    if reach == 0:
        return PairedTest(interval, float(interval.value == 0))
    score = interval.value / reach * scipy.stats.norm.ppf((1 + confidence) / 2)
    return PairedTest(interval, float(2 * scipy.stats.norm.sf(abs(score))))


def sign_test(differences: Vector, alpha: float = 1 - CONFIDENCE) -> int:
    """1 or -1 where positive or negative differences are too many for chance, else 0; exact (McNemar's for 0 and 1)."""
    more, less = int((differences > 0).sum()), int((differences < 0).sum())
    if more + less == 0 or scipy.stats.binomtest(more, more + less).pvalue > alpha:
        return 0
    return 1 if more > less else -1


def holm(p_values: Sequence[float], planned: int | None = None) -> list[float]:
    """p values corrected for their number so that the chance of any false claim is bounded (Holm 1979).

    Args:
        planned: number of tests that were planned, where some of them are not there yet.

    Returns:
        Adjusted values, in the given order; a claim holds at level α if its value is at most α.
    """
    order = np.argsort(p_values)
    factors = (planned or len(order)) - np.arange(len(order))
    adjusted = np.minimum(np.maximum.accumulate(np.asarray(p_values, float)[order] * factors), 1.0)
    out = np.empty(len(order))
    out[order] = adjusted
    return out.tolist()


def seed_std(per_seed: Sequence[float] | Vector) -> float:
    """Standard deviation (ddof=1) of one mean per seed; NaN for fewer than two seeds."""
    per_seed = _finite(per_seed, "per_seed")
    return float(per_seed.std(ddof=1)) if per_seed.size > 1 else math.nan


def _finite(values: Sequence[float] | Vector, name: str) -> Vector:
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"{name} needs one dimension and at least one value, all finite; got {values!r}")
    return values


def solve_rate(cells: Sequence[CellData]) -> Interval:
    """Solve rate over all episodes of the cells, with its Wilson interval."""
    solved = _column(cells, SOLVED)
    return wilson(int(solved.sum()), solved.size)


def summarise_group(
    cells: Sequence[CellData], episode_columns: Sequence[str], cell_columns: Sequence[str]
) -> dict[str, float]:
    """Statistics of the cells (seeds) of one group; columns that they lack are left out.

    Args:
        episode_columns: per-episode metrics. Each gives `<column>` (mean over all episodes), `<column>_std`
            (over seeds), `<column>_low` and `<column>_high` (95 %; Wilson for the solve rate, else
            bootstrap).
        cell_columns: metrics of results.csv, each giving its mean and `<column>_std` over seeds.

    Returns:
        These values by name, after `seeds` and `episodes`. Means leave out values that are not finite.
    """
    row: dict[str, float] = {"seeds": len(cells), "episodes": sum(len(cell.episodes) for cell in cells)}
    for name in episode_columns:
        per_seed = [_column([cell], name) for cell in cells if name in cell.episodes]
        per_seed = [values[np.isfinite(values)] for values in per_seed]
        values = np.concatenate([*per_seed, []])
        if values.size:
            interval = solve_rate(cells) if name == SOLVED else bootstrap_mean(values)
            row[name] = interval.value
            row[f"{name}_std"] = seed_std([seed.mean() for seed in per_seed if seed.size])
            row[f"{name}_low"], row[f"{name}_high"] = interval.low, interval.high
    for name in cell_columns:
        means = [cell.result[name] for cell in cells if name in cell.result]
        if means and np.isfinite(means).all():
            row[name], row[f"{name}_std"] = float(np.mean(means)), seed_std(means)
    return row


def group_difference(candidate: Sequence[CellData], reference: Sequence[CellData], column: str) -> dict[str, float]:
    """`paired_difference` of a per-episode metric between two groups, over the pairs that are finite in both.

    The groups must hold the same seeds and episodes in the same order.
    """
    after, before = _column(candidate, column), _column(reference, column)
    both = np.isfinite(after) & np.isfinite(before)
    if not both.any():
        return {"difference": math.nan, "low": math.nan, "high": math.nan, "pairs": 0}
    interval = paired_difference(after[both], before[both])
    return {
        "difference": interval.value,
        "low": interval.low,
        "high": interval.high,
        "pairs": int(both.sum()),
    }


def _column(cells: Sequence[CellData], name: str) -> Vector:
    return np.concatenate([cell.episodes[name].to_numpy(dtype=float) for cell in cells])
