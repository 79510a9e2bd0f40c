"""Start noise: reproducible, independent of slots, equal under both engines, and without new interpenetration."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtc.control.environment import start_keys
from rtc.worlds.kinetix import levels, starts

BATCH = 32
KEYS = start_keys(BATCH)
NAMES = ("position", "rotation", "velocity", "angular_velocity")
reset = jax.jit(lambda env, keys: env.reset(keys))


def bodies(state: Any) -> dict[str, np.ndarray]:
    """Positions and velocities of all bodies of a batch of stock states."""
    return {name: np.concatenate([getattr(state.polygon, name), getattr(state.circle, name)], axis=1) for name in NAMES}


@pytest.fixture(scope="module")
def noisy(grasp: levels.Level) -> Any:
    """grasp_easy under Kinetix's own physics with start noise 1, and its start states."""
    env = levels.make_env(grasp, "stock", 1.0)
    return env, *reset(env, KEYS)


def test_noise_moves_bodies_within_its_bounds_and_shows_in_the_observation(noisy: Any, grasp: levels.Level) -> None:
    _, state, obs = noisy
    own, found = bodies(jax.tree.map(lambda x: x[None], grasp.start)), bodies(state)
    moves = np.concatenate([grasp.start.polygon.inverse_mass, grasp.start.circle.inverse_mass]) != 0
    for name in NAMES:
        change = np.abs(found[name] - own[name])
        assert (change[:, ~moves] == 0).all(), name
        assert (change > 0).any(), name
    assert np.abs(found["rotation"] - own["rotation"]).max() <= starts.TURN + 1e-6
    assert np.abs(found["angular_velocity"] - own["angular_velocity"]).max() <= starts.SPIN + 1e-6
    assert len(np.unique(np.asarray(obs), axis=0)) == BATCH
    changed = np.flatnonzero((np.asarray(obs) != np.asarray(obs)[0]).any(axis=0))
    assert set(changed) <= set(levels.varying_observation_entries(grasp).tolist())


def test_a_start_depends_on_its_key_alone(noisy: Any) -> None:
    env, state, obs = noisy
    order = np.random.default_rng(0).permutation(BATCH)
    shuffled, shuffled_obs = reset(env, KEYS[order])
    np.testing.assert_array_equal(shuffled_obs, obs[order])
    np.testing.assert_array_equal(bodies(shuffled)["velocity"], bodies(state)["velocity"][order])


def test_both_engines_start_from_equal_states(noisy: Any, grasp: levels.Level) -> None:
    _, state, obs = noisy
    fast = levels.make_env(grasp, "fast", 1.0)
    found, fast_obs = reset(fast, KEYS)
    expected = fast.from_stock(state)
    for leaf, wanted in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(leaf, wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(fast_obs, obs, rtol=1e-5, atol=1e-6)
    twice, _ = reset(dataclasses.replace(fast, start_noise=2.0), KEYS)
    assert np.abs(twice.motion.vx).max() > 1.2 * np.abs(found.motion.vx).max()


def test_no_noise_is_the_environment_without_it(grasp: levels.Level) -> None:
    for physics in levels.PHYSICS:
        plain, zero = levels.make_env(grasp, physics), levels.make_env(grasp, physics, 0.0)
        assert jax.tree.structure(zero) == jax.tree.structure(plain)
        assert zero.starts is zero.start_noise is None
    with pytest.raises(ValueError, match="start_noise=-1 must be a finite number"):
        levels.make_env(grasp, start_noise=-1)


@functools.cache
def depths(static_params: Any, env_params: Any) -> Any:
    """Compiled: how deep the bodies of every pair of Kinetix's are in each other, for a batch of states."""
    engine = levels.simulator(static_params, env_params).physics_engine
    pairs = engine.poly_poly_pairs, engine.circle_poly_pairs, engine.circle_circle_pairs
    first = np.array([[0, 0], [12, 0], [12, 12]])
    a, b = np.concatenate([np.asarray(p) + offset for p, offset in zip(pairs, first, strict=True)]).T

    @jax.jit
    @jax.vmap
    def depth(state: Any) -> Any:
        kinds = engine.calculate_collision_manifolds(state)
        deep = [jnp.where(k.active, k.penetration, 0.0).reshape(len(k.active), -1).max(axis=1) for k in kinds]
        return jnp.concatenate(deep) * state.collision_matrix[a, b]

    return depth


def joint_gaps(level: levels.Level, found: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Distance of the two anchors of every joint between active bodies, and its anchors' relative velocity."""
    joint = jax.tree.map(np.asarray, level.start.joint)
    gaps, slips = [], []
    for k in np.flatnonzero(joint.active):
        at, speed = [], []
        for body, arm in ((joint.a_index[k], joint.a_relative_pos[k]), (joint.b_index[k], joint.b_relative_pos[k])):
            angle = found["rotation"][:, body]
            x = np.cos(angle) * arm[0] - np.sin(angle) * arm[1]
            y = np.sin(angle) * arm[0] + np.cos(angle) * arm[1]
            spin = found["angular_velocity"][:, body]
            at.append(found["position"][:, body] + np.stack([x, y], axis=1))
            speed.append(found["velocity"][:, body] + np.stack([-spin * y, spin * x], axis=1))
        gaps.append(np.linalg.norm(at[0] - at[1], axis=1))
        slips.append(np.linalg.norm(speed[0] - speed[1], axis=1))
    return np.array(gaps), np.array(slips)


@pytest.mark.parametrize("name", ["grasp_easy", "catapult", "catcher_v3"])
def test_bodies_do_not_interpenetrate_more_and_joints_are_not_torn(name: str) -> None:
    level, noise = levels.load(name), 3.0
    env = levels.make_env(level, "stock", noise)
    start = jax.tree.map(lambda x: jnp.broadcast_to(x, (BATCH, *jnp.shape(x))), level.start)

    @jax.jit
    def drawn(slack: Any) -> Any:
        groups = env.starts.groups._replace(allowed=env.starts.groups.allowed + slack)
        return env.moved_to(start, starts.perturbed(dataclasses.replace(env.starts, groups=groups), noise, KEYS))

    state = drawn(0.0)
    own, found = bodies(start), bodies(state)
    assert (np.abs(found["position"] - own["position"]).max(axis=(1, 2)) > 0).mean() > 0.5
    (gaps, slips), (own_gaps, own_slips) = joint_gaps(level, found), joint_gaps(level, own)
    np.testing.assert_allclose(gaps, own_gaps, atol=1e-5)
    # Where a level starts with a gap between two anchors, a rigid motion turns the gap.
    assert (slips <= own_slips + starts.SPIN * noise * own_gaps + 1e-4).all()
    depth = depths(level.static_params, level.env_params)
    assert (np.asarray(depth(state)) <= np.asarray(depth(start)) + 2e-5).all()
    # Without the rejection, bodies do interpenetrate.
    assert (np.asarray(depth(drawn(np.inf))) > np.asarray(depth(start)) + 1e-3).any()


def groups(level: levels.Level) -> dict[tuple[int, ...], tuple[bool, bool]]:
    """Bodies of every group, and whether it may be shifted and turned."""
    found = starts.prepare(level.start, level.identity).groups
    members = [tuple(np.flatnonzero(row).tolist()) for row in found.members]
    return {bodies: (bool(s), bool(t)) for bodies, s, t in zip(members, found.shifts, found.turns, strict=True)}


def test_groups_follow_the_joints(grasp: levels.Level) -> None:
    free, hinged = (True, True), (False, True)
    assert groups(grasp) == {(4, 5, 6, 7, 8, 9): hinged, (11,): free}
    assert groups(levels.load("chain_lander")) == {(5, 6, 7, 8, 12): free, (9,): free}
    joint = grasp.start.joint
    rigid = grasp.start.replace(joint=joint.replace(is_fixed_joint=jnp.ones_like(joint.is_fixed_joint)))
    assert groups(dataclasses.replace(grasp, start=rigid)) == {(11,): free}


@pytest.mark.parametrize(("low", "high", "least", "most"), [(-0.05, 0.02, -0.05, 0.02), (0.1, 0.3, 0.0, 0.3)])
def test_a_hinge_to_a_body_at_rest_keeps_its_limits(
    low: float, high: float, least: float, most: float, grasp: levels.Level
) -> None:
    joint = jax.tree.map(np.asarray, grasp.start.joint)
    still = np.concatenate([grasp.start.polygon.inverse_mass, grasp.start.circle.inverse_mass]) == 0
    a, b = joint.a_index, joint.b_index
    (k,) = np.flatnonzero(joint.active & (still[a] != still[b]))
    angle = np.concatenate([grasp.start.polygon.rotation, grasp.start.circle.rotation])
    rest = angle[b[k]] - angle[a[k]] - joint.rotation[k]
    limited = joint.replace(
        motor_has_joint_limits=np.arange(len(a)) == k,
        min_rotation=joint.min_rotation * 0 + rest + low,
        max_rotation=joint.max_rotation * 0 + rest + high,
    )
    found = starts.prepare(grasp.start.replace(joint=limited), grasp.identity).groups
    # The turn of the group counts against the joint where the group is the joint's first body.
    expected = (least, most) if still[a[k]] else (-most, -least)
    np.testing.assert_allclose((found.least[0], found.most[0]), expected, atol=1e-6)
