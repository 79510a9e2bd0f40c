"""Action noise, observation history and dense reward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtc.control import environment
from rtc.control.environment import Transition
from rtc.training import shaping
from stubs import HashEnv

LIMIT = 256  # ticks per episode


def transition(*, reward=0.0, done=False, solved=False, finite=True, distance=3.0):
    values = {"reward": reward, "done": done, "solved": solved, "finite": finite, "distance": distance}
    return Transition(obs=jnp.zeros((1, 2)), **{name: jnp.array([value]) for name, value in values.items()})


def rewarded(tick, before=3.0, factors=shaping.PUBLISHED_SHAPING, **fields):
    args = jnp.array([tick]), LIMIT, jnp.array([before]), factors
    return float(shaping.dense_reward(transition(**fields), *args)[0])


PER_TICK = 3.0 / 6 / LIMIT


def test_noise_has_the_asked_spread_and_follows_its_key():
    action = jnp.full((20_000, 6), 0.3)
    noisy = environment.noisy_action(jax.random.key(0), action, 0.1)
    assert float(noisy.mean()) == pytest.approx(0.3, abs=2e-3)
    assert float(noisy.std()) == pytest.approx(0.1, rel=0.02)
    np.testing.assert_array_equal(noisy, environment.noisy_action(jax.random.key(0), action, 0.1))
    assert not np.array_equal(noisy, environment.noisy_action(jax.random.key(1), action, 0.1))
    np.testing.assert_array_equal(environment.noisy_action(jax.random.key(0), action, 0.0), action)


def test_a_tick_costs_its_distance():
    assert rewarded(10, reward=0.25) == pytest.approx(0.25 - PER_TICK)


def test_success_is_not_charged_for_the_remaining_ticks():
    assert rewarded(10, reward=1.0, done=True, solved=True) == pytest.approx(1.0 - PER_TICK)


@pytest.mark.parametrize("tick", [1, 100, LIMIT])
def test_failing_costs_as_much_at_any_tick(tick):
    before = (tick - 1) * PER_TICK
    last = rewarded(tick, reward=-1.0, done=True)
    assert before - last == pytest.approx(1.0 + LIMIT * PER_TICK)


def test_progress_is_paid_for_new_records_only():
    factors = shaping.Shaping(distance_cost=0.0, progress=2.0)
    assert rewarded(10, before=3.5, factors=factors) == pytest.approx(1.0)
    assert rewarded(10, before=2.5, factors=factors) == 0.0
    assert rewarded(1, before=float("nan"), factors=factors) == 0.0


@pytest.mark.parametrize("finite", [True, False])
def test_failing_can_be_made_cheaper_but_running_out_of_time_costs_the_same(finite):
    factors = shaping.Shaping(distance_cost=0.0, failure_relief=0.75)
    fields = {"done": True, "finite": finite, "distance": 3.0}
    assert rewarded(10, factors=factors, reward=-1.0, **fields) == pytest.approx(-0.25 if finite else 0.0)
    assert rewarded(LIMIT, factors=factors, **fields) == 0.0


def test_a_broken_state_is_a_failure_with_a_finite_cost():
    nan = float("nan")
    cost = -rewarded(100, reward=nan, done=True, finite=False, distance=nan)
    assert cost == pytest.approx((LIMIT - 99) / LIMIT)


def step_three_times(noise_std=0.0):
    """Two environments of which the second ends at its third tick."""
    env = HashEnv(end_every=jnp.array(0), max_timesteps=3)
    start = shaping.reset(env, environment.start_keys(2), history=3)
    late = start._replace(env=(jnp.array([-9, 0]), start.env[1]))
    state, actions = late, [jnp.full((2, 6), float(i)) for i in (1, 2, 3)]
    for i, action in enumerate(actions):
        executed = environment.noisy_action(jax.random.key(i), action, noise_std)
        state, moved = shaping.step_and_reset(env, state, start, action, executed)
    return start, state, moved


def test_reset_fills_the_history_with_the_first_observation():
    env = HashEnv(end_every=jnp.array(0))
    state = shaping.reset(env, environment.start_keys(2), history=3)
    np.testing.assert_array_equal(state.history, np.broadcast_to([0.0, 1.0], (2, 3, 2)))
    np.testing.assert_array_equal(state.commands, np.zeros((2, 1, 6)))
    np.testing.assert_array_equal(state.tick, [0, 0])


def test_history_holds_the_last_observations_oldest_first():
    _, state, _ = step_three_times()
    np.testing.assert_array_equal(state.history[0, :, 0], [-8.0, -7.0, -6.0])
    assert int(state.tick[0]) == 3


def test_last_action_is_the_commanded_one():
    _, state, _ = step_three_times(noise_std=5.0)
    np.testing.assert_array_equal(state.commands[0], np.full((1, 6), 3.0))


def test_ended_episodes_start_again_and_others_go_on():
    start, state, moved = step_three_times()
    np.testing.assert_array_equal(moved.done, [False, True])
    assert float(moved.obs[1, 0]) == 3.0  # the transition still shows the end
    for after, first in zip(jax.tree.leaves(state), jax.tree.leaves(start), strict=True):
        np.testing.assert_array_equal(after[1], first[1])
    assert int(state.env[0][0]) == -6


def test_features_are_the_history_then_the_last_action():
    _, state, _ = step_three_times()
    hashes = state.history[0, :, 1]
    expected = [-8, hashes[0], -7, hashes[1], -6, hashes[2], *[3] * 6]
    np.testing.assert_array_equal(shaping.features(state)[0], expected)


def test_late_features_are_an_old_observation_and_the_commands_since():
    env = HashEnv(end_every=jnp.array(0), max_timesteps=99)
    state = shaping.reset(env, environment.start_keys(4), history=2, delay=2)
    np.testing.assert_array_equal(state.delay, [0, 1, 2, 0])
    for i in range(1, 6):
        action = jnp.full((4, 6), float(i))
        state, _ = shaping.step(env, state, action, action)
    found = np.asarray(shaping.features(state, delay=2))
    ticks, commands, delay = found[:, 0:4:2], found[:, 4:16].reshape(4, 2, 6)[..., 0], found[:, 16:]
    np.testing.assert_array_equal(ticks, [[4, 5], [3, 4], [2, 3], [4, 5]])
    np.testing.assert_array_equal(commands, [[0, 5], [0, 5], [4, 5], [0, 5]])
    np.testing.assert_array_equal(delay, np.eye(3)[[0, 1, 2, 0]])
