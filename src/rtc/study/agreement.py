"""Whether levels agree on the order of some arms: mean rank correlation between levels, and Kendall's W."""

import math

import numpy as np
import scipy.stats
from jaxtyping import Float

from rtc.study.statistics import CONFIDENCE, Interval

Scores = Float[np.ndarray, "l a"]


def mean_spearman(scores: Scores) -> float:
    """Spearman's correlation of the arms' ranks, in the mean over all pairs of levels.

    Levels on which all arms score alike rank nothing, and are left out; NaN where fewer than two are left.

    Args:
        scores: by level and arm.
    """
    ranking = scores[np.ptp(scores, axis=1) > 0]
    if len(ranking) < 2:
        return math.nan
    ranks = scipy.stats.rankdata(ranking, axis=1)
    correlations = np.corrcoef(ranks)
    return float(correlations[np.triu_indices(len(ranking), 1)].mean())


def kendall_w(scores: Scores) -> float:
    """Kendall's coefficient of concordance: 1 where all levels rank alike, 0 where their ranks cancel out.

    From the mean correlation r of m levels: W = (1 + (m - 1) r) / m (Kendall and Babington Smith 1939); with ties, of
    ranks that were brought to one variance on every level. Levels count as in `mean_spearman`.
    """
    levels = int((np.ptp(scores, axis=1) > 0).sum())
    return (1 + (levels - 1) * mean_spearman(scores)) / levels if levels else math.nan


def spearman_interval(scores: Scores, confidence: float = CONFIDENCE) -> Interval:
    """`mean_spearman` with an interval for levels as a sample: jackknife over levels, Student's t, cut to -1 and 1.

    A bootstrap would draw levels twice, which agree with themselves. NaN bounds for fewer than three levels that rank.
    """
    ranking = scores[np.ptp(scores, axis=1) > 0]
    levels, value = len(ranking), mean_spearman(ranking)
    if levels < 3:
        return Interval(value, math.nan, math.nan)
    without = np.array([mean_spearman(np.delete(ranking, level, axis=0)) for level in range(levels)])
    error = math.sqrt((levels - 1) / levels * float(((without - without.mean()) ** 2).sum()))
    reach = float(scipy.stats.t.ppf((1 + confidence) / 2, levels - 1)) * error
    return Interval(value, max(-1.0, value - reach), min(1.0, value + reach))
