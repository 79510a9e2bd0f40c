"""Aggregates over training seeds and levels, with levels as given or as a sample.

A *run* is a training seed from end to end: on every level an expert, its demonstrations and the policy cloned from
them. Definitions are those of Agarwal et al. (2021, arXiv 2108.13264; library rliable), whose tasks are our levels.
Episode i shares its randomness on all levels and between runs, so episodes are always resampled together.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import scipy.stats
from jaxtyping import Float, Int

from rtc.shared.validation import require_choice, require_int
from rtc.study.statistics import CONFIDENCE, RESAMPLES, Interval

Matrices = Float[np.ndarray, "*b r l"]
Sampled = Literal["episodes", "policies", "levels"]
_BATCH = 500  # resamples at once


@dataclass(frozen=True)
class Scores:
    """Scores by run, level and episode, or differences of scores between two arms.

    Attributes:
        values: a score per episode; of a matrix of runs and levels, see `of_matrix`.

    Raises:
        ValueError: values lack an axis, are empty, or are not finite.
    """

    values: Float[np.ndarray, "r l n"]

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or not self.values.size or not np.isfinite(self.values).all():
            raise ValueError(
                f"values of shape {self.values.shape} need runs, levels and episodes, at least one of each, all finite"
            )

    @classmethod
    def of_matrix(cls, matrix: Float[np.ndarray, "r l"]) -> "Scores":
        """Scores of which only the mean per run and level is known."""
        return cls(np.asarray(matrix, float)[..., None])

    @property
    def matrix(self) -> Float[np.ndarray, "r l"]:
        """The mean per run and level."""
        return self.values.mean(axis=2)


def mean(matrix: Matrices) -> Float[np.ndarray, "*b"]:
    """Mean over runs and levels."""
    return np.asarray(matrix.mean(axis=(-2, -1)))


def median(matrix: Matrices) -> Float[np.ndarray, "*b"]:
    """Median over the levels of the mean over runs."""
    return np.asarray(np.median(matrix.mean(axis=-2), axis=-1))


def interquartile_mean(matrix: Matrices) -> Float[np.ndarray, "*b"]:
    """Mean of the middle half of all scores, runs and levels taken together (IQM).

    Of n scores, the floor(n / 4) smallest and as many largest are left out.
    """
    flat = matrix.reshape(*matrix.shape[:-2], -1)
    return np.asarray(scipy.stats.trim_mean(flat, 0.25, axis=-1))


def probability_of_improvement(candidate: Matrices, reference: Float[np.ndarray, "*b s l"]) -> Float[np.ndarray, "*b"]:
    """Probability that a run of the candidate beats one of the reference on a random level; ties count half.

    The mean over levels of the Mann-Whitney statistic divided by the number of pairs of runs.
    """
    first, second = candidate[..., :, None, :], reference[..., None, :, :]
    return np.asarray(((first > second) + 0.5 * (first == second)).mean(axis=(-3, -2, -1)))


def interval(
    statistic: Callable[..., Float[np.ndarray, "*b"]],
    *scores: Scores,
    sampled: Sampled = "levels",
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
) -> Interval:
    """Bootstrap interval of a statistic of one or several arms, from a fixed random generator.

    `sampled` says what is regarded as drawn, and is resampled; what stands above it is given.

    - `episodes`: how far more episodes with these policies on these levels could move it.
    - `policies`: also other training seeds on these levels: runs are resampled on every level by itself (the stratified
      bootstrap of rliable), here together with the episodes.
    - `levels`: also other levels: the hierarchical bootstrap. Levels are resampled, on each drawn level its runs, and
      the episodes (Saravanan et al. 2020).

    Percentiles are taken further out than the nominal ones, as few levels or runs demand and as Hesterberg (2015)
    expands them: at sqrt(R / (R - 1)) times Student's t with L (R - 1) degrees of freedom for policies, at
    sqrt(L / (L - 1)) t with L - 1 for levels. What varies from episode to episode or from run to run also varies
    between the things above it and so counts more than once: intervals are wide rather than narrow where policies and
    levels differ little.

    Args:
        statistic: of one matrix of runs and levels per arm, with any leading axes.
        scores: the arms, with the same runs, levels and episodes; a run is one training seed, in all of them the same.
        sampled: the highest thing that is regarded as drawn.
        confidence: of the interval.
        resamples: number of resamples.

    Raises:
        ValueError: arms differ in shape, there is only one of what is to be resampled, or an argument is out of range.
    """
    require_choice("sampled", sampled, get_args(Sampled))
    require_int("resamples", resamples, low=100)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence!r} must lie between 0 and 1")
    shapes = {one.values.shape for one in scores}
    if len(shapes) != 1:
        raise ValueError(f"scores have the shapes {sorted(shapes)}: give arms with the same runs, levels and episodes")
    shape = shapes.pop()
    tail = _tail(shape, sampled, (1 - confidence) / 2)
    drawn = np.concatenate(
        [
            statistic(*(_resampled(one.values, *indices) for one in scores))
            for indices in _draws(shape, sampled, resamples)
        ]
    )
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(float(statistic(*(one.matrix for one in scores))), float(low), float(high))


def _tail(shape: tuple[int, int, int], sampled: Sampled, nominal: float) -> float:
    """The share of resamples beyond either end."""
    runs, levels, episodes = shape
    number = {"episodes": episodes, "policies": runs, "levels": levels}[sampled]
    if number < 2:
        raise ValueError(f"sampled={sampled!r} needs at least two {sampled.replace('policies', 'runs')}, got {number}")
    freedom = levels * (runs - 1) if sampled == "policies" else number - 1
    reach = math.sqrt(number / (number - 1)) * scipy.stats.t.ppf(nominal, freedom)
    return float(scipy.stats.norm.cdf(reach))


Draw = tuple[Int[np.ndarray, "b l"], Int[np.ndarray, "b r l"], Float[np.ndarray, "b n"]]


@functools.lru_cache(maxsize=2)
def _draws(shape: tuple[int, int, int], sampled: Sampled, resamples: int) -> tuple[Draw, ...]:
    """Per batch of resamples: the drawn levels, the runs drawn on each, and the weights of the episodes.

    Always the same ones for a shape, so that arms and statistics meet the same resamples.
    """
    runs, levels, episodes = shape
    rng = np.random.default_rng(0)
    found = []
    for start in range(0, resamples, _BATCH):
        size = min(_BATCH, resamples - start)
        drawn = rng.integers(levels, size=(size, levels)) if sampled == "levels" else _all(size, levels)
        on_each = rng.integers(runs, size=(size, runs, levels)) if sampled != "episodes" else _all(size, runs, levels)
        weights = rng.multinomial(episodes, np.full(episodes, 1 / episodes), size=size) / episodes
        found.append((drawn, on_each, weights))
    return tuple(found)


def _all(size: int, number: int, repeated: int | None = None) -> Int[np.ndarray, "b ..."]:
    """Everything once, in every resample."""
    if repeated is None:
        return np.broadcast_to(np.arange(number), (size, number))
    return np.broadcast_to(np.arange(number)[:, None], (size, number, repeated))


def _resampled(
    values: Float[np.ndarray, "r l n"],
    drawn: Int[np.ndarray, "b l"],
    on_each: Int[np.ndarray, "b r l"],
    weights: Float[np.ndarray, "b n"],
) -> Float[np.ndarray, "b r l"]:
    """The matrices of runs and levels of a batch of resamples."""
    runs, levels, episodes = values.shape
    means = (weights @ values.reshape(-1, episodes).T).reshape(-1, runs, levels)
    return means[np.arange(len(means))[:, None, None], on_each, drawn[:, None, :]]
