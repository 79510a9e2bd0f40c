"""Every metric on trajectories whose values were computed by hand."""

import numpy as np
import pytest

from rtc.control import metrics
from rtc.control.records import NEVER, Records
from rtc.report import catalogue

H = 4


def records_of(*episodes, ticks=8):
    """Records from per-episode dictionaries; what an episode does not give keeps its initial value."""
    count = len(episodes)

    def column(name, fill, dtype=int):
        out = np.full((count, ticks), fill, dtype)
        for row, episode in enumerate(episodes):
            values = episode.get(name, [])
            out[row, : len(values)] = values
        return out

    actions = np.full((count, ticks, 2), np.nan)
    for row, episode in enumerate(episodes):
        actions[row, : len(episode["actions"])] = episode["actions"]
    length = np.array([len(episode["actions"]) for episode in episodes])
    return Records(
        actions=actions,
        age=column("age", NEVER),
        delay=column("delay", NEVER),
        planned=column("planned", NEVER),
        execute_horizon=column("s", NEVER),
        interval=column("L", NEVER),
        shift=column("shift", NEVER),
        steps=column("steps", NEVER),
        abandoned=column("abandoned", NEVER),
        returned=np.array([episode.get("returned", 0.0) for episode in episodes]),
        length=length,
        solved=np.array([episode.get("solved", False) for episode in episodes]),
        bad_tick=np.full(count, NEVER),
        slot_ticks=np.full(count, ticks),
        poses=(),
    )


def summarise(records, bound=(True, True)):
    return metrics.summarise(
        records,
        np.arange(len(records.length)),
        chunk_size=H,
        bound_actions=np.array(bound),
        evaluations=lambda steps: 2 * steps,
        bootstrap_evaluations=5,
    )


def still(ticks):
    return [[0.0, 0.0]] * ticks


def test_episode_means():
    a = {
        "actions": still(2),
        "age": [0, 0],
        "delay": [0, 0],
        "planned": [0, 0],
        "s": [1, 1],
        "returned": 1.5,
        "solved": True,
    }
    b = {
        "actions": still(4),
        "age": [0] * 4,
        "delay": [0] * 4,
        "planned": [0] * 4,
        "s": [1] * 4,
        "returned": -0.5,
    }
    row = summarise(records_of(a, b)).row
    assert row["returned_episode_solved"] == 0.5
    assert row["returned_episode_returns"] == 0.5
    assert row["returned_episode_lengths"] == 3.0
    assert row["num_evals"] == 2


def test_smoothness_by_hand():
    # deltas (3,4), (0,0), (0,-1): norms 5, 0, 1; second differences (-3,-4), (0,-1): norms 5, 1.
    actions = np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 4.0], [3.0, 3.0]])
    max_delta, max_ddelta, rms_ddelta = metrics.smoothness(actions)
    assert max_delta == 5.0
    assert max_ddelta == 5.0
    assert rms_ddelta == pytest.approx(np.sqrt((9 + 16 + 0 + 1) / 4))


@pytest.mark.parametrize("ticks", [1, 2])
def test_smoothness_of_short_episodes_is_zero(ticks):
    actions = np.arange(2.0 * ticks).reshape(ticks, 2)
    max_delta, max_ddelta, rms_ddelta = metrics.smoothness(actions)
    assert max_ddelta == rms_ddelta == 0.0
    assert max_delta == (0.0 if ticks == 1 else pytest.approx(np.sqrt(8)))


def test_smoothness_never_crosses_a_reset():
    """Two constant episodes at opposite ends of the action range: nothing moves within either."""
    query = {"delay": [0], "planned": [0], "s": [1]}
    low = {"actions": [[-1.0, -1.0]] * 3, "age": [0] * 3, **query}
    high = {"actions": [[1.0, 1.0]] * 3, "age": [0] * 3, **query}
    summary = summarise(records_of(low, high, low))
    for name in ("max_delta_action", "max_ddelta_action", "rms_ddelta_action"):
        assert summary.row[name] == 0.0


def test_smoothness_ignores_what_follows_the_end_and_unbound_dimensions():
    episode = {
        "actions": [[0.0, 9.0], [1.0, -9.0], [2.0, 9.0]],
        "age": [0] * 3,
        "delay": [0],
        "planned": [0],
        "s": [1],
    }
    records = records_of(episode)
    records.actions[0, 3:] = 100.0
    row = summarise(records, bound=(True, False)).row
    assert row["max_delta_action"] == 1.0
    assert row["max_ddelta_action"] == 0.0


def test_query_metrics_by_hand():
    # Queries (d, planned, s): (0,1,1), (4,1,1), (1,1,1); a second episode with (3,2,2).
    # p_violate: d > H - s: 4 > 3; 3 > 2. p_late: 4 > 1; abandoned; 3 > 2.
    # L = max(s, d) = 1, 4, 1, 3. Starvation L_(k-1) + d_k > 4: 0+0, 1+4 yes, 4+1 yes; 0+3.
    # Flow steps 5, 5, 5 and 3, two evaluations each.
    first = {
        "actions": still(7),
        "age": [0, 1, 2, 3, NEVER, NEVER, 1],
        "delay": [0, 4, NEVER, NEVER, NEVER, 1],
        "planned": [1, 1, NEVER, NEVER, NEVER, 1],
        "s": [1, 1, NEVER, NEVER, NEVER, 1],
        "L": [1, 4, NEVER, NEVER, NEVER, 1],
        "shift": [0, 1, NEVER, NEVER, NEVER, 4],
        "steps": [5, 5, NEVER, NEVER, NEVER, 5],
        "abandoned": [0, 0, NEVER, NEVER, NEVER, 1],
    }
    one = {"delay": [3], "planned": [2], "s": [2], "L": [3], "shift": [0], "steps": [3], "abandoned": [0]}
    second = {"actions": still(3), "age": [0, 1, 2], **one}
    summary = summarise(records_of(first, second))
    row = summary.row
    assert row["p_violate"] == 2 / 4
    assert row["p_late"] == 3 / 4
    assert row["p_starve_condition"] == 2 / 4
    assert row["mean_execute_horizon"] == 9 / 4
    # Sorted delays 0, 1, 3, 4 and ages 0, 0, 1, 1, 1, 2, 2, 3: a percentile is a value that occurred.
    assert (row["d_p50"], row["d_p95"], row["d_p99"]) == (1, 4, 4)
    assert row["mean_planned_delay"] == 5 / 4
    assert row["starved_fraction"] == 2 / 10
    assert (row["age_p50"], row["age_p99"]) == (1, 3)
    assert row["mean_delay"] == 8 / 4
    assert row["mean_flow_steps"] == 18 / 4
    assert row["abandoned_fraction"] == 1 / 4
    assert row["flow_evals_per_tick"] == (2 * 18 + 2 * 5) / 10
    assert summary.delay_counts == {0: 1, 1: 1, 3: 1, 4: 1}
    assert summary.episodes["starved_ticks"].tolist() == [2, 0]
    assert summary.episodes["num_queries"].tolist() == [3, 1]
    assert summary.episodes["abandoned_queries"].tolist() == [1, 0]


def test_every_column_is_in_the_catalogue():
    episode = {"actions": still(2), "age": [0, 0], "delay": [0, 0], "planned": [0, 0], "s": [1, 1]}
    summary = summarise(records_of(episode))
    assert set(summary.row) <= set(catalogue.METRICS)
    assert set(summary.episodes) <= {*catalogue.METRICS, *catalogue.COUNTS, "episode"}
