"""Intervals of paired differences against published examples and hand computations, and how often they err."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from rtc.bench import calibration
from rtc.bench.calibration import Luck
from rtc.study import pairs, statistics
from rtc.study.questions import Comparison
from rtc.study.statistics import SOLVED, Interval

Z2 = scipy.stats.norm.ppf(0.975) ** 2


def counts(gains, losses, number):
    return np.repeat([1.0, -1.0, 0.0], [gains, losses, number - gains - losses])


@pytest.mark.parametrize(
    ("gains", "losses", "number", "expected"),
    [
        # Fagerland, Lydersen and Laake (2017), Statistical Analysis of Contingency Tables, chapter 8.
        (6, 16, 161, (-0.0621, -0.1240, -0.0054)),
        (1, 7, 21, (-0.2857, -0.5173, -0.0260)),
    ],
)
def test_published_score_intervals(gains, losses, number, expected):
    found = pairs.score_interval(gains, losses, number)
    assert (found.value, found.low, found.high) == pytest.approx(expected, abs=2e-4)
    mirrored = pairs.score_interval(losses, gains, number)
    assert (-mirrored.value, -mirrored.high, -mirrored.low) == pytest.approx((found.value, found.low, found.high))


def test_a_score_interval_where_the_equation_is_solved_by_hand():
    # No pair differs: q = 0 and n Δ² = z² Δ (1 - Δ), so Δ = z² / (n + z²). All are gains: q = (1 - Δ) / 2 and
    # n (1 - Δ)² = z² (1 - Δ²), so Δ = (n - z²) / (n + z²).
    assert pairs.score_interval(0, 0, 100).high == pytest.approx(Z2 / (100 + Z2))
    assert pairs.score_interval(0, 0, 100).low == pytest.approx(-Z2 / (100 + Z2))
    every = pairs.score_interval(100, 0, 100)
    assert (every.value, every.high, every.low) == (1.0, 1.0, pytest.approx((100 - Z2) / (100 + Z2)))
    assert pairs.score_interval(0, 3, 3).low == -1.0
    narrow = pairs.score_interval(6, 16, 161, confidence=0.5)
    assert pairs.score_interval(6, 16, 161).low < narrow.low < narrow.value < narrow.high < 0


def test_the_ends_of_a_score_interval_are_where_the_score_is():
    found = pairs.score_interval(6, 16, 161)
    ends = [pairs.tango_score(6, 16, 161, end) for end in (found.low, found.high)]
    assert ends == pytest.approx([math.sqrt(Z2), -math.sqrt(Z2)])
    assert pairs.tango_score(6, 16, 161, 0.0) == pytest.approx((6 - 16) / math.sqrt(6 + 16))
    assert pairs.tango_score(3, 0, 3, 1.0) == 0.0
    assert pairs.tango_score(2, 1, 3, 1.0) == -math.inf


def test_one_level_has_tangos_interval_and_mcnemars_test():
    test = pairs.score_test([counts(6, 16, 161)])
    expected = pairs.score_interval(6, 16, 161)
    assert (test.interval.low, test.interval.high) == pytest.approx((expected.low, expected.high))
    # Fagerland et al., the same table: the asymptotic McNemar test.
    assert test.p_value == pytest.approx(0.033006, abs=1e-6)
    assert pairs.score_test([np.zeros(9)]).p_value == 1.0


def test_levels_that_repeat_each_other_count_once():
    one = pairs.score_test([counts(6, 16, 161)])
    twelve = pairs.score_test([counts(6, 16, 161)] * 12)
    assert twelve.p_value == pytest.approx(one.p_value, rel=0.02)
    assert (twelve.interval.low, twelve.interval.high) == pytest.approx((one.interval.low, one.interval.high), abs=3e-4)
    nothing = pairs.score_test([np.zeros(100)] * 12).interval
    assert nothing.high == pytest.approx(Z2 / (100 + Z2)), "as wide as one level's where nothing was seen"


def test_levels_that_share_something_have_the_test_of_clustered_pairs():
    rng = np.random.default_rng(0)
    levels = calibration.thresholds(0.9, 6)
    for values in calibration.differences(rng, levels - 0.05, levels, 2000, Luck(arm=0.4), 3):
        sums = values.sum(axis=0)
        # Durkalski et al. (2003): the clusters' differences over the root of their sum of squares.
        score = sums.sum() / math.sqrt((sums**2).sum())
        test = pairs.score_test(list(values))
        assert test.p_value == pytest.approx(2 * scipy.stats.norm.sf(abs(score)), rel=0.02, abs=1e-6)
        normal = statistics.mean_over_levels(list(values))
        assert (test.interval.low, test.interval.high) == pytest.approx((normal.low, normal.high), rel=0.02, abs=2e-4)


def test_levels_that_cancel_by_chance_are_not_certain():
    gain = counts(1, 0, 100)
    cancelled = pairs.score_test([gain, -gain]).interval
    apart = pairs.score_test([gain, -np.roll(gain, 1)]).interval
    assert cancelled.high - cancelled.low == pytest.approx(apart.high - apart.low, rel=0.03)


def test_differences_of_differences_reach_to_two():
    one = pairs.score_test([counts(6, 16, 161)])
    two = pairs.score_test([2 * counts(6, 16, 161)], bound=2)
    assert two.p_value == pytest.approx(one.p_value)
    assert two.interval.low == pytest.approx(2 * one.interval.low)
    first = Comparison(("a", "x"), ("a", "y"))
    second = Comparison(("b", "x"), ("b", "y"), less=first)
    assert (first.bound, second.bound) == (1, 2)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: pairs.score_interval(0, 0, 0), "pairs=0"),
        (lambda: pairs.score_interval(-1, 0, 5), "gains=-1"),
        (lambda: pairs.score_interval(3, 3, 5), "losses=3"),
        (lambda: pairs.score_interval(1, 1, 5, confidence=1.0), "confidence=1.0"),
        (lambda: pairs.score_test([np.array([0.0, 2.0])]), "bound=1"),
        (lambda: pairs.score_test([np.array([0.0, 1.0])], bound=0), "bound=0"),
        (lambda: pairs.score_test([np.array([0.0, np.nan])]), "finite"),
        (lambda: pairs.score_test([np.zeros(2), np.zeros(3)]), r"\[2, 3\] episodes"),
        (lambda: pairs.score_test([]), "levels"),
        (lambda: pairs.score_test([np.zeros(3)], confidence=0.0), "confidence=0.0"),
        (lambda: pairs.pairing(np.zeros(2), np.zeros(3)), r"\[2, 3\] episodes"),
    ],
)
def test_what_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_one_place_says_what_tables_use():
    levels = [counts(1, 0, 100), counts(0, 3, 100)]
    assert pairs.table_test(SOLVED, levels) == pairs.score_test(levels)
    assert pairs.table_interval(SOLVED, levels) == pairs.score_test(levels).interval
    assert pairs.table_test(SOLVED, levels, 2) == pairs.score_test(levels, bound=2)
    assert pairs.table_test("mean_delay", levels) == pairs.paired_test(levels)
    some = [np.array([1.0, np.nan, 2.0])]
    assert pairs.table_interval("mean_delay", some) == statistics.bootstrap_mean(np.array([1.0, 2.0]))


def test_pairs_of_several_levels_are_not_taken_for_independent():
    """The same episodes on four levels say no more than on one; where a level lacks one, the others have it."""
    one = np.random.default_rng(0).normal(size=50)
    single = pairs.table_interval("mean_delay", [one])
    assert pairs.table_interval("mean_delay", [one] * 4) == pytest.approx(single)
    part = np.where(np.arange(50) < 10, np.nan, one)
    assert pairs.table_interval("mean_delay", [part, one]) == pytest.approx(single)
    with pytest.raises(ValueError, match=r"\[50, 49\] episodes"):
        pairs.table_interval("mean_delay", [one, one[1:]])


def test_what_pairing_buys():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 5000))
    correlation, factor = pairs.pairing(first, 0.6 * first + 0.8 * second)
    assert correlation == pytest.approx(0.6, abs=0.03)
    assert factor == pytest.approx(1 / (1 - 0.6), rel=0.05)
    assert pairs.pairing(np.array([0.0, 1.0]), np.array([0.0, 1.0])) == (pytest.approx(1.0), math.inf)
    assert math.isnan(pairs.pairing(np.zeros(2), np.array([0.0, 1.0]))[0])


def test_exact_error_rates_against_all_outcomes_of_a_few_pairs():
    gain, loss, number = 0.2, 0.4, 5
    expected = dict.fromkeys(calibration.ONE_LEVEL, 0.0)
    for outcome in itertools.product((1.0, -1.0, 0.0), repeat=number):
        values = np.array(outcome)
        chance = math.prod({1.0: gain, -1.0: loss, 0.0: 0.4}[one] for one in outcome)
        score = pairs.score_interval((values > 0).sum().item(), (values < 0).sum().item(), number)
        normal = statistics.mean_over_levels([values])
        for name, found in (("score", score), ("normal", normal)):
            expected[name] += chance * (not found.low - 1e-12 <= gain - loss <= found.high + 1e-12)
        expected["exact sign test"] += chance * (pairs.sign_test(values) != 0)
        means = np.array(list(itertools.product(outcome, repeat=number))).sum(axis=1)
        beyond = min((means <= number * (gain - loss) + 1e-9).mean(), (means >= number * (gain - loss) - 1e-9).mean())
        expected["percentile bootstrap"] += chance * (beyond < 0.025)
    assert calibration.error_rates(gain, loss, number) == pytest.approx(expected, abs=1e-6)


def test_resampled_tails_are_those_of_the_bootstrap_interval():
    values = counts(30, 12, 400)
    low = statistics.bootstrap_mean(values).low * 400
    gains, losses = np.array([30]), np.array([12])
    tails = [calibration.bootstrap_tails(gains, losses, 400, low + shift)[0][0] for shift in (-1.5, 1.5)]
    assert tails[0] < 0.025 < tails[1]
    both = calibration.bootstrap_tails(gains, losses, 400, 18.5)
    assert sum(tail[0] for tail in both) == pytest.approx(1.0)


def test_on_one_level_the_score_interval_holds_where_the_bootstrap_does_not():
    for rate in (0.5, 0.8, 0.95, 0.98, 0.995):
        for number in (128, 512):
            law = calibration.discordant(rate, 0.0, 0.3)
            error = calibration.error_rates(*law, number, {"score": calibration.score_misses})["score"]
            assert error < 0.055
            # Of fewer pairs that differ, no test makes 5 %: a result is too rare or too common.
            assert error > 0.04 or sum(law) * number < 6
    for rate, loss in ((0.995, 0.01), (0.995, 0.02), (0.98, 0.01)):
        errors = calibration.error_rates(*calibration.discordant(rate, loss, 0.05), 128)
        assert errors["score"] < 0.055
        assert errors["percentile bootstrap"] > 0.06
    assert calibration.error_rates(*calibration.discordant(0.995, 0.01, 0.05), 128)["percentile bootstrap"] > 0.12


@pytest.mark.parametrize("rate", [0.8, 0.995])
def test_over_levels_the_score_test_holds_where_the_bootstrap_does_not(rate):
    """A/A: the same solve rates, and episodes that share their luck on all levels."""
    levels, rng = calibration.thresholds(rate, 12), np.random.default_rng(1)
    samples = calibration.differences(rng, levels, levels, 128, Luck(episode=0.0, arm=0.5), 1000)
    misses = [calibration.level_misses(values, 0.0) for values in samples]
    shares = {name: np.mean([one[name] for one in misses]) for name in misses[0]}
    assert 0.03 < shares["score"] < 0.07
    assert shares["percentile bootstrap"] > 0.09


def test_simulated_arms_are_as_they_are_described():
    rng, levels = np.random.default_rng(0), calibration.thresholds(0.8, 4)
    assert scipy.stats.norm.cdf(levels).mean() == pytest.approx(0.8)
    weights = np.array([0.0, 1.0, 0.0, 1.0])
    worse = calibration.planted(levels, 0.05, weights)
    assert (scipy.stats.norm.cdf(levels) - scipy.stats.norm.cdf(worse)).mean() == pytest.approx(0.05)
    assert (worse == levels).tolist() == [True, False, True, False]
    (values,) = calibration.differences(rng, worse, levels, 40_000, Luck(), 1)
    assert values.mean() == pytest.approx(-0.05, abs=0.006)
    assert np.corrcoef(values)[0, 2] > 0.03, "levels share an arm's luck"
    gain, loss = calibration.discordant(0.9, 0.1, 0.25)
    assert loss - gain == pytest.approx(0.1)
    both = 0.8 - gain
    assert (both - 0.72) / math.sqrt(0.9 * 0.1 * 0.8 * 0.2) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: Luck(episode=0.6, pair=0.4), "leave something"),
        (lambda: calibration.planted(np.zeros(2), 0.9, np.ones(2)), "loss=0.9"),
        (lambda: calibration.discordant(0.999, 0.5, 0.9), "correlation=0.9"),
        (lambda: calibration.Population(0.9, effect=0.1, given=True), "effect=0.1"),
    ],
)
def test_impossible_arms_are_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_a_population_is_what_it_says():
    rng = np.random.default_rng(0)
    population = calibration.Population(0.85, effect=0.2, policy=0.2, loss=0.3)
    means = [population.draw(rng, 2, 8, 64, Luck()).values.mean() for _ in range(400)]
    assert np.mean(means) == pytest.approx(population.truth(8), abs=4 * np.std(means) / 20)
    given = calibration.Population(0.85, policy=0.2, loss=0.3, given=True)
    means = [given.draw(rng, 2, 8, 64, Luck()).values.mean() for _ in range(400)]
    assert np.mean(means) == pytest.approx(given.truth(8), abs=4 * np.std(means) / 20)
    assert Interval(0.0, 0.0, 0.0).excludes_zero is False
