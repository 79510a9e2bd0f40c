"""How often intervals of paired solve rates miss, on episodes whose true difference is known.

One level: exact probabilities, summed over all numbers of pairs that differ. Several levels: a model of episodes. An
arm solves an episode of a level where a normal variable is below a threshold, which is the level's difficulty; the
variable is the sum of what an episode shares everywhere, what a level adds to it for both arms, what an arm adds to it
on all levels (this is why levels are not independent), and what is the arm's and level's own.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.optimize
import scipy.stats
from jaxtyping import Bool, Float, Int
from scipy.special import ndtr, ndtri

from rtc.study import aggregates, pairs, statistics
from rtc.study.aggregates import Scores
from rtc.study.statistics import Interval

LIMIT = float(ndtri(0.975))
_NEGLIGIBLE = 1e-8  # probability of what sums leave out
_ROWS = 1000  # distributions at once
_BLOCK = 10_000_000  # normal variables at once (40 MB)

Counts = Int[np.ndarray, " k"]


@dataclass(frozen=True)
class Luck:
    """Shares of the variance of an episode's normal variable; the rest is the arm's and level's own.

    Attributes:
        episode: same on all levels, for both arms.
        pair: of a level, same for both arms.
        arm: of an arm, same on all levels.

    Raises:
        ValueError: shares are negative or leave nothing.
    """

    episode: float = 0.1
    pair: float = 0.3
    arm: float = 0.1

    def __post_init__(self) -> None:
        if min(self.episode, self.pair, self.arm) < 0 or self.own <= 0:
            raise ValueError(f"{self}: shares must be 0 or more and leave something of 1")

    @property
    def own(self) -> float:
        return 1 - self.episode - self.pair - self.arm


def thresholds(rate: float, levels: int, spread: float = 0.6) -> Float[np.ndarray, " l"]:
    """Levels of different difficulty whose solve rates have this mean; their thresholds spread like a normal sample."""
    offsets = spread * ndtri((np.arange(levels) + 0.5) / levels)
    centre = scipy.optimize.brentq(lambda c: ndtr(c + offsets).mean() - rate, -9, 9)
    return centre + offsets


def planted(reference: Float[np.ndarray, " l"], loss: float, weights: Float[np.ndarray, " l"]) -> np.ndarray:
    """Thresholds of a candidate whose mean solve rate is lower by `loss`: levels move in proportion to their weights.

    Raises:
        ValueError: no shift loses so much.
    """

    def excess(shift: float) -> float:
        return float((ndtr(reference) - ndtr(reference - shift * weights)).mean()) - loss

    if excess(9.0) < 0:
        raise ValueError(f"loss={loss} is more than these levels can lose")
    return reference - scipy.optimize.brentq(excess, 0.0, 9.0) * weights


def differences(
    rng: np.random.Generator,
    candidate: Float[np.ndarray, " l"],
    reference: Float[np.ndarray, " l"],
    episodes: int,
    luck: Luck,
    replications: int,
) -> Iterator[Float[np.ndarray, "l n"]]:
    """Candidate minus reference, 1, 0 or -1, of the same episodes on every level: once per replication."""
    levels = len(reference)
    size = max(1, min(replications, _BLOCK // (episodes * (3 * levels + 3))))
    for start in range(0, replications, size):
        number = min(size, replications - start)

        def normal(share: float, levels: int, number: int = number) -> Float[np.ndarray, "m l n"]:
            return np.float32(math.sqrt(share)) * rng.standard_normal((number, levels, episodes), np.float32)

        shared = normal(luck.episode, 1) + normal(luck.pair, levels)
        solved = [
            shared + normal(luck.arm, 1) + normal(luck.own, levels) < limits[:, None].astype(np.float32)
            for limits in (candidate, reference)
        ]
        yield from solved[0].astype(float) - solved[1]


def bootstrap_tails(
    gains: Counts, losses: Counts, number: int, total: float
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Probability that differences resampled from pairs add up to at most, and to at least, `total`.

    The percentile bootstrap without the error of a finite number of resamples. A resampled sum is one of `number`
    independent differences, whose distribution is a power of a discrete Fourier transform.
    """
    sums = gains - losses
    reach = np.abs(sums).max() + abs(total) + 9 * math.sqrt((gains + losses).max() + 9) + 9
    size = scipy.fft.next_fast_len(int(2 * reach), real=True)
    values = (np.arange(size) + size // 2) % size - size // 2
    low, high = [], []
    for start in range(0, len(gains), _ROWS):
        chosen = slice(start, start + _ROWS)
        law = np.zeros((len(gains[chosen]), size))
        law[:, 1], law[:, -1] = gains[chosen] / number, losses[chosen] / number
        law[:, 0] = 1 - law[:, 1] - law[:, -1]
        resampled = scipy.fft.irfft(scipy.fft.rfft(law, axis=1) ** number, size, axis=1)
        low.append(resampled[:, values <= total + 1e-9].sum(axis=1))
        high.append(resampled[:, values >= total - 1e-9].sum(axis=1))
    return np.concatenate(low), np.concatenate(high)


def bootstrap_misses(gains: Counts, losses: Counts, number: int, truth: float) -> Bool[np.ndarray, " k"]:
    """Whether the 95 % percentile bootstrap interval of the mean difference leaves out the truth."""
    return np.minimum(*bootstrap_tails(gains, losses, number, number * truth)) < 0.025


def normal_misses(gains: Counts, losses: Counts, number: int, truth: float) -> Bool[np.ndarray, " k"]:
    """The same of the normal interval, that of `statistics.mean_over_levels` on one level."""
    mean = (gains - losses) / number
    error = np.sqrt(((gains + losses) / number - mean**2) / (number - 1))
    return np.abs(mean - truth) > LIMIT * error + 1e-12


def score_misses(gains: Counts, losses: Counts, number: int, truth: float) -> Bool[np.ndarray, " k"]:
    """The same of `pairs.score_interval`, which is the set of differences that the score does not reject."""
    scores = [
        pairs.tango_score(gain, loss, number, truth) for gain, loss in zip(gains.tolist(), losses.tolist(), strict=True)
    ]
    return np.abs(scores) > LIMIT


def sign_misses(gains: Counts, losses: Counts, number: int, truth: float) -> Bool[np.ndarray, " k"]:
    """Whether the exact sign test (`pairs.sign_test`) finds a difference; of no use but where the truth is 0."""
    less = np.minimum(gains, losses)
    return (2 * scipy.stats.binom.cdf(less, gains + losses, 0.5) <= 0.05) & (gains != losses)


Misses = Callable[[Counts, Counts, int, float], Bool[np.ndarray, " k"]]
ONE_LEVEL: Mapping[str, Misses] = {
    "percentile bootstrap": bootstrap_misses,
    "normal": normal_misses,
    "score": score_misses,
    "exact sign test": sign_misses,
}


def error_rates(gain: float, loss: float, number: int, methods: Mapping[str, Misses] = ONE_LEVEL) -> dict[str, float]:
    """Exact probability that an interval of one level's paired difference leaves out the truth.

    Args:
        gain, loss: probability of a pair that the candidate alone, and that the reference alone solves.
        number: of pairs.
        methods: by name, whether they miss for given numbers of gains and losses.
    """
    first, second = (_likely(number, chance) for chance in (gain, loss))
    gains, losses = (axis.ravel() for axis in np.meshgrid(first, second, indexing="ij"))
    possible = gains + losses <= number
    gains, losses = gains[possible], losses[possible]
    law = scipy.stats.multinomial(number, [gain, loss, 1 - gain - loss])
    weights = law.pmf(np.stack([gains, losses, number - gains - losses], axis=1))
    kept = weights > _NEGLIGIBLE / len(weights)
    gains, losses, weights = gains[kept], losses[kept], weights[kept]
    return {
        name: float(weights @ misses(gains, losses, number, gain - loss)) / float(weights.sum())
        for name, misses in methods.items()
    }


def _likely(number: int, chance: float) -> Counts:
    """Counts that are not all but impossible."""
    law = scipy.stats.binom(number, chance)
    return np.arange(int(law.ppf(_NEGLIGIBLE)), int(law.isf(_NEGLIGIBLE)) + 1)


def discordant(rate: float, loss: float, correlation: float) -> tuple[float, float]:
    """Probabilities of a gain and a loss: a candidate that solves less by `loss`, and pairs correlated so far.

    Raises:
        ValueError: no two such arms have this correlation.
    """
    lower = rate - loss
    both = rate * lower + correlation * math.sqrt(rate * (1 - rate) * lower * (1 - lower))
    gain, fail = lower - both, rate - both
    if min(gain, fail, both, 1 - gain - fail - both) < 0:
        raise ValueError(f"correlation={correlation} is impossible between the rates {rate} and {lower}")
    return gain, fail


def level_misses(values: Float[np.ndarray, "l n"], truth: float) -> dict[str, bool]:
    """Whether 95 % intervals of the mean over levels leave out the truth: one sample of paired differences."""
    gains, losses = (np.array([int((values * sign > 0).sum())]) for sign in (1, -1))
    levels = list(values)
    return {
        "percentile bootstrap": bool(bootstrap_misses(gains, losses, values.size, truth)[0]),
        "normal": not _holds(statistics.mean_over_levels(levels), truth),
        "score": not _holds(pairs.score_test(levels).interval, truth),
    }


def _holds(interval: Interval, truth: float) -> bool:
    return interval.low - 1e-12 <= truth <= interval.high + 1e-12


@dataclass(frozen=True)
class Population:
    """Levels and training seeds that differ: standard deviations of thresholds.

    Attributes:
        rate: solve rate of a level of average difficulty.
        difficulty: between levels, of both arms.
        effect: between levels, of the candidate's loss.
        policy: between the policies of a level, of both arms; half as much again between their losses.
        loss: the candidate's loss on average, as a shift of thresholds.
        given: levels are the same in all experiments, and only policies and episodes are drawn.

    Raises:
        ValueError: levels are given whose losses are drawn.
    """

    rate: float
    difficulty: float = 0.6
    effect: float = 0.0
    policy: float = 0.0
    loss: float = 0.0
    given: bool = False

    def __post_init__(self) -> None:
        if self.given and self.effect:
            raise ValueError(f"effect={self.effect} draws losses of levels: leave it out, or given=True")

    def truth(self, levels: int) -> float:
        """The true difference in the mean over all policies: of all levels, or of so many that are given."""
        limits = self._given(levels) if self.given else ndtri([self.rate])
        reference = 1 + self.policy**2 + (0 if self.given else self.difficulty**2)
        candidate = reference + self.effect**2 + (self.policy / 2) ** 2
        return float((ndtr((limits - self.loss) / math.sqrt(candidate)) - ndtr(limits / math.sqrt(reference))).mean())

    def _given(self, levels: int) -> Float[np.ndarray, " l"]:
        return ndtri(self.rate) + self.difficulty * ndtri((np.arange(levels) + 0.5) / levels)

    def draw(self, rng: np.random.Generator, runs: int, levels: int, episodes: int, luck: Luck) -> Scores:
        """Paired differences of a sample of levels, or of the given ones, and of policies on each."""

        def normal(spread: float, *shape: int) -> Float[np.ndarray, "..."]:
            return spread * rng.standard_normal(shape)

        limits = self._given(levels) if self.given else ndtri(self.rate) + normal(self.difficulty, levels)
        losses = self.loss + normal(self.effect, levels)
        reference = limits + normal(self.policy, runs, levels)
        candidate = reference - losses - normal(self.policy / 2, runs, levels)
        shared = normal(luck.episode**0.5, 1, 1, episodes) + normal(luck.pair**0.5, runs, levels, episodes)
        solved = [
            shared + normal(luck.arm**0.5, 1, 1, episodes) + normal(luck.own**0.5, runs, levels, episodes)
            < limits[..., None]
            for limits in (candidate, reference)
        ]
        return Scores(solved[0].astype(float) - solved[1])

    def misses(self, scores: Scores, resamples: int) -> dict[str, bool]:
        """Whether 95 % intervals leave out the truth: one for drawn episodes alone, one for all that was drawn."""
        truth = self.truth(scores.values.shape[1])
        episodes = statistics.mean_over_levels(list(scores.values.mean(axis=0)))
        sampled = "policies" if self.given else "levels"
        everything = aggregates.interval(aggregates.mean, scores, sampled=sampled, resamples=resamples)
        return {"normal": not _holds(episodes, truth), "bootstrap": not _holds(everything, truth)}
