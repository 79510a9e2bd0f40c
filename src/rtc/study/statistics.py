"""Uncertainty of one group's episode outcomes: intervals of rates and means, per level and over levels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
from jaxtyping import Float
from scipy.special import ndtri

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
    values = finite(values, "values")
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
    episodes = same_episodes(levels).mean(axis=0)
    mean, error = float(episodes.mean()), episodes.std(ddof=1) / math.sqrt(episodes.size)
    reach = float(ndtri((1 + confidence) / 2) * error)
    return Interval(mean, mean - reach, mean + reach)


def rate_over_levels(levels: Sequence[Vector], confidence: float = CONFIDENCE) -> Interval:
    """Mean over levels of success rates, with Wilson's interval at the effective number of episodes.

    That is the number of all episodes over the design effect, by which the variance of the mean exceeds that of as many
    independent episodes of one rate (Rao and Scott 1992; Korn and Graubard 1998). The interval lies within 0 and 1. The
    unit of sampling is the episode and levels are given, as in `mean_over_levels`; the variance is never taken to be
    less than that of independent levels, and where no spread was seen, levels count as repetitions of each other: then
    the interval is that of one level. For one level it is `wilson`.

    Args:
        levels: per level, 0 or 1 of the same episodes in the same order.

    Raises:
        ValueError: as `mean_over_levels`, or a value lies outside 0..1.
    """
    values = same_episodes(levels)
    if values.min() < 0 or values.max() > 1:
        raise ValueError(f"levels hold {values.min():g} to {values.max():g}: rate_over_levels is for 0 and 1")
    rate, number = float(values.mean()), values.size / design_effect(values)
    limit = float(ndtri((1 + confidence) / 2))
    middle = (rate * number + limit**2 / 2) / (number + limit**2)
    reach = limit * math.sqrt(number * rate * (1 - rate) + limit**2 / 4) / (number + limit**2)
    return Interval(rate, max(middle - reach, 0.0), min(middle + reach, 1.0))


def design_effect(values: Float[np.ndarray, "l n"]) -> float:
    """How far the variance of the mean exceeds that of as many independent episodes of one rate (Rao and Scott 1992).

    The unit of sampling is the episode, which shares its randomness on all levels. The variance is never taken to be
    less than that of independent levels, and where no spread was seen, levels count as repetitions of each other.

    Args:
        values: by level and episode: 0 or 1, or differences of such values.
    """
    (levels, episodes), number = values.shape, values.size
    # Variances of the sum over all values: as if they were independent, with one rate; as levels and episodes are.
    nominal = float(np.abs(values).sum() - number * values.mean() ** 2) * number / (number - 1)
    independent = float(values.var(axis=1, ddof=1).sum()) * episodes
    clustered = float(values.sum(axis=0).var(ddof=1)) * episodes
    variance = max(clustered, independent)
    return variance / nominal if min(variance, nominal) > 1e-9 else float(levels)


def same_episodes(levels: Sequence[Vector]) -> Float[np.ndarray, "l n"]:
    """Values of the same episodes on every level, as one array.

    Raises:
        ValueError: as `mean_over_levels`.
    """
    levels = [finite(values, "levels") for values in levels]
    sizes = {values.size for values in levels}
    if len(sizes) != 1 or min(sizes) < 2:
        raise ValueError(f"levels have {sorted(sizes)} episodes: give every level the same ones, at least two")
    return np.stack(levels)


def seed_std(per_seed: Sequence[float] | Vector) -> float:
    """Standard deviation (ddof=1) of one mean per seed; NaN for fewer than two seeds."""
    per_seed = finite(per_seed, "per_seed")
    return float(per_seed.std(ddof=1)) if per_seed.size > 1 else math.nan


def finite(values: Sequence[float] | Vector, name: str) -> Vector:
    """The values as a vector. Raises ValueError, naming them `name`, where there are none or some are not finite."""
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"{name} needs one dimension and at least one value, all finite; got {values!r}")
    return values


def solve_rate(cells: Sequence[CellData]) -> Interval:
    """Solve rate over all episodes of the cells, with its Wilson interval."""
    solved = episode_values(cells, SOLVED)
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
        per_seed = [episode_values([cell], name) for cell in cells if name in cell.episodes]
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


def episode_values(cells: Sequence[CellData], name: str) -> Vector:
    """A per-episode metric of all cells, one after the other."""
    return np.concatenate([cell.episodes[name].to_numpy(dtype=float) for cell in cells])
