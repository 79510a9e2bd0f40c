"""The laws of delay: what they sample, what their streams depend on, and the deadline that none of them meets."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from rtc.delay import DelayProfileConfig, laws, profiles, sampling

TABLE = {"mode": "mixture", "base_delays": (0, 1, 3), "base_probs": (0.7, 0.2, 0.1), "p_spike": 0.05, "d_spike": 9}
MIXTURE = DelayProfileConfig(**TABLE)


@partial(jax.jit, static_argnames="count")
def draws(process, key, count):
    def query(stream, _):
        draw, stream = sampling.sample(process, stream)
        return stream, draw

    return jax.lax.scan(query, sampling.init(key), length=count)[1]


def draw(config, *, key=0, count=20_000):
    """The first `count` delays of one stream."""
    compiled = min(size for size in (1, 4000, 20_000) if size >= count)  # few sizes, few compilations
    return np.asarray(draws(sampling.make_process(config), jax.random.key(key), compiled).delay)[:count]


def assert_share(occurred, probability):
    """A share of independent events, to five standard errors."""
    error = np.sqrt(probability * (1 - probability) / len(occurred))
    assert abs(np.mean(occurred) - probability) <= 5 * error


def test_fixed_is_constant():
    assert set(draw(DelayProfileConfig(fixed_delay=3), count=100)) == {3}


def test_mixture_has_its_law():
    sample = draw(MIXTURE)
    expected = {0: 0.7 * 0.95, 1: 0.2 * 0.95, 3: 0.1 * 0.95, 9: 0.05}
    assert set(sample) == set(expected)
    for delay, probability in expected.items():
        assert_share(sample == delay, probability)


def test_long_tail_is_the_protocol():
    sample = draw(profiles.PROFILES["long_tail"])
    shares = [np.mean(sample == d) for d in (0, 1, 4)]
    np.testing.assert_allclose(shares, [0.855, 0.095, 0.05], atol=0.01)


def test_cap_is_the_same_stream_cut_off():
    long_tail, capped = (draw(profiles.PROFILES[name]) for name in ("long_tail", "tail_controlled"))
    np.testing.assert_array_equal(capped, np.minimum(long_tail, 2))
    assert capped.max() == 2


def test_zero_probability_entries_never_occur():
    config = DelayProfileConfig(mode="mixture", base_delays=(0, 5, 1), base_probs=(0.5, 0.0, 0.5))
    assert set(draw(config)) == {0, 1}
    trailing = DelayProfileConfig(mode="mixture", base_delays=(0, 5), base_probs=(1.0, 0.0))
    assert set(draw(trailing)) == {0}


def test_a_delay_depends_on_its_index_alone():
    """Without bursts, the k-th delay of a stream does not depend on the delays before it."""
    process = sampling.make_process(MIXTURE)
    jumped = sampling.init(jax.random.key(0))._replace(index=jnp.int32(7), spiking=jnp.array(True))
    assert int(sampling.sample(process, jumped)[0].delay) == draw(MIXTURE)[7]


def test_bursts_have_their_marginal_law_and_their_length():
    config = profiles.PROFILES["burst"]
    sample = np.stack([draw(config, key=key, count=4000) for key in range(20)])
    spikes = sample == 4
    # 80,000 dependent delays hold about 800 bursts; a share is known to about 5 % of itself.
    np.testing.assert_allclose(spikes.mean(), 0.05, rtol=0.2)
    assert_share(spikes[:, 1:][spikes[:, :-1]], 0.8)
    assert_share(spikes[:, 1:][~spikes[:, :-1]], 0.05 / 0.95 / 5)
    assert_share(sample[~spikes] == 1, 0.1)
    first = np.array([draw(config, key=key, count=1)[0] for key in range(400)])
    assert_share(first == 4, 0.05)


def streams(config, count, number=200):
    """The first delays of many streams, a row each."""
    process = sampling.make_process(config)
    return np.asarray(
        jax.vmap(lambda key: draws(process, key, count).delay)(jax.random.split(jax.random.key(0), number))
    )


def test_a_step_is_for_good_and_after_25_queries_on_average():
    sample = streams(profiles.PROFILES["step"], 400)
    assert set(np.unique(sample)) == {1, 4}
    assert (sample[:, 0] == 1).all()
    assert (np.diff(sample, axis=1) >= 0).all()
    before = (sample == 1).sum(axis=1)
    # The first query is never late: 1 more than a geometric number of failures, with mean and deviation 24 and 24.5.
    assert before.mean() == pytest.approx(25, abs=5 * 24.5 / np.sqrt(len(before)))


def test_a_warm_up_is_at_the_start_alone():
    sample = streams(profiles.PROFILES["warm_up"], 100)
    assert set(np.unique(sample)) == {1, 6}
    assert (sample[:, 0] == 6).all()
    assert (np.diff(sample, axis=1) <= 0).all()
    # Geometric with p = 1/2: mean 2, standard deviation the root of 2.
    assert (sample == 6).sum(axis=1).mean() == pytest.approx(2, abs=5 * np.sqrt(2 / len(sample)))


def test_a_regime_that_starts_at_its_share_is_a_markov_chain():
    chain = {"base_delays": (0, 1), "base_probs": (0.9, 0.1), "d_spike": 4, "p_burst_start": 0.1, "p_burst_end": 0.3}
    plain, same = (
        DelayProfileConfig(mode="markov", **chain),
        DelayProfileConfig(mode="regime", **chain, p_burst_first=0.25),
    )
    np.testing.assert_array_equal(draw(plain, count=4000), draw(same, count=4000))


def test_a_step_that_no_query_survives_is_refused():
    down = {"mode": "regime", "base_delays": (4,), "d_spike": 1, "p_burst_start": 0.2, "p_burst_end": 0.0}
    assert set(draw(DelayProfileConfig(**down, deadline=2), count=200)) == {1, 4}  # abandoned until the step, then not
    with pytest.raises(ValueError, match="smallest delay of this 'regime' profile, 4 ticks: no query would ever"):
        dataclasses.replace(profiles.PROFILES["step"], deadline=3)


def test_a_drift_goes_up_and_down_by_one_tick_from_places_of_its_own():
    config = DelayProfileConfig(mode="drift", d_low=1, d_high=3, drift_queries=2)
    cycle = [1, 1, 2, 2, 3, 3, 2, 2]
    sample = streams(config, 16, 100)
    starts = set()
    for row in sample.tolist():
        places = [start for start in range(8) if row == (2 * cycle + cycle)[start : start + 16]]
        assert len(places) == 1
        starts.update(places)
    assert starts == set(range(8))


@pytest.mark.parametrize("correlation", [0.0, 0.5, 1.0])
def test_copies_in_a_shared_state_are_late_together(correlation):
    """A copy is late with p = 0.2; both copies with p (r + (1 - r) p), r the correlation of their being late."""
    late, share = 0.2, correlation + (1 - correlation) * 0.2
    shared = {"p_burst_start": late / share, "p_burst_end": 1 - late / share, "drop_spike_prob": 1 - share}
    config = DelayProfileConfig(mode="markov", d_spike=5, **shared)
    one, two = (draw(dataclasses.replace(config, hedge=copies)) == 5 for copies in (1, 2))
    assert_share(one, late)
    assert_share(two, late * share)
    assert_share(two[one], share)


@pytest.mark.parametrize(
    ("config", "law"),
    [
        (
            DelayProfileConfig(mode="lognormal", median_ms=40.0, sigma=0.8, dt_ms=20.0),
            scipy.stats.lognorm(0.8, scale=40),
        ),
        (DelayProfileConfig(mode="pareto", scale_ms=15.0, alpha=1.5, dt_ms=10.0), scipy.stats.pareto(1.5, scale=15)),
    ],
)
def test_latency_laws_are_rounded_up_to_ticks(config, law):
    sample = draw(config)
    for ticks in range(8):
        assert_share(sample <= ticks, law.cdf(ticks * config.dt_ms))
    assert sample.min() == (2 if config.mode == "pareto" else 1)


def test_a_latency_without_spread_is_its_median():
    assert set(draw(DelayProfileConfig(mode="lognormal", median_ms=50.0, sigma=0.0, dt_ms=20.0), count=50)) == {3}


def test_hedging_takes_the_fastest_of_independent_copies():
    hedged = draw(dataclasses.replace(MIXTURE, hedge=3))
    plain = draw(MIXTURE)
    assert (hedged <= plain).all()
    for delay in (0, 1, 3):
        assert_share(hedged > delay, (1 - share_up_to(delay)) ** 3)


def share_up_to(delay):
    """P(d <= delay) of MIXTURE."""
    base = {0: 0.7, 1: 0.9, 3: 1.0}[delay]
    return 0.95 * base


def test_hedging_does_not_escape_a_burst():
    config = profiles.PROFILES["burst"]
    assert_same = np.testing.assert_array_equal
    assert_same(draw(dataclasses.replace(config, hedge=4)) == 4, draw(config) == 4)


def test_hedged_replays_start_at_places_of_their_own(trace):
    path = trace([10.0] * 9 + [90.0])
    config = DelayProfileConfig(mode="trace", trace_path=path, trace_order="replay", dt_ms=10.0)
    assert (draw(config, count=100) == 9).sum() == 10
    two = [draw(dataclasses.replace(config, hedge=2), key=key, count=100) for key in range(30)]
    # Two copies agree on their place in a trace of ten rows in one of ten cases.
    assert 0 < sum((sample == 9).any() for sample in two) < 15


def test_dropped_spikes_are_base_delays():
    config = dataclasses.replace(MIXTURE, drop_spike_prob=0.6)
    sample, plain = draw(config), draw(MIXTURE)
    assert_share(sample[plain == 9] == 9, 0.4)
    np.testing.assert_array_equal(sample[plain != 9], plain[plain != 9])
    assert not (draw(dataclasses.replace(MIXTURE, drop_spike_prob=1.0)) == 9).any()


def test_anytime_returns_in_time_with_the_steps_there_was_time_for():
    config = dataclasses.replace(MIXTURE, anytime=2)
    found = draws(sampling.make_process(config), jax.random.key(0), 4000)
    np.testing.assert_array_equal(found.delay, np.minimum(draw(MIXTURE, count=4000), 2))
    steps = np.asarray(jax.vmap(lambda one: sampling.flow_steps(one, 10))(found))
    # 2 of 3 ticks are time for 6 of 10 steps, 2 of 9 for 2.
    assert {(int(c), int(s)) for c, s in zip(found.complete, steps, strict=True)} == {(0, 10), (1, 10), (3, 6), (9, 2)}
    none = draws(sampling.make_process(dataclasses.replace(MIXTURE, anytime=0)), jax.random.key(0), 4000)
    assert set(np.asarray(jax.vmap(lambda one: sampling.flow_steps(one, 10))(none)).tolist()) == {1, 10}


def test_a_cap_comes_before_anytime():
    config = dataclasses.replace(MIXTURE, anytime=2, tail_cap=4)
    found = draws(sampling.make_process(config), jax.random.key(0), 4000)
    assert set(found.complete.tolist()) == {0, 1, 3, 4}


def test_trace_rounds_up_to_ticks(trace):
    path = trace([0.0, 1.0, 50.0, 100.0, 100.1])
    config = DelayProfileConfig(mode="trace", trace_path=path, trace_order="replay", dt_ms=50.0)
    sample = draw(config, count=10).tolist()
    start = sample.index(0)
    assert (sample + sample)[start : start + 5] == [0, 1, 1, 2, 3]


def test_replayed_trace_keeps_its_order_from_a_start_per_stream(trace):
    path = trace(range(0, 200, 10))
    config = DelayProfileConfig(mode="trace", trace_path=path, trace_order="replay", dt_ms=10.0)
    starts = set()
    for key in range(8):
        sample = draw(config, key=key, count=40)
        assert (np.diff(sample) % 20 == 1).all()
        starts.add(sample[0])
    assert len(starts) > 1


def test_resampled_trace_has_its_law(trace):
    path = trace([10.0] * 3 + [35.0])
    sample = draw(DelayProfileConfig(mode="trace", trace_path=path, dt_ms=10.0))
    assert set(sample) == {1, 4}
    assert abs(np.mean(sample == 4) - 0.25) < 0.02


def test_trace_respects_the_cap(trace):
    path = trace([500.0])
    assert set(draw(DelayProfileConfig(mode="trace", trace_path=path, dt_ms=10.0, tail_cap=6), count=50)) == {6}


def test_profiles_of_one_shape_share_their_structure():
    shapes = {
        tuple((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(sampling.make_process(config)))
        for config in (*profiles.PROFILES.values(), MIXTURE)
    }
    assert len(shapes) == 1


@pytest.mark.parametrize(
    ("given", "smallest"),
    [
        ({"fixed_delay": 9}, 9),
        ({"mode": "mixture", "p_spike": 1.0, "d_spike": 9}, 9),
        ({"mode": "mixture", "base_delays": (1, 5), "base_probs": (0.0, 1.0)}, 5),
        ({"mode": "markov", "p_burst_start": 0.5, "p_burst_end": 0.0, "d_spike": 7}, 7),
        ({"mode": "drift", "d_low": 3, "d_high": 5}, 3),
        ({"mode": "regime", "p_burst_first": 1.0, "p_burst_end": 0.9, "base_delays": (4,), "d_spike": 7}, 4),
        ({"mode": "lognormal", "median_ms": 900.0, "sigma": 0.1}, 17),
        ({"mode": "lognormal", "median_ms": 50.0, "sigma": 0.0, "dt_ms": 20.0}, 3),
        ({"mode": "pareto", "scale_ms": 95.0, "dt_ms": 20.0}, 5),
        ({"mode": "trace", "dt_ms": 20.0}, 3),
        ({"fixed_delay": 9, "tail_cap": 7, "anytime": 6}, 6),
        ({"mode": "mixture", "p_spike": 0.9, "d_spike": 3, "base_delays": (8,), "drop_spike_prob": 1.0}, 8),
        ({"mode": "mixture", "p_spike": 1.0, "d_spike": 9, "base_delays": (6,), "drop_spike_prob": 0.5}, 6),
        ({"mode": "mixture", "p_spike": 0.5, "d_spike": 9, "base_delays": (8,), "hedge": 3}, 8),
    ],
)
def test_a_deadline_that_no_query_meets_is_refused(trace, given, smallest):
    if given.get("mode") == "trace":
        given = {**given, "trace_path": trace([90.0, 50.0])}
    with pytest.raises(ValueError, match="no query would ever return") as refused:
        DelayProfileConfig(**given, deadline=smallest - 1)
    assert f"deadline={smallest - 1} is below" in str(refused.value)
    assert f"set deadline to at least {smallest}," in str(refused.value)
    config = DelayProfileConfig(**given, deadline=smallest)
    assert smallest <= draw(config, count=500).min()


PROBABILITIES = st.floats(0, 1)
SPIKING = st.fixed_dictionaries(
    {"d_spike": st.integers(0, 20), "base_delays": st.lists(st.integers(0, 20), min_size=1, max_size=4).map(tuple)}
)


@st.composite
def some_law(draw_from):
    """A law of any mode but trace."""
    mode = draw_from(st.sampled_from(("fixed", "mixture", "markov", "lognormal", "pareto")))
    if mode == "fixed":
        return laws.Fixed(draw_from(st.integers(0, 20)))
    if mode in laws.SPIKING_MODES:
        given = draw_from(SPIKING)
        given["base_probs"] = (1 / len(given["base_delays"]),) * len(given["base_delays"])
        if mode == "mixture":
            return laws.Mixture(**given, p_spike=draw_from(PROBABILITIES))
        return laws.Markov(**given, p_burst_start=draw_from(PROBABILITIES), p_burst_end=draw_from(st.floats(0.01, 1)))
    positive = st.floats(1, 200)
    if mode == "lognormal":
        return laws.LogNormal(draw_from(positive), draw_from(st.floats(0, 2)), draw_from(st.floats(5, 50)))
    return laws.Pareto(draw_from(positive), draw_from(st.floats(0.5, 5)), draw_from(st.floats(5, 50)))


@given(law=some_law())
@settings(deadline=None, max_examples=60)
def test_every_law_is_a_distribution_whose_smallest_delay_occurs(law):
    delays, cumulative = law.base()
    assert (delays >= 0).all()
    assert (np.diff(cumulative) >= 0).all()
    assert cumulative[-1] == 1.0
    spikes = law.spikes()
    assert all(0 <= share <= 1 for share in (spikes.first, spikes.after_base, spikes.after_spike))
    # In the long run spikes are as frequent as at first.
    np.testing.assert_allclose(
        spikes.first, spikes.first * spikes.after_spike + (1 - spikes.first) * spikes.after_base, atol=1e-12
    )
    assert law.smallest() in {*delays.tolist(), spikes.ticks}
    flat = {name: value for name, value in dataclasses.asdict(law).items() if name != "mode"}
    assert type(law)(**flat) == law


@given(law=some_law(), key=st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_no_sampled_delay_is_below_the_smallest(law, key):
    process = sampling.make_process(DelayProfileConfig(mode=law.mode, **dataclasses.asdict(law)))
    assert np.asarray(draws(process, jax.random.key(key), 4000).delay).min() >= law.smallest()
