"""Families of comparisons: p values corrected for their number, and what a family can find.

The more comparisons share a family, the larger a difference has to be. A study that is to find differences of two
points asks `largest_family` before it runs.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr, ndtri

from rtc.shared.validation import require_int, require_positive
from rtc.study.statistics import CONFIDENCE, Vector, same_episodes

ALPHA = 1 - CONFIDENCE
POWER = 0.8


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


def spread(levels: Sequence[Vector]) -> float:
    """Standard deviation (ddof=1) over episodes of the paired differences' average over the levels.

    The standard error of a difference in the mean over these levels is `spread` / sqrt(episodes). An interval of
    `statistics.mean_over_levels` tells it, too: half of its width / 1.96 * sqrt(episodes).

    Args:
        levels: per level, the differences of the same episodes in the same order.

    Raises:
        ValueError: as `statistics.mean_over_levels`.
    """
    return float(same_episodes(levels).mean(axis=0).std(ddof=1))


def smallest_difference(
    spread: float, episodes: int, comparisons: int = 1, *, power: float = POWER, alpha: float = ALPHA
) -> float:
    """The difference that a comparison finds with this probability, whatever the rest of its family shows.

    Two-sided and by the normal distribution: (z(1 - α/2k) + z(power)) * spread / sqrt(episodes). α/k is what Holm's
    method asks of the smallest p value of a family of k (Holm 1979); others are asked less.

    Args:
        spread: of the paired differences, see the function of this name; the result has its unit.
        episodes: on every level.
        comparisons: in the family, k.
        power: probability of finding it.
        alpha: probability of any false claim in the family.

    Raises:
        ValueError: an argument is outside of its range.
    """
    _require(spread, episodes, power, alpha)
    require_int("comparisons", comparisons, low=1)
    return float(_reach(comparisons, power, alpha) * spread / math.sqrt(episodes))


def chance(difference: float, spread: float, episodes: int, comparisons: int = 1, *, alpha: float = ALPHA) -> float:
    """Probability that a comparison finds such a difference, whatever the rest of its family shows.

    The inverse of `smallest_difference` in `power`, with its arguments.

    Raises:
        ValueError: an argument is outside of its range.
    """
    _require(spread, episodes, POWER, alpha)
    require_int("comparisons", comparisons, low=1)
    require_positive("difference", difference, "the size that is to be found")
    return float(ndtr(difference * math.sqrt(episodes) / spread - ndtri(1 - alpha / (2 * comparisons))))


def episodes(
    difference: float, spread: float, comparisons: int = 1, *, power: float = POWER, alpha: float = ALPHA
) -> int:
    """How many episodes a comparison needs to find such a difference; at least two.

    The inverse of `smallest_difference` in `episodes`, with its arguments.

    Raises:
        ValueError: an argument is outside of its range.
    """
    require_positive("difference", difference, "the size that is to be found")
    _require(spread, 2, power, alpha)
    require_int("comparisons", comparisons, low=1)
    reach = _reach(comparisons, power, alpha)
    return max(2, math.ceil(float(reach * spread / difference) ** 2 * (1 - 1e-12)))


def _reach(comparisons: int, power: float, alpha: float) -> float:
    """How many standard errors a difference must be long to be found."""
    return float(ndtri(1 - alpha / (2 * comparisons)) + ndtri(power))


def unpaired_spread(rate: float, other: float) -> float:
    """`spread` of the difference of two solve rates where episodes have nothing in common that would pair them.

    Raises:
        ValueError: a rate lies outside of 0..1.
    """
    for name, value in (("rate", rate), ("other", other)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name}={value!r} must lie between 0 and 1")
    return math.sqrt(rate * (1 - rate) + other * (1 - other))


def largest_family(
    difference: float, spread: float, episodes: int, *, power: float = POWER, alpha: float = ALPHA
) -> int:
    """How many comparisons may share a family that is to find such a difference; 0 if not even a single one finds it.

    The inverse of `smallest_difference`, with its arguments.

    Raises:
        ValueError: an argument is outside of its range.
    """
    _require(spread, episodes, power, alpha)
    require_positive("difference", difference, "the size that is to be found")
    tail = float(ndtr(ndtri(power) - difference * math.sqrt(episodes) / spread))
    # A tail of 0 is one below the smallest float: the family may be of any size that a study can have.
    return math.floor(min(alpha / (2 * max(tail, 1e-12)) * (1 + 1e-12), 1e9))


def _require(spread: float, episodes: int, power: float, alpha: float) -> None:
    require_positive("spread", spread, "the standard deviation of paired differences")
    require_int("episodes", episodes, low=2)
    for name, value in (("power", power), ("alpha", alpha)):
        if not 0 < value < 1:
            raise ValueError(f"{name}={value!r} must lie between 0 and 1")
