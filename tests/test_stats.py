"""Intervals against hand computations, and the verdict in each of its outcomes."""

import dataclasses
import math

import numpy as np
import pytest
import scipy.stats

from rtc.delay import profiles
from rtc.study import statistics, verdicts
from rtc.study.statistics import Interval
from rtc.study.verdicts import SeedMetrics


def close(interval: Interval, rel: float = 1e-6) -> Interval:
    """Equal to it up to rounding, or to a share of its numbers."""
    return Interval(*(pytest.approx(number, rel=rel) for number in dataclasses.astuple(interval)))


WORKS = Interval(0.8, 0.75, 0.85)


def test_wilson_by_hand():
    # centre = (p + z^2/2n) / (1 + z^2/n), half = z sqrt(p(1-p)/n + z^2/4n^2) / (1 + z^2/n), z = 1.959964
    interval = statistics.wilson(8, 10)
    assert interval.value == 0.8
    assert interval.low == pytest.approx(0.490162, abs=1e-5)
    assert interval.high == pytest.approx(0.943318, abs=1e-5)
    z2 = scipy.stats.norm.ppf(0.975) ** 2
    nothing = statistics.wilson(0, 256)
    assert nothing.low == pytest.approx(0, abs=1e-12)
    assert nothing.high == pytest.approx(z2 / (256 + z2))


@pytest.mark.parametrize(("successes", "total"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_rejects(successes, total):
    with pytest.raises(ValueError, match="successes"):
        statistics.wilson(successes, total)


def test_the_rate_over_levels_is_wilsons_at_the_effective_number_of_episodes():
    one = np.array([1.0] * 8 + [0.0] * 2)
    assert statistics.rate_over_levels([one]) == close(statistics.wilson(8, 10))
    # Levels that fail together say no more than one; the numbers of levels with rates of their own add up.
    assert statistics.rate_over_levels([one, one]) == close(statistics.wilson(8, 10), 0.02)
    apart = statistics.rate_over_levels([one, np.roll(one, 5)])
    assert apart.high - apart.low < 0.8 * (statistics.wilson(8, 10).high - statistics.wilson(8, 10).low)
    # Without any spread the interval is that of one level, and ends at 1.
    assert statistics.rate_over_levels([np.ones(10)] * 3) == close(statistics.wilson(10, 10))
    with pytest.raises(ValueError, match="levels hold 0 to 2"):
        statistics.rate_over_levels([np.array([0.0, 2.0])])


def test_the_rate_over_levels_holds_its_level_near_one():
    """Ten tasks of ten episodes, nine of them easy: the normal interval is too short, and ends above 1."""
    rng, rates = np.random.default_rng(0), np.array([0.99] * 9 + [0.7])
    samples = (rng.random((2000, 10, 10)) < rates[:, None]).astype(float)
    found = [statistics.rate_over_levels(list(sample)) for sample in samples]
    normal = [statistics.mean_over_levels(list(sample)) for sample in samples]
    covers = [np.mean([one.low <= rates.mean() <= one.high for one in its]) for its in (found, normal)]
    assert covers[0] >= 0.94
    assert covers[0] > covers[1]
    assert max(one.high for one in found) <= 1 < max(one.high for one in normal)


def test_bootstrap_matches_the_normal_interval_on_many_values():
    values = np.random.default_rng(1).normal(3.0, 2.0, 2000)
    interval = statistics.bootstrap_mean(values)
    half = 1.96 * values.std() / math.sqrt(values.size)
    assert interval.value == values.mean()
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert statistics.bootstrap_mean(values) == interval, "the generator is fixed"


def test_bootstrap_of_two_values_by_hand():
    # Resample means of (0, 1) are 0, 1/2, 1 with probabilities 1/4, 1/2, 1/4.
    assert statistics.bootstrap_mean(np.array([0.0, 1.0])) == Interval(0.5, 0.0, 1.0)
    assert statistics.bootstrap_mean(np.array([0.0, 1.0]), confidence=0.4) == Interval(0.5, 0.5, 0.5)


def test_degenerate_data():
    assert statistics.bootstrap_mean(np.full(7, 0.3)) == Interval(pytest.approx(0.3), *[pytest.approx(0.3)] * 2)
    assert statistics.bootstrap_mean(np.zeros(5)) == Interval(0.0, 0.0, 0.0)
    single = statistics.bootstrap_mean(np.array([2.0]))
    assert single.value == 2.0
    assert math.isnan(single.low)
    assert math.isnan(single.high)
    for bad in (np.array([]), np.array([1.0, math.nan])):
        with pytest.raises(ValueError, match="finite"):
            statistics.bootstrap_mean(bad)


def test_a_bootstrap_of_differences_is_scipys_paired_bootstrap():
    rng = np.random.default_rng(2)
    shared = rng.normal(0, 5, 300)
    reference, candidate = shared + rng.normal(0, 0.1, 300), shared + 0.2 + rng.normal(0, 0.1, 300)
    interval = statistics.bootstrap_mean(candidate - reference)
    expected = scipy.stats.bootstrap(
        (candidate, reference),
        lambda a, b, axis: a.mean(axis) - b.mean(axis),
        paired=True,
        method="percentile",
        n_resamples=10_000,
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert interval.high - interval.low < 0.1, "the shared spread of 5 cancels"
    assert interval.excludes_zero


def test_seed_std_by_hand():
    assert statistics.seed_std([0.2, 0.4, 0.6]) == pytest.approx(0.2)
    assert math.isnan(statistics.seed_std([0.2]))


def judge(
    solved_before=(0.5, 0.7),
    solved_after=(0.5, 0.7),
    d_p99=2.0,
    p_violate=0.0,
    baseline=WORKS,
    episodes=512,
    capped=False,
):
    long_tail = SeedMetrics([4.0, 4.0], [0.04, 0.06], solved_before, 512)
    controlled = SeedMetrics([d_p99] * 2, [p_violate] * 2, solved_after, episodes)
    return verdicts.judge_tail_control(long_tail, controlled, baseline, capped=capped)


def test_verdict_passes():
    verdict = judge()
    assert verdict.passed
    assert verdict.conclusive
    assert not verdict.reason
    assert [check.passed for check in verdict.checks] == [True] * 3
    d_p99, p_violate, solved = verdict.checks
    assert (d_p99.reference, d_p99.candidate) == (4.0, 2.0)
    assert p_violate.reference == pytest.approx(0.05)
    # std of (0.5, 0.7) with ddof=1 is sqrt(0.02) = 0.1414
    assert solved.limit == pytest.approx(0.6 - math.sqrt(0.02))


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        ({"d_p99": 4.0}, 0),
        ({"p_violate": 0.05}, 1),
        ({"solved_after": (0.45, 0.46)}, 2),
        ({"solved_before": (0.6, 0.6), "solved_after": (0.6, 0.59)}, 2),
    ],
)
def test_verdict_fails(change, failing):
    verdict = judge(**change)
    assert verdict.conclusive
    assert not verdict.passed
    assert [check.passed for check in verdict.checks] == [index != failing for index in range(3)]


def test_what_holds_by_construction_is_no_evidence():
    verdict = judge(capped=True)
    assert [check.by_construction for check in verdict.checks] == [True, True, False]
    assert verdict.passed
    assert not judge(capped=True, solved_after=(0.45, 0.46)).passed
    # A cap that caps nothing shows that something is wrong.
    assert not judge(capped=True, d_p99=4.0).passed


def test_a_profile_caps_another():
    capped, tail = (profiles.PROFILES[name] for name in ("tail_controlled", "long_tail"))
    assert verdicts._caps(capped, tail)
    assert not verdicts._caps(tail, capped)
    assert not verdicts._caps(capped, profiles.PROFILES["heavy"])


def test_solve_rate_just_above_the_limit_passes():
    assert judge(solved_after=(0.46, 0.46)).passed
    assert judge(solved_before=(0.1, 0.1), solved_after=(0.3 - 0.2, 0.1)).passed


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"baseline": None}, "missing"),
        ({"baseline": statistics.wilson(0, 256)}, "0.0% of the episodes at zero delay"),
        ({"baseline": statistics.wilson(0, 20)}, "0.0% of the episodes"),
        ({"baseline": statistics.wilson(5, 256)}, "2.0% of the episodes"),
        ({"solved_before": (0.5,), "solved_after": (0.5,)}, "two seeds"),
        ({"episodes": 99}, "99 episodes per profile are too few: at least 100"),
    ],
)
def test_verdict_refuses_a_conclusion(change, reason):
    verdict = judge(**change)
    assert not verdict.conclusive
    assert not verdict.passed
    assert reason in verdict.reason


def test_a_weak_but_working_baseline_allows_a_conclusion():
    assert judge(baseline=statistics.wilson(20, 256)).conclusive
    assert judge(baseline=statistics.wilson(1, 20)).conclusive
