"""The executor's timing against a second executor in plain Python, with random delays."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hash_world import LIMIT, SIZE, assert_matches, controller_of, episode_draws, run
from reference_executor import Rules, run_episode
from rtc.control import metrics
from rtc.control.controller import ExecutionConfig
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from stubs import Ahead


def estimator_of(kind, delay, window, initial):
    numbers = {"oracle": {}, "fixed": {"delay": delay}, "window_max": {"window": window, "initial": initial}}
    return EstimatorConfig(kind, **numbers[kind])


delay_lists = st.lists(st.integers(0, 9), min_size=1, max_size=6)


@settings(max_examples=80, deadline=None)
@given(
    base=delay_lists,
    p_spike=st.sampled_from([0.0, 0.2, 1.0]),
    tail=st.fixed_dictionaries(
        {
            "tail_cap": st.none() | st.integers(0, 6),
            "deadline": st.none() | st.integers(1, 8),
            "anytime": st.none() | st.integers(0, 6),
            "hedge": st.sampled_from([1, 2]),
        }
    ),
    kind=st.sampled_from(["oracle", "fixed", "window_max"]),
    numbers=st.tuples(st.integers(0, 5), st.integers(1, 6), st.integers(0, 5)),
    horizon=st.integers(1, SIZE),
    adaptive=st.booleans(),
    hold=st.booleans(),
    told=st.sampled_from(["naive", "telling", "counts", "synchronous"]),
    end_every=st.sampled_from([0, 5, 17]),
    seed=st.integers(0, 1000),
)
def test_timing_equals_plain_python(base, p_spike, tail, kind, numbers, horizon, adaptive, hold, told, end_every, seed):
    # Of the shortest queries some must return.
    bounds = [bound for bound in (tail["tail_cap"], tail["anytime"]) if bound is not None]
    smallest = min([*([7] if p_spike > 0 else []), *(base if p_spike < 1 else []), *bounds])
    if tail["deadline"] is not None:
        tail = tail | {"deadline": max(tail["deadline"], smallest)}
    profile = DelayProfileConfig(
        mode="mixture",
        base_delays=tuple(base),
        base_probs=(1 / len(base),) * len(base),
        p_spike=p_spike,
        d_spike=7,
        **tail,
    )
    delay, window, initial = numbers
    controller = controller_of(
        told,
        profile,
        estimator_of(kind, delay, window, initial),
        execute_horizon=horizon,
        horizon="adaptive" if adaptive else "fixed",
        fallback="hold" if hold else "zero",
    )
    records = run(controller, end_every=end_every, seed=seed)
    deadline = float("inf") if profile.tail.deadline is None else profile.tail.deadline
    rules = Rules(SIZE, horizon, adaptive, hold, kind, delay, window, initial, told, told == "synchronous", deadline)
    for row, episode in enumerate(range(5)):
        expected = run_episode(rules, episode_draws(profile, seed, episode), end_every, LIMIT)
        assert_matches(records, row, expected)


PROFILE = DelayProfileConfig(
    mode="mixture", base_delays=(0, 2, 3), base_probs=(0.4, 0.3, 0.3), p_spike=0.15, d_spike=7, deadline=6
)
FIXED, WINDOW_MAX, ORACLE = ("fixed", 2, 1, 0), ("window_max", 0, 3, 0), ("oracle", 0, 1, 0)


def compare(told, estimator, rules, lags):
    """Runs the same episodes in both executors, with one program, and returns the plain one's."""
    episodes = []
    for seed in (0, 1):
        for horizon in (1, 2, 4):
            hold, end_every = bool(seed), 17 * seed
            controller = controller_of(
                told,
                PROFILE,
                estimator_of(*estimator),
                execute_horizon=horizon,
                fallback="hold" if hold else "zero",
                **lags,
            )
            records = run(controller, end_every=end_every, seed=seed)
            full = Rules(SIZE, horizon, False, hold, *estimator, **rules, deadline=PROFILE.tail.deadline, **lags)
            for row, episode in enumerate(range(5)):
                expected = run_episode(full, episode_draws(PROFILE, seed, episode), end_every, LIMIT)
                assert_matches(records, row, expected)
                episodes.append(expected)
    return episodes


@pytest.mark.parametrize(
    ("estimator", "correction_delay", "observation_lag", "actuation_lag"),
    [(WINDOW_MAX, 0, 0, 0), (FIXED, 1, 0, 2), (ORACLE, 2, 1, 0)],
)
def test_a_method_that_acts_sees_what_it_should(estimator, correction_delay, observation_lag, actuation_lag):
    lags = {
        "correction_delay": correction_delay,
        "observation_lag": observation_lag,
        "actuation_lag": actuation_lag,
    }
    episodes = compare("correcting", estimator, {"corrects": True}, lags)
    # Actions that follow an old chunk are corrected with something newer.
    ages = Counter(age for episode in episodes for age in episode.age)
    assert ages[-1] > 0
    assert max(ages) == correction_delay + observation_lag + actuation_lag


@pytest.mark.parametrize(("estimator", "observation_lag", "actuation_lag"), [(WINDOW_MAX, 0, 0), (FIXED, 2, 1)])
def test_a_chunk_planned_ahead_begins_at_its_origin(estimator, observation_lag, actuation_lag):
    lags = {"observation_lag": observation_lag, "actuation_lag": actuation_lag}
    episodes = compare("ahead", estimator, {"told": "telling", "reach": 3}, lags)
    arrivals = Counter(arrival for episode in episodes for arrival in episode.arrivals)
    starved = sum(age == -1 for episode in episodes for age in episode.age)
    assert min(arrivals["early"], arrivals["on time"], arrivals["late"], starved) > 20


def test_predictions_count_chunks_planned_ahead():
    compare("counts_ahead", WINDOW_MAX, {"told": "counts", "reach": 3}, {})


def summary_of(records, num_episodes=5):
    return metrics.summarise(
        records,
        np.arange(num_episodes),
        chunk_size=SIZE,
        bound_actions=np.ones(6, bool),
        evaluations=lambda steps: steps,
        bootstrap_evaluations=3,
    )


def test_what_a_correction_costs_is_charged_tick_by_tick():
    records = run(controller_of("correcting", DelayProfileConfig(fixed_delay=1), execute_horizon=2))
    frame = summary_of(records).episodes
    # A first chunk of 3, twelve queries of 5, and entry + 2 at every tick: entries 0, 1, then 2 and 1 in turns.
    assert frame["flow_evals"].tolist() == [3 + 12 * 5 + 2 * LIMIT + 1 + 11 * (2 + 1)] * 5


def test_starvation_counts_from_the_origin():
    """Planned for 3 ticks ahead, with d = 3: chunks reach 7 ticks after their launch and nothing starves."""
    profile, told = DelayProfileConfig(fixed_delay=3), EstimatorConfig(initial=3)
    ahead = summary_of(run(controller_of("ahead", profile, told))).row
    plain = summary_of(run(controller_of("telling", profile, told))).row
    assert ahead["p_starve_condition"] == ahead["starved_fraction"] == 0
    assert min(plain["p_starve_condition"], plain["starved_fraction"]) > 0.5


def test_a_method_does_not_plan_farther_ahead_than_it_says(monkeypatch):
    profile, told = DelayProfileConfig(fixed_delay=3), EstimatorConfig(initial=3)
    monkeypatch.setattr(Ahead, "max_origin", lambda self, chunk_size: 2)
    with pytest.raises(ValueError, match="method Ahead gave a chunk the origin 3, but its max_origin is 2"):
        run(controller_of("ahead", profile, told, execute_horizon=2))


def test_nothing_is_recorded_of_what_a_method_does_not_do():
    records = run(controller_of("telling"))
    assert records.evaluations is None
    assert records.origin is None


@pytest.mark.parametrize("name", ["correction_delay", "observation_lag", "actuation_lag"])
def test_lags_are_whole_ticks(name):
    for value in (-1, 0.5):
        with pytest.raises(ValueError, match=f"{name}={value}"):
            ExecutionConfig(**{name: value})


def test_a_correction_delay_needs_a_method_that_acts():
    with pytest.raises(ValueError, match="correction_delay=2 has no effect: Naive does not act"):
        controller_of("naive", correction_delay=2)
    controller_of("correcting", correction_delay=2)
