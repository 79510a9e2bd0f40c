"""Delay profiles: validation, the laws they sample, and what their streams depend on."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtc import delays
from rtc.delays import DelayProfileConfig

MIXTURE = DelayProfileConfig(mode="mixture", base_delays=(0, 1, 3), base_probs=(0.7, 0.2, 0.1), p_spike=0.05, d_spike=9)


@pytest.fixture
def trace(tmp_path):
    def write(latencies):
        path = tmp_path / "trace.csv"
        path.write_text("query,latency_ms\n" + "".join(f"{i},{ms}\n" for i, ms in enumerate(latencies)))
        return str(path)

    return write


def draw(config, *, key=0, count=20_000):
    """The first `count` delays of one stream."""
    stream = delays.DelayStream(jnp.broadcast_to(jax.random.key(key), count), jnp.arange(count))
    return np.asarray(jax.vmap(delays.sample, (None, 0))(delays.make_process(config), stream)[0])


def test_fixed_is_constant():
    assert set(draw(DelayProfileConfig(fixed_delay=3), count=100)) == {3}


def test_fixed_ignores_the_fields_of_other_modes():
    config = DelayProfileConfig(fixed_delay=1, p_spike=1.0, d_spike=7, base_delays=(5,))
    assert set(draw(config, count=100)) == {1}


def test_mixture_has_its_law():
    sample = draw(MIXTURE)
    expected = {0: 0.7 * 0.95, 1: 0.2 * 0.95, 3: 0.1 * 0.95, 9: 0.05}
    assert set(sample) == set(expected)
    for delay, probability in expected.items():
        sigma = np.sqrt(probability * (1 - probability) / len(sample))
        assert abs(np.mean(sample == delay) - probability) < 5 * sigma


def test_long_tail_is_the_protocol():
    sample = draw(delays.PROFILES["long_tail"])
    shares = [np.mean(sample == d) for d in (0, 1, 4)]
    np.testing.assert_allclose(shares, [0.855, 0.095, 0.05], atol=0.01)


def test_cap_is_the_same_stream_cut_off():
    long_tail, capped = (draw(delays.PROFILES[name]) for name in ("long_tail", "tail_controlled"))
    np.testing.assert_array_equal(capped, np.minimum(long_tail, 2))
    assert capped.max() == 2


def test_zero_probability_entries_never_occur():
    config = DelayProfileConfig(mode="mixture", base_delays=(0, 5, 1), base_probs=(0.5, 0.0, 0.5))
    assert set(draw(config)) == {0, 1}
    trailing = DelayProfileConfig(mode="mixture", base_delays=(0, 5), base_probs=(1.0, 0.0))
    assert set(draw(trailing)) == {0}


def test_sampling_one_by_one_equals_indexing():
    process, stream = delays.make_process(MIXTURE), delays.init(jax.random.key(0))
    one_by_one = []
    for _ in range(20):
        delay, stream = delays.sample(process, stream)
        one_by_one.append(int(delay))
    assert one_by_one == draw(MIXTURE, count=20).tolist()


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
        jax.tree.map(lambda x: (x.shape, x.dtype), delays.make_process(config)).__repr__()
        for config in (*delays.PROFILES.values(), MIXTURE)
    }
    assert len(shapes) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "mixtur"}, "mode='mixtur' is unknown; did you mean 'mixture'"),
        ({"base_probs": (0.7, 0.2, 0.2)}, "sum to 1.1: they must sum to 1"),
        ({"base_probs": (1.2, -0.1, -0.1)}, "base_probs entry=1.2 must be"),
        ({"base_probs": (0.5, 0.6, -0.1)}, "base_probs entry=-0.1 must be"),
        ({"base_probs": (float("nan"), 0.5, 0.5)}, "base_probs entry=nan must be"),
        ({"base_probs": (0.5, 0.5)}, "base_probs has 2 entries and base_delays 3"),
        ({"base_delays": (), "base_probs": ()}, "base_delays=.* is empty"),
        ({"base_delays": (0, -1, 2)}, "base_delays entry=-1"),
        ({"base_delays": (0, 1.5, 2)}, "base_delays entry=1.5"),
        ({"p_spike": 1.5}, "p_spike=1.5"),
        ({"d_spike": -4}, "d_spike=-4"),
        ({"fixed_delay": -1}, "fixed_delay=-1"),
        ({"tail_cap": -2}, "tail_cap=-2"),
        ({"dt_ms": 0.0}, "dt_ms=0.0 must be positive"),
        ({"dt_ms": float("inf")}, "dt_ms=inf must be positive"),
        ({"fixed_delay": 2**32}, "fixed_delay=4294967296"),
        ({"tail_cap": 2**40}, "tail_cap=1099511627776"),
        ({"dt_ms": float("nan")}, "dt_ms=nan must be positive"),
        ({"trace_order": "resampel"}, "did you mean 'resample'"),
        ({"mode": "trace"}, "trace_path=None"),
    ],
)
def test_bad_profiles_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(MIXTURE, **change)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("", "cannot be read"),
        ("ms\n3\n", r"has columns \['ms'\]: it needs a column latency_ms"),
        ("latency_ms\n", "holds no latencies"),
        ("latency_ms\n3\n-1\n", "data row 2"),
        ("latency_ms\n3\nfast\n", "data row 2"),
        ("latency_ms\n1e12\n", "more than 1000000 ticks"),
    ],
)
def test_bad_traces_are_refused(tmp_path, content, message):
    path = tmp_path / "trace.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=message):
        delays.make_process(DelayProfileConfig(mode="trace", trace_path=str(path)))


def test_unknown_profile_suggests_a_name():
    with pytest.raises(ValueError, match="did you mean 'long_tail'"):
        delays.profile("longtail")
