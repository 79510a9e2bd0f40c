"""Differences between two groups that met the same episodes: intervals and tests.

Two runs that share a seed meet the same randomness in episode i (common random numbers), so differences are
taken pair by pair, pair = (seed, episode), and the spread that both share cancels.

Differences of solved episodes have the score interval of Tango (1998), which does not fail where nearly all episodes
are solved, and over levels the same interval at the effective number of pairs (`score_test`). All other metrics have
normal or bootstrap intervals. `exp_runs/check_statistics.md` measures how often each of them errs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
from jaxtyping import Float
from scipy.special import ndtr, ndtri

from rtc.shared.validation import require_positive
from rtc.study.cells import CellData
from rtc.study.statistics import (
    CONFIDENCE,
    SOLVED,
    Interval,
    Vector,
    bootstrap_mean,
    design_effect,
    episode_values,
    mean_over_levels,
    same_episodes,
)

_HALVINGS = 60  # of an interval of length 2 at most: down to the precision of floats


@dataclass(frozen=True)
class PairedTest:
    """A mean difference with its interval and the two-sided p value of no difference."""

    interval: Interval
    p_value: float


def table_test(metric: str, levels: Sequence[Vector], bound: float = 1.0) -> PairedTest:
    """What tables show of a difference in the mean over levels.

    Args:
        metric: column of episodes.csv.
        levels, bound: as of `score_test`.

    Raises:
        ValueError: as `score_test`.
    """
    return score_test(levels, bound) if metric == SOLVED else paired_test(levels)


def table_interval(metric: str, levels: Sequence[Vector], bound: float = 1.0) -> Interval:
    """What tables show of a difference over all pairs of all levels, of which those count that are finite.

    The unit of sampling is the episode, with the mean of its finite pairs: those of several levels share randomness.
    Arguments as `table_test`.

    Raises:
        ValueError: no pair is finite, levels have different numbers of episodes, or as `score_test`.
    """
    if metric == SOLVED:
        return score_test(levels, bound).interval
    if len({len(values) for values in levels}) != 1:
        raise ValueError(f"levels have {[len(values) for values in levels]} episodes: give every level the same ones")
    return bootstrap_mean(np.ma.masked_invalid(np.stack(levels)).mean(axis=0).compressed())


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
    score = interval.value / reach * ndtri((1 + confidence) / 2)
    return PairedTest(interval, float(2 * ndtr(-abs(score))))


def tango_score(gains: float, losses: float, pairs: float, difference: float) -> float:
    """Score statistic of the hypothesis that two paired rates differ by `difference` (Tango 1998).

    (b - c - nΔ) / sqrt(n (2q + Δ(1 - Δ))), standard normal under the hypothesis, with q the most likely probability
    of a loss under it; McNemar's statistic at Δ = 0. At a hypothesis that leaves no variance: 0 where it is what was
    observed, else infinite.

    Args:
        gains: pairs that the candidate solves and the reference does not, b; effective numbers need not be whole.
        losses: the reverse, c.
        pairs: all pairs, n.
        difference: Δ, of the candidate's rate and the reference's.
    """
    linear = (2 * pairs - gains + losses) * difference - gains - losses
    constant = -losses * difference * (1 - difference)
    loss_rate = (math.sqrt(max(linear**2 - 8 * pairs * constant, 0.0)) - linear) / (4 * pairs)
    variance = pairs * (2 * loss_rate + difference * (1 - difference))
    excess = gains - losses - pairs * difference
    if variance > 1e-12 * pairs:
        return excess / math.sqrt(variance)
    return math.copysign(math.inf, excess) if abs(excess) > 1e-9 * pairs else 0.0


def score_interval(gains: float, losses: float, pairs: float, confidence: float = CONFIDENCE) -> Interval:
    """Score interval of the difference of two paired rates: all Δ that `tango_score` does not reject (Tango 1998).

    It lies within -1 and 1, has a width where no pair differs, and holds its level at rates near 0 and 1, where pairs
    that differ are few; Fagerland, Lydersen and Laake (2014) compare it with others. Arguments as `tango_score`.

    Raises:
        ValueError: there are no pairs, numbers are negative, or more pairs differ than there are.
    """
    require_positive("pairs", pairs, "the number of pairs")
    if gains < 0 or losses < 0 or gains + losses > pairs * (1 + 1e-9):
        raise ValueError(f"gains={gains} and losses={losses} of pairs={pairs}: 0 or more each, and no more than pairs")
    _require_confidence(confidence)
    limit = float(ndtri((1 + confidence) / 2))
    value = (gains - losses) / pairs

    def end(outer: float) -> float:
        """Between the estimate, which the interval holds, and -1 or 1."""
        inner = value
        for _ in range(_HALVINGS):
            middle = (inner + outer) / 2
            if abs(tango_score(gains, losses, pairs, middle)) <= limit:
                inner = middle
            else:
                outer = middle
        return outer

    return Interval(value, end(-1.0), end(1.0))


def score_test(levels: Sequence[Vector], bound: float = 1.0, confidence: float = CONFIDENCE) -> PairedTest:
    """Mean over levels of paired differences of solved episodes, with a score interval, and tested against 0.

    For one level this is `score_interval`, and the test McNemar's without continuity correction. Over levels, it is
    the same interval at the effective numbers of gains, losses and pairs: divided by the design effect, by which the
    variance of the mean exceeds that of as many independent pairs (Rao and Scott 1992). The unit of sampling is the
    episode, because episode i shares its randomness on all levels, as in the test of clustered pairs of Durkalski et
    al. (2003). Levels are given, not drawn. The variance is never taken to be less than that of independent levels,
    and where no spread was seen, levels count as repetitions of each other: then the interval is that of one level.

    Args:
        levels: per level, candidate minus reference of the same episodes in the same order.
        bound: how far from 0 a value can be: 1 for solved or not, 2 for the difference of two such differences.
        confidence: of the interval.

    Raises:
        ValueError: as `mean_over_levels`, or a value lies beyond the bound.
    """
    require_positive("bound", bound, "the largest size of a difference")
    _require_confidence(confidence)
    gains, losses, pairs = _effective(same_episodes(levels) / bound, bound)
    interval = score_interval(gains, losses, pairs, confidence)
    scaled = Interval(bound * interval.value, bound * interval.low, bound * interval.high)
    return PairedTest(scaled, float(2 * ndtr(-abs(tango_score(gains, losses, pairs, 0.0)))))


def _effective(values: Float[np.ndarray, "l n"], bound: float) -> tuple[float, float, float]:
    """Gains, losses and pairs over the design effect, of values between -1 and 1."""
    if np.abs(values).max() > 1:
        raise ValueError(
            f"levels hold the difference {bound * np.abs(values).max():g}, beyond bound={bound:g}: "
            "score_test is for solved or not; bound=2 for a difference of two differences"
        )
    effect = design_effect(values)
    gains, losses = float(values[values > 0].sum()), float(-values[values < 0].sum())
    return gains / effect, losses / effect, values.size / effect


def sign_test(differences: Vector, alpha: float = 1 - CONFIDENCE) -> int:
    """1 or -1 where positive or negative differences are too many for chance, else 0; exact (McNemar's for 0 and 1)."""
    more, less = int((differences > 0).sum()), int((differences < 0).sum())
    if more + less == 0 or scipy.stats.binomtest(more, more + less).pvalue > alpha:
        return 0
    return 1 if more > less else -1


def group_difference(candidate: Sequence[CellData], reference: Sequence[CellData], column: str) -> dict[str, float]:
    """`table_interval` of a per-episode metric between two groups, over the pairs that are finite in both.

    The groups must hold the same seeds and episodes in the same order.
    """
    differences = episode_values(candidate, column) - episode_values(reference, column)
    number = int(np.isfinite(differences).sum())
    if not number:
        return {"difference": math.nan, "low": math.nan, "high": math.nan, "pairs": 0}
    interval = table_interval(column, [differences])
    return {"difference": interval.value, "low": interval.low, "high": interval.high, "pairs": number}


def pairing(candidate: Vector, reference: Float[np.ndarray, " m"]) -> tuple[float, float]:
    """What pairing buys: the correlation r of the pairs, and by what it divides the variance of the difference.

    The factor is (var x + var y) / var(x - y): 1 where r = 0, 1 / (1 - r) for equal variances. r is NaN where one of
    them does not vary, the factor infinite where they differ by a constant.

    Raises:
        ValueError: they differ in length, or hold fewer than two values.
    """
    candidate, reference = same_episodes([candidate, reference])
    apart, together = candidate.var() + reference.var(), float((candidate - reference).var())
    varies = min(candidate.var(), reference.var()) > 0
    correlation = float(np.corrcoef(candidate, reference)[0, 1]) if varies else math.nan
    return correlation, float(apart / together) if together > 0 else math.inf


def _require_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence!r} must lie between 0 and 1")
