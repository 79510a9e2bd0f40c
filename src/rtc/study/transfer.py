"""Whether worlds agree on methods: rank correlations between worlds, and differences that both show."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.stats
from jaxtyping import Float

from rtc import methods
from rtc.shared import tables
from rtc.shared.files import PathLike
from rtc.shared.paths import shipped
from rtc.study import agreement, archive, pairs
from rtc.study.statistics import CONFIDENCE, SOLVED, Interval, Vector

RESAMPLES = 2000
FEWEST_LEVELS = 3
# Of correlated ranks.
FEWEST_METHODS = 3
# A constant delay in ticks, or the name of a profile of random ones.
Condition = int | str
SAME, OPPOSITE, OPEN = "same sign in both", "opposite signs", "not told apart in one or both"


@dataclass(frozen=True)
class Place:
    """Where a world's outcomes are.

    Attributes:
        name: of the world, for tables.
        root: folder of the study, which has its archive.
        profile: name of the profile at a constant delay of {d} ticks, where {s} is max(d, 1), or with {profile} for
            random delays.
    """

    name: str
    root: PathLike
    profile: str

    def below(self, folder: PathLike) -> "Place":
        """The same in another folder of studies."""
        return dataclasses.replace(self, root=Path(folder) / self.root)

    def outcomes(self, condition: Condition) -> "Outcomes":
        """What methods did under a condition: those that all levels have, on the seeds that all of them have.

        Raises:
            ValueError: the archive is damaged.
        """
        said = {"profile": condition} if isinstance(condition, str) else {"d": condition, "s": max(condition, 1)}
        wanted = self.profile.format(**said)
        found: dict[str, dict[str, dict[int, Vector]]] = {}
        for cell, data in archive.read(self.root).cells.items():
            if cell.profile == wanted:
                solved = data.episodes[SOLVED].to_numpy(float)
                found.setdefault(cell.method, {}).setdefault(cell.level, {})[cell.seed] = solved
        levels = sorted({level for its in found.values() for level in its})
        whole = {method: its for method, its in found.items() if len(its) == len(levels)}
        seeds = [set(of_level) for its in whole.values() for of_level in its.values()]
        common = sorted(set.intersection(*seeds)) if seeds else []
        return Outcomes(
            tuple(levels),
            {
                method: tuple(np.concatenate([its[level][seed] for seed in common]) for level in levels)
                for method, its in whole.items()
                if common
            },
        )


# Of the studies in exp_runs/ by their folders: at constant delays, and under random ones.
WORLDS = (
    Place("Kinetix", "delay_sweep", "d{d}_s{s}"),
    Place("LIBERO-Spatial", "study_libero_delay", "delay_{d}"),
    Place("Gymnasium", "study_gymnasium", "delay_{d}"),
)
RANDOM_WORLDS = (
    Place("Kinetix", "study_beat_the_delay", "{profile}"),
    Place("LIBERO-Spatial", "study_libero_profiles", "{profile}"),
)
# Of all their policies.
CHUNK = 8
REFERENCE = "naive"
DELAYS = (1, 2, 4)
PROFILES = ("long_tail", "tail_controlled", "burst", "heavy", "vla")


@dataclass(frozen=True)
class Outcomes:
    """What the methods did in a world under one condition.

    Attributes:
        levels: names of the levels.
        solved: by method, per level: whether each episode was solved, in the same order for all methods.
    """

    levels: tuple[str, ...]
    solved: Mapping[str, tuple[Vector, ...]]

    def scores(self, methods: Sequence[str]) -> Float[np.ndarray, "l m"]:
        """Solve rates by level and method."""
        return np.array([[values.mean() for values in self.solved[method]] for method in methods]).T

    def difference(self, method: str, reference: str) -> Interval:
        """Of the mean solve rates, paired by episode."""
        both = zip(self.solved[method], self.solved[reference], strict=True)
        return pairs.score_test([one - other for one, other in both]).interval

    @property
    def possible(self) -> list[str]:
        """The methods that a robot could run: registered under their own names, and not privileged."""
        return [name for name in self.solved if name in methods.METHODS and not methods.make(name).privileged]

    @property
    def agreement(self) -> Interval:
        """Mean Spearman correlation between the levels of the ranks of `possible` methods; NaN for fewer than three."""
        if len(self.possible) < FEWEST_METHODS:
            return Interval(math.nan, math.nan, math.nan)
        return agreement.spearman_interval(self.scores(self.possible))


def rank_correlation(
    one: Float[np.ndarray, "l m"], other: Float[np.ndarray, "k m"], confidence: float = CONFIDENCE
) -> Interval:
    """Spearman's correlation between two worlds of the methods' mean scores.

    The interval is a percentile bootstrap over the levels of both worlds, which are resampled apart: it says how far
    other levels of such worlds could move the correlation, and nothing on other methods. NaN where a world gives all
    methods the same mean; NaN bounds where one has fewer than three levels.

    Args:
        one, other: by level and method; the same methods in the same order.
    """
    rng = np.random.default_rng(0)
    value = float(_spearman(one.mean(axis=0)[None], other.mean(axis=0)[None])[0])
    if math.isnan(value) or min(len(one), len(other)) < FEWEST_LEVELS:
        return Interval(value, math.nan, math.nan)
    drawn = [_drawn_means(scores, rng) for scores in (one, other)]
    found = _spearman(*drawn)
    low, high = np.nanquantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high))


def _drawn_means(scores: Float[np.ndarray, "l m"], rng: np.random.Generator) -> Float[np.ndarray, "b m"]:
    return scores[rng.integers(0, len(scores), (RESAMPLES, len(scores)))].mean(axis=1)


def _spearman(one: Float[np.ndarray, "b m"], other: Float[np.ndarray, "b m"]) -> Float[np.ndarray, " b"]:
    ranks = [scipy.stats.rankdata(means, axis=1) for means in (one, other)]
    centred = [rank - rank.mean(axis=1, keepdims=True) for rank in ranks]
    size = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        return np.where(size > 0, (centred[0] * centred[1]).sum(axis=1) / size, math.nan)


def shown(correlation: Interval) -> str:
    """A correlation with its interval."""
    return tables.interval(*dataclasses.astuple(correlation), 2)


def verdict(one: Interval, other: Interval) -> str:
    """Whether two worlds' differences say the same."""
    if not (one.excludes_zero and other.excludes_zero):
        return OPEN
    return SAME if (one.value > 0) == (other.value > 0) else OPPOSITE


@dataclass(frozen=True)
class Transfer:
    """Two worlds under one condition.

    Attributes:
        places: the worlds.
        outcomes: what methods did in each.
        reference: the method that the others are held against.
    """

    places: tuple[Place, Place]
    outcomes: tuple[Outcomes, Outcomes]
    reference: str = REFERENCE

    @classmethod
    def at(cls, places: tuple[Place, Place], condition: Condition) -> "Transfer":
        """At a constant delay in ticks, or under a profile."""
        return cls(places, (places[0].outcomes(condition), places[1].outcomes(condition)))

    @property
    def methods(self) -> list[str]:
        """Those that both worlds have, in the first one's order from best to worst."""
        one, other = self.outcomes
        common = [method for method in one.solved if method in other.solved]
        means = {method: one.scores([method]).mean() for method in common}
        return sorted(common, key=lambda method: -means[method])

    @property
    def correlation(self) -> Interval:
        """Of the methods' ranks; NaN for fewer than three methods."""
        names = self.methods
        if len(names) < FEWEST_METHODS:
            return Interval(math.nan, math.nan, math.nan)
        return rank_correlation(*(outcomes.scores(names) for outcomes in self.outcomes))

    def differences(self) -> dict[str, tuple[Interval, Interval]]:
        """By method: what it solves more than the reference, in each world."""
        names = [name for name in self.methods if name != self.reference]
        if self.reference not in self.methods:
            return {}
        one, other = self.outcomes
        return {name: (one.difference(name, self.reference), other.difference(name, self.reference)) for name in names}


def compared(places: Sequence[Place], conditions: Sequence[Condition]) -> list[tuple[Condition, Transfer]]:
    """All pairs of worlds that have three methods in common under a condition, with it.

    Raises:
        ValueError: an archive is damaged.
    """
    found = [(one, Transfer.at(pair, one)) for one in conditions for pair in itertools.combinations(places, 2)]
    return [(condition, one) for condition, one in found if len(one.methods) >= FEWEST_METHODS]


def shipped_worlds() -> list[tuple[Condition, Transfer]]:
    """What comes with the project, at constant delays and then under random ones; nothing in an installed package.

    Raises:
        ValueError: an archive is damaged.
    """
    groups = ((WORLDS, DELAYS), (RANDOM_WORLDS, PROFILES))
    return [
        one
        for places, conditions in groups
        for one in compared([place.below(shipped("exp_runs")) for place in places], conditions)
    ]
