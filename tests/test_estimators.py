"""Delay estimators against their definitions."""

import math
from collections import deque

import jax.numpy as jnp
import numpy as np
import pytest

from rtc.delay.estimators import EstimatorConfig

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
        ({"delay": -1}, "estimator.delay=-1"),
        ({"initial": -1}, "estimator.initial=-1"),
        ({"q": 1.5}, "estimator.q=1.5"),
        ({"k": -1.0}, "estimator.k=-1.0"),
    ],
)
def test_bad_estimators_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        EstimatorConfig(**change)
