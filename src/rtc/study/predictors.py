"""What predicts how much a method gains: rank correlations over policies, level by level.

A policy's gain is the paired difference of solve rates between a method and another one, both with that policy. What
may predict it are measures of the policy on its level (`rtc.study.spread`), which no solve rate is part of.
"""

import warnings
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import scipy.stats
from jaxtyping import Float, Int

from rtc.study import plan
from rtc.study.arguments import StudyArguments
from rtc.study.outcome import Outcome
from rtc.study.statistics import CONFIDENCE, SOLVED, Interval
from rtc.study.study import Arm

GAIN = "gain"
_LAST = "/last"
RESAMPLES = 2000


def gains(outcome: Outcome, args: StudyArguments, method: str, reference: str) -> pd.DataFrame:
    """Per profile, level and run of policies: the gain of a method at a constant delay.

    Args:
        outcome: the study's.
        args: how it was run.
        method: execution method of the candidates.
        reference: that of the references.

    Raises:
        ValueError: the study compares these methods nowhere at a constant delay.
    """
    arms, rows = {one.key: one for one in outcome.study.arms}, []
    for comparison in outcome.study.comparisons:
        candidate, other = arms[comparison.candidate], arms[comparison.reference]
        run = plan.run_of(other, args)
        fits = _delayed(candidate, method) and _delayed(other, reference) and plan.run_of(candidate, args) == run
        if not fits or comparison.less or not outcome.complete(*comparison.arms):
            continue
        for level in outcome.levels:
            gain = outcome.pairs(comparison, SOLVED, level).mean()
            rows.append({"profile": other.profile, "level": level, "run": run, GAIN: gain})
    if not rows:
        raise ValueError(
            f"{outcome.study.name} has no finished comparison of {method} with {reference} at a constant delay: choose "
            "another study, or finish this one"
        )
    return pd.DataFrame(rows)


def _delayed(one: Arm, method: str) -> bool:
    """Whether an arm executes a method as it is by default, at a constant delay above 0."""
    profile, options = one.config.delay_profile, one.config.method_options.given()
    plain = not {name: value for name, value in options.items() if (name, value) != ("noise_scale", 1.0)}
    return one.config.method == method and plain and profile.mode == "fixed" and bool(profile.fixed_delay)


def trainings(runs: Iterable[str]) -> list[str]:
    """The runs of policies without those that are the last weights of another's training."""
    return list(dict.fromkeys(map(_training, runs)))


def correlations(
    found: pd.DataFrame, measures: Sequence[str], resamples: int = RESAMPLES
) -> dict[tuple[str, str], Interval]:
    """By profile and measure: the mean over levels of Spearman's correlation with the gain, over policies.

    The intervals resample policies; those that are two sets of weights of one training stay together. A level where the
    measure or the gain is the same for all policies does not count.

    Args:
        found: from `gains`, with a column per measure.
        measures: the columns.
        resamples: bootstrap resamples.

    Raises:
        ValueError: trainings have different numbers of sets of weights.
    """
    rng, result = np.random.default_rng(0), {}
    for profile, rows in found.groupby("profile", sort=False):
        runs = sorted(rows["run"].unique())
        places = [[i for i, run in enumerate(runs) if _training(run) == name] for name in trainings(runs)]
        if len(set(map(len, places))) > 1:
            raise ValueError(f"runs={runs}: give every training as many sets of weights")
        # The first row is what was measured.
        drawn = np.vstack([np.arange(len(places)), rng.integers(0, len(places), (resamples, len(places)))])
        chosen = np.array(places)[drawn].reshape(len(drawn), -1)
        by_level = [level.set_index("run").loc[runs] for _, level in rows.groupby("level", sort=False)]
        for measure in measures:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # levels and draws without a correlation
                values = np.nanmean([_ranked(level, measure, chosen) for level in by_level], axis=0)
                low, high = np.nanquantile(values[1:], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
            result[str(profile), measure] = Interval(float(values[0]), float(low), float(high))
    return result


def _training(run: str) -> str:
    return run.removesuffix(_LAST)


def _ranked(level: pd.DataFrame, measure: str, chosen: Int[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
    """Spearman's correlation of a measure with the gain on one level, for every choice of policies."""
    x, y = (scipy.stats.rankdata(level[name].to_numpy()[chosen], axis=1) for name in (measure, GAIN))
    x, y = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (x, y))
    spread = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    missing = np.isnan(level[measure].to_numpy()).any()
    return np.where((spread > 0) & ~missing, (x * y).sum(axis=1) / np.where(spread > 0, spread, 1), np.nan)
