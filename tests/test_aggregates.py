"""Aggregates over runs and levels by hand, families of comparisons, and margins."""

import numpy as np
import pytest
import scipy.stats

from rtc.study import aggregates, families, margins, pairs
from rtc.study.aggregates import Scores
from rtc.study.margins import MarginFinding
from rtc.study.statistics import Interval

# Two runs of three levels.
SCORES = np.array([[0.1, 0.5, 0.9], [0.3, 0.7, 0.8]])
OTHER = np.array([[0.2, 0.5, 0.8], [0.2, 0.6, 0.85]])


def test_aggregates_by_hand():
    assert aggregates.mean(SCORES) == pytest.approx(3.3 / 6)
    # Levels' means over the runs are 0.2, 0.6 and 0.85.
    assert aggregates.median(SCORES) == pytest.approx(0.6)
    # Of six scores the smallest and the largest are left out: 0.3, 0.5, 0.7, 0.8.
    assert aggregates.interquartile_mean(SCORES) == pytest.approx(2.3 / 4)
    assert aggregates.interquartile_mean(np.arange(8.0).reshape(2, 4)) == pytest.approx((2 + 3 + 4 + 5) / 4)
    stacked = np.stack([SCORES, OTHER])
    for statistic in (aggregates.mean, aggregates.median, aggregates.interquartile_mean):
        assert statistic(stacked) == pytest.approx([float(statistic(SCORES)), float(statistic(OTHER))])


def test_probability_of_improvement_by_hand_and_by_mann_and_whitney():
    # Level 1: 0.1 beats none, 0.3 both: 2 of 4. Level 2: a tie with 0.5, then 0.7 beats both: 2.5. Level 3: 0.9 beats
    # both, 0.8 ties with 0.8: 2.5.
    found = aggregates.probability_of_improvement(SCORES, OTHER)
    assert found == pytest.approx((2 + 2.5 + 2.5) / 12)
    u = [scipy.stats.mannwhitneyu(x, y).statistic for x, y in zip(SCORES.T, OTHER.T, strict=True)]
    assert found == pytest.approx(np.mean(u) / 4)
    assert aggregates.probability_of_improvement(SCORES, SCORES) == pytest.approx(0.5)


def test_two_levels_resampled_by_hand():
    # Resampled means are a, (a + b) / 2, b; t with one degree of freedom asks for the outermost.
    scores = Scores.of_matrix(np.array([[0.2, 0.6]]))
    assert aggregates.interval(aggregates.mean, scores) == Interval(pytest.approx(0.4), 0.2, 0.6)
    inner = aggregates.interval(aggregates.mean, scores, confidence=0.2)
    assert (inner.low, inner.high) == (pytest.approx(0.4), pytest.approx(0.4))


def test_many_levels_have_students_interval():
    values = np.random.default_rng(0).normal(size=(1, 40))
    found = aggregates.interval(aggregates.mean, Scores.of_matrix(values))
    reach = scipy.stats.t.ppf(0.975, 39) * values.std(ddof=1) / np.sqrt(40)
    assert (found.high - found.low) / 2 == pytest.approx(reach, rel=0.03)


def test_what_is_given_is_not_resampled():
    rng = np.random.default_rng(0)
    levels, runs, episodes = (rng.normal(size=shape) for shape in ((1, 8, 1), (6, 8, 1), (1, 1, 400)))

    def width(values, sampled):
        found = aggregates.interval(aggregates.mean, Scores(values), sampled=sampled, resamples=2000)
        return found.high - found.low

    of_levels = np.broadcast_to(levels, (6, 8, 400))
    assert width(of_levels, "episodes") == pytest.approx(0, abs=1e-9)
    assert width(of_levels, "policies") == pytest.approx(0, abs=1e-9)
    assert width(of_levels, "levels") > 0.5
    of_runs = np.broadcast_to(runs, (6, 8, 400))
    assert width(of_runs, "episodes") == pytest.approx(0, abs=1e-9)
    expected = 2 * 1.96 * runs.std(axis=0, ddof=0).mean() / np.sqrt(48)
    assert width(of_runs, "policies") == pytest.approx(expected, rel=0.2)
    # Episodes that are the same on all levels are resampled together: their luck does not average out.
    of_episodes = np.broadcast_to(episodes, (6, 8, 400))
    assert width(of_episodes, "episodes") == pytest.approx(2 * 1.96 * episodes.std() / 20, rel=0.07)


def test_arms_are_resampled_together():
    scores = Scores(np.random.default_rng(0).integers(0, 2, (2, 5, 50)).astype(float))
    better = Scores(scores.values + 0.25)
    apart = aggregates.interval(lambda x, y: aggregates.mean(x) - aggregates.mean(y), better, scores)
    assert (apart.low, apart.high) == (pytest.approx(0.25), pytest.approx(0.25))
    improved = aggregates.interval(aggregates.probability_of_improvement, better, scores, resamples=500)
    assert 0.5 < improved.low <= improved.value <= improved.high <= 1
    again = aggregates.interval(aggregates.probability_of_improvement, better, scores, resamples=500)
    assert again == improved, "the generator is fixed"


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: Scores(np.zeros((2, 0, 3))), r"values of shape \(2, 0, 3\)"),
        (lambda: Scores(np.full((1, 2, 3), np.nan)), "values of shape .* finite"),
        (lambda: aggregates.interval(aggregates.mean, Scores.of_matrix(SCORES[:, :1])), "sampled='levels' needs"),
        (lambda: aggregates.interval(aggregates.mean, Scores.of_matrix(SCORES[:1]), sampled="policies"), "two runs"),
        (lambda: aggregates.interval(aggregates.mean, Scores.of_matrix(SCORES), sampled="episodes"), "two episodes"),
        (lambda: aggregates.interval(aggregates.mean, Scores.of_matrix(SCORES), resamples=3), "resamples=3"),
        (lambda: aggregates.interval(aggregates.mean, Scores.of_matrix(SCORES), confidence=1.5), "confidence=1.5"),
        (lambda: aggregates.interval(aggregates.mean), "scores have the shapes"),
        (
            lambda: aggregates.interval(aggregates.mean, Scores.of_matrix(SCORES), Scores.of_matrix(SCORES[:1])),
            "scores have the shapes",
        ),
    ],
)
def test_scores_that_are_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_smallest_difference_by_hand():
    # (z(0.975) + z(0.8)) * 0.1 / sqrt(100); of ten comparisons z(0.9975) = 2.807034.
    assert families.smallest_difference(0.1, 100) == pytest.approx((1.959964 + 0.841621) * 0.01, abs=1e-8)
    assert families.smallest_difference(0.1, 100, 10) == pytest.approx((2.807034 + 0.841621) * 0.01, abs=1e-8)
    for size in (1, 12, 500):
        smallest = families.smallest_difference(0.17, 512, size)
        assert families.chance(smallest, 0.17, 512, size) == pytest.approx(0.8)
        assert families.largest_family(smallest, 0.17, 512) == size
        assert families.episodes(smallest, 0.17, size) == 512
    assert families.largest_family(0.001, 0.17, 512) == 0
    assert families.largest_family(0.5, 0.17, 512) == 10**9


def test_a_family_finds_what_it_is_said_to():
    rng, spread, size, number = np.random.default_rng(0), 0.2, 8, 400
    loss = families.smallest_difference(spread, number, size)
    found = 0
    for _ in range(500):
        p_values = [pairs.paired_test([rng.normal(-loss, spread, number)]).p_value]
        p_values += [pairs.paired_test([rng.normal(0, spread, number)]).p_value for _ in range(size - 1)]
        found += families.holm(p_values)[0] <= 0.05
    assert found / 500 == pytest.approx(0.8, abs=0.06)


def test_episodes_that_do_not_pair_by_hand():
    # (z(0.975) + z(0.8))^2 (0.5 * 0.5 + 0.7 * 0.3) / 0.2^2 = 90.3.
    assert families.unpaired_spread(0.5, 0.7) == pytest.approx(np.sqrt(0.46))
    assert families.episodes(0.2, families.unpaired_spread(0.5, 0.7)) == 91
    assert families.episodes(0.9, 0.1) == 2


@pytest.mark.parametrize("rates", [(0.4, 0.6), (0.7, 0.9)])
def test_trials_of_so_many_episodes_find_the_difference(rates):
    rng, number = np.random.default_rng(0), families.episodes(0.2, families.unpaired_spread(*rates))
    one, other = (rng.random((600, number)) < rate for rate in rates)
    gains, losses = (other & ~one).sum(axis=1), (one & ~other).sum(axis=1)
    found = [pairs.score_interval(gain, loss, number).low > 0 for gain, loss in zip(gains, losses, strict=True)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.06)


def test_spread_by_hand():
    # Episodes' averages over the levels are 1, 0, -1, 0.
    levels = [np.array([1.0, 0.0, -1.0, 1.0]), np.array([1.0, 0.0, -1.0, -1.0])]
    assert families.spread(levels) == pytest.approx(np.sqrt(2 / 3))
    interval = pairs.paired_test(levels).interval
    assert (interval.high - interval.low) / 2 == pytest.approx(1.959964 * families.spread(levels) / 2)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: families.smallest_difference(0.0, 100), "spread=0.0"),
        (lambda: families.smallest_difference(0.1, 1), "episodes=1"),
        (lambda: families.smallest_difference(0.1, 100, 0), "comparisons=0"),
        (lambda: families.smallest_difference(0.1, 100, power=1.0), "power=1.0"),
        (lambda: families.largest_family(0.02, 0.1, 100, alpha=0.0), "alpha=0.0"),
        (lambda: families.largest_family(0.0, 0.1, 100), "difference=0.0"),
        (lambda: families.chance(-0.1, 0.1, 100), "difference=-0.1"),
        (lambda: families.episodes(0.0, 0.1), "difference=0.0"),
        (lambda: families.unpaired_spread(0.5, 1.1), "other=1.1"),
        (lambda: families.spread([np.ones(1)]), "at least two"),
    ],
)
def test_families_that_are_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()


@pytest.mark.parametrize(
    ("value", "reach", "text", "holds"),
    [
        (0.0, 0.01, "equivalent within 2 pp", True),
        (0.03, 0.01, "differs", True),
        (-0.03, 0.01, "differs", False),
        (-0.012, 0.005, "differs by less than 2 pp", True),
        (0.01, 0.03, "not told apart", True),
        (-0.01, 0.03, "not told apart", False),
    ],
)
def test_what_a_margin_allows_to_say(value, reach, text, holds):
    inner = Interval(value, value - 0.84 * reach, value + 0.84 * reach)
    found = MarginFinding(0.02, Interval(value, value - reach, value + reach), inner)
    assert found.describe(100, "pp") == text
    assert found.non_inferior() is holds
    mirrored = Interval(-value, -inner.high, -inner.low)
    outer = Interval(-value, -value - reach, -value + reach)
    assert MarginFinding(0.02, outer, mirrored).non_inferior(higher_is_better=False) is holds


def test_a_margin_is_judged_by_two_one_sided_tests():
    values = np.repeat([1.0, -1.0, 0.0], [30, 34, 2000])
    found = margins.judge_margin([values], 0.01)
    # Both tests of Tango's score at the margin, at 5 %.
    scores = [pairs.tango_score(30, 34, 2064, margin) for margin in (-0.01, 0.01)]
    assert found.equivalent is bool(scores[0] > 1.644854 and scores[1] < -1.644854)
    assert found.inner == pairs.score_test([values], confidence=0.9).interval
    assert found.describe() == "equivalent within 0.01"
    assert margins.judge_margin([values], 0.005).describe() == "not told apart"
    assert margins.judge_margin([values], 0.05).non_inferior()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: margins.judge_margin([np.zeros(5)], 0.0), "margin=0.0"),
        (lambda: MarginFinding(0.1, Interval(0.0, -0.1, 0.1), Interval(0.0, -0.2, 0.2)), "inner="),
    ],
)
def test_margins_that_are_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()
