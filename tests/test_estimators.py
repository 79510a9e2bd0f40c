"""Delay estimators against their definitions."""

import math
from collections import deque

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtc.delay.estimators import KINDS, EstimatorConfig

DELAYS = [0, 3, 1, 0, 5, 2, 2, 0, 0, 0, 0, 1]


def estimates(config):
    estimator = config.make()
    history, out = estimator.init(), []
    for delay in DELAYS:
        out.append(int(estimator.estimate(history, jnp.int32(delay))))
        history = estimator.update(history, jnp.int32(delay))
    return out


@pytest.mark.parametrize(("window", "initial"), [(1, 2), (3, 0), (4, 4), (64, 1)])
def test_window_max_is_the_maximum_of_a_queue(window, initial):
    queue, expected = deque([initial], maxlen=window), []
    for delay in DELAYS:
        expected.append(max(queue))
        queue.append(delay)
    assert estimates(EstimatorConfig("window_max", window=window, initial=initial)) == expected


@pytest.mark.parametrize(("q", "window"), [(0.0, 3), (0.5, 4), (0.75, 4), (0.9, 10), (0.95, 64), (1.0, 5)])
def test_quantile_is_one_of_the_delays_in_the_window(q, window):
    queue, expected = deque([1], maxlen=window), []
    for delay in DELAYS:
        expected.append(int(np.quantile(queue, q, method="inverted_cdf")))
        queue.append(delay)
    assert estimates(EstimatorConfig("quantile", q=q, window=window)) == expected


def test_ewma_is_the_timer_of_tcp():
    mean, deviation, expected = 2.0, 0.0, []
    for delay in DELAYS:
        expected.append(math.ceil(mean + 3 * deviation - 1e-6))
        deviation = 0.75 * deviation + 0.25 * abs(delay - mean)
        mean = 0.875 * mean + 0.125 * delay
    assert estimates(EstimatorConfig("ewma", initial=2, k=3.0)) == expected


def test_oracle_knows_and_fixed_does_not():
    assert estimates(EstimatorConfig("oracle")) == DELAYS
    assert estimates(EstimatorConfig("fixed", delay=2)) == [2] * len(DELAYS)


def test_default_is_not_the_oracle():
    assert EstimatorConfig().kind == "window_max"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "window"}, "did you mean 'window_max'"),
        ({"window": 0}, "estimator.window=0"),
        ({"window": 65}, "estimator.window=65"),
        ({"window": True}, "estimator.window=True"),
        ({"kind": "fixed", "delay": -1}, "estimator.delay=-1"),
        ({"initial": -1}, "estimator.initial=-1"),
        ({"kind": "quantile", "q": 1.5}, "estimator.q=1.5"),
        ({"kind": "ewma", "k": -1.0}, "estimator.k=-1.0"),
    ],
)
def test_bad_estimators_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        EstimatorConfig(**change)


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_that_the_kind_ignores_is_an_error_that_names_the_kinds_that_read_it(kind):
    for name, value in {"delay": 1, "window": 3, "initial": 2, "q": 0.5, "k": 2.0}.items():
        readers = [other for other, estimator in KINDS.items() if name in estimator.DEFAULTS]
        if kind in readers:
            assert EstimatorConfig(kind, **{name: value}).settings()[name] == value
            continue
        message = f"estimator.{name}={value} has no effect with estimator.kind='{kind}': set estimator.kind to "
        with pytest.raises(ValueError, match=message + " or ".join(map(repr, readers))):
            EstimatorConfig(kind, **{name: value})


def test_estimators_are_equal_by_what_they_read():
    assert EstimatorConfig() == EstimatorConfig("window_max", window=10, initial=1)
    assert EstimatorConfig("quantile", q=1) == EstimatorConfig("quantile", q=1.0)
    assert len({EstimatorConfig(), EstimatorConfig(window=10), EstimatorConfig(window=9)}) == 2
    assert EstimatorConfig("ewma").identity() == {"kind": "ewma", "initial": 1, "k": 4.0}
    assert EstimatorConfig("oracle").identity() == {"kind": "oracle"}


def test_only_kinds_that_assume_a_delay_start_at_one():
    assert EstimatorConfig("ewma").starting_at(3) == EstimatorConfig("ewma", initial=3)
    for kind in ("oracle", "fixed"):
        assert EstimatorConfig(kind).starting_at(3) == EstimatorConfig(kind)


@given(
    delays=st.lists(st.integers(0, 12), min_size=1, max_size=20), window=st.integers(1, 12), initial=st.integers(0, 5)
)
@settings(deadline=None, max_examples=15)
def test_the_largest_is_the_quantile_1(delays, window, initial):
    largest, quantile = (
        EstimatorConfig(kind, window=window, initial=initial, **rest).make()
        for kind, rest in (("window_max", {}), ("quantile", {"q": 1.0}))
    )
    one, two = largest.init(), quantile.init()
    for delay in delays:
        assert int(largest.estimate(one, jnp.int32(0))) == int(quantile.estimate(two, jnp.int32(0)))
        one, two = (e.update(h, jnp.int32(delay)) for e, h in ((largest, one), (quantile, two)))
