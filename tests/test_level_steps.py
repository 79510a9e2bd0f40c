"""The environment of a level: what a step does, and when an episode ends."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtc.control.environment import start_keys
from rtc.worlds.kinetix import levels

BATCH = 8


@pytest.fixture(scope="module")
def step() -> Any:
    """One compiled step for the whole file: the environment is an argument."""
    return jax.jit(lambda env, state, action: env.step(state, action))


def test_reset_gives_the_start_state_in_every_slot(grasp: levels.Level) -> None:
    env = levels.make_env(grasp, "stock")
    state, obs = env.reset(start_keys(BATCH))
    assert obs.shape == (BATCH, env.obs_dim) == (BATCH, 679)
    assert (env.action_dim, env.max_timesteps) == (6, 256)
    np.testing.assert_array_equal(obs, np.broadcast_to(obs[0], obs.shape))
    np.testing.assert_array_equal(state.polygon.position[3], grasp.start.polygon.position)


def test_step_moves_only_what_the_action_drives(grasp: levels.Level, step: Any) -> None:
    env = levels.make_env(grasp, "stock")
    start, _ = env.reset(start_keys(BATCH))
    action = jnp.zeros((BATCH, 6)).at[1, 0].set(1.0).at[2, 4:].set(1.0)
    state, out = step(env, start, action)
    position = np.asarray(state.polygon.position)
    np.testing.assert_array_equal(position[2], position[0])  # grasp_easy binds no thruster
    assert np.abs(position[1] - position[0]).max() > 1e-4
    np.testing.assert_array_equal(state.timestep, 1)
    assert out.finite.all()
    assert not out.done.any()
    assert not out.solved.any()
    goals = np.asarray(start.polygon.position)[0]
    roles = np.asarray(grasp.start.polygon_shape_roles * grasp.start.polygon.active)
    ball, goal = np.flatnonzero(roles == 1), np.flatnonzero(roles == 2)
    expected = np.linalg.norm(goals[ball[0]] - goals[goal[0]])
    np.testing.assert_allclose(out.distance, expected, atol=0.05)


def test_levels_share_one_compiled_step_and_time_limits_do_not(grasp: levels.Level) -> None:
    traces = []

    @jax.jit
    def limit(env: Any) -> Any:
        traces.append(env.max_timesteps)
        return env.start.gravity + env.max_timesteps

    for name in ("grasp_easy", "h17_unicycle_low_gravity"):
        limit(levels.make_env(levels.load(name), "stock"))
    assert limit._cache_size() == 1
    shorter = dataclasses.replace(grasp, env_params=grasp.env_params.replace(max_timesteps=3))
    limit(levels.make_env(shorter, "stock"))
    assert traces == [256, 3]


def test_a_second_level_steps_without_recompiling(grasp: levels.Level, step: Any) -> None:
    for level in (grasp, levels.load("h17_unicycle_low_gravity")):
        env = levels.make_env(level, "stock")
        state, _ = env.reset(start_keys(BATCH))
        state, out = step(env, state, jnp.zeros((BATCH, 6)))
        state, out = step(env, state, jnp.zeros((BATCH, 6)))
        assert np.isfinite(out.obs).all()
    assert step._cache_size() == 1


def test_a_simulator_first_used_inside_a_trace_can_be_used_again(grasp: levels.Level) -> None:
    level = dataclasses.replace(grasp, env_params=grasp.env_params.replace(max_timesteps=17))
    env = levels.make_env(level, "stock")
    jax.jit(lambda env: env.reset(start_keys(2))[1])(env)
    assert np.asarray(env._simulator.physics_engine.poly_poly_pairs).shape == (60, 2)


def test_gravity_of_the_level_acts(grasp: levels.Level, step: Any) -> None:
    heavy = dataclasses.replace(grasp, start=grasp.start.replace(gravity=jnp.array([0.0, -30.0])))
    drops = []
    for level in (grasp, heavy):
        env = levels.make_env(level, "stock")
        state, _ = env.reset(start_keys(BATCH))
        before = state.polygon.position[0, :, 1]
        state, _ = step(env, state, jnp.zeros((BATCH, 6)))
        drops.append(float((before - state.polygon.position[0, :, 1]).max()))
    assert drops[1] > 2 * drops[0] > 0


def test_an_episode_ends_at_the_goal_and_at_the_time_limit(grasp: levels.Level, step: Any) -> None:
    env = levels.make_env(grasp, "stock")
    state, _ = env.reset(start_keys(BATCH))
    roles = np.asarray(grasp.start.polygon_shape_roles * grasp.start.polygon.active)
    ball, goal = np.flatnonzero(roles == 1)[0], np.flatnonzero(roles == 2)[0]
    position = state.polygon.position.at[1, ball].set(state.polygon.position[1, goal])
    timestep = state.timestep.at[2].set(254)
    state = state.replace(polygon=state.polygon.replace(position=position), timestep=timestep)
    state, out = step(env, state, jnp.zeros((BATCH, 6)))
    assert out.solved.tolist() == [False, True] + [False] * 6
    assert out.done.tolist() == [False, True] + [False] * 6
    assert out.reward[1] > 0.9
    state, out = step(env, state, jnp.zeros((BATCH, 6)))
    assert out.done[2]
    assert not out.solved[2]
    assert state.timestep[2] == 256


def test_non_finite_states_are_reported_and_end_the_episode(grasp: levels.Level, step: Any) -> None:
    env = levels.make_env(grasp, "stock")
    state, _ = env.reset(start_keys(BATCH))
    velocity = state.polygon.velocity.at[5, 4, 0].set(jnp.nan)
    _, out = step(env, state.replace(polygon=state.polygon.replace(velocity=velocity)), jnp.zeros((BATCH, 6)))
    assert out.finite.tolist() == [k != 5 for k in range(BATCH)]
    assert out.done.tolist() == [k == 5 for k in range(BATCH)]
    assert not out.solved.any()
    assert np.isfinite(out.obs).all()


def test_select_chooses_per_environment(grasp: levels.Level) -> None:
    env = levels.make_env(grasp, "stock")
    start, _ = env.reset(start_keys(BATCH))
    moved = jax.tree.map(lambda leaf: leaf + 1 if leaf.dtype != bool else ~leaf, start)
    mask = jnp.arange(BATCH) % 2 == 0
    chosen = env.select(mask, start, moved)
    for leaf, a, b in zip(*map(jax.tree.leaves, (chosen, start, moved)), strict=True):
        np.testing.assert_array_equal(leaf[0::2], a[0::2])
        np.testing.assert_array_equal(leaf[1::2], b[1::2])


@pytest.mark.parametrize(("name", "count"), [("grasp_easy", 49), ("chain_lander", 42), ("cartpole_thrust", 14)])
def test_varying_entries_cover_what_stepping_changes(name: str, count: int, step: Any) -> None:
    level = levels.load(name)
    entries = levels.varying_observation_entries(level)
    assert len(entries) == count
    assert (np.diff(entries) > 0).all()
    env = levels.make_env(level, "stock")
    state, obs = env.reset(start_keys(BATCH))
    action = jax.random.uniform(jax.random.key(0), (BATCH, 6), minval=-1.0)
    changed = np.zeros(679, bool)
    for _ in range(12):
        state, out = step(env, state, action)
        changed |= np.asarray(out.obs != obs[0]).any(axis=0)
    assert changed.any()
    assert set(np.flatnonzero(changed)) <= set(entries.tolist())
