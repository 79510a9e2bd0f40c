"""The specialised physics against the installed Kinetix, and its parts on their own."""

import dataclasses
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtc.bench import equivalence
from rtc.control.environment import start_keys
from rtc.shared import runtime
from rtc.worlds.kinetix import levels
from rtc.worlds.kinetix.physics import geometry, ordering, step

BATCH = 16
TICKS = 40
# One level of every kind of bodies, joints, motors and thrusters, and both of other rules than their dumps';
# `python exp/check_physics.py` takes all of them.
COMPARED = (
    "grasp_easy",
    "catcher_v3",
    "trampoline",
    "mjc_walker",
    "cartpole_thrust",
    "h17_unicycle",
    "hard_lunar_lander",
)


@pytest.fixture(scope="module")
def grasp() -> levels.Level:
    return levels.load("grasp_easy")


@pytest.mark.parametrize("name", COMPARED)
def test_every_tick_of_an_episode_is_kinetixs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From every state that the stock engine reaches, one tick of both engines."""
    if name != "grasp_easy":  # has all capacities; elsewhere two of the three are compiled
        monkeypatch.setattr(step, "CAPACITIES", step.CAPACITIES[:1])
    level = levels.load(name)
    errors, episodes = equivalence.compare_ticks(level, equivalence.sticky_actions(0, TICKS, BATCH))
    position = errors.position[np.isfinite(errors.position)]
    assert errors.ticks > 0.2 * BATCH * TICKS
    # Nothing but rounding, except where a contact is about to switch, which is rare.
    assert np.quantile(position, 0.99) < 2e-6
    assert errors.apart == errors.on_edge
    assert errors.flags == 0
    assert errors.reward < 1e-5
    assert errors.observation < 5e-3
    moved = np.nanmax(np.abs(episodes.returned))
    assert moved > 0


def test_runs_from_the_start_part_like_those_of_a_nudged_engine(grasp: levels.Level) -> None:
    apart, nudged = equivalence.divergence(grasp, equivalence.sticky_actions(1, TICKS, BATCH))
    alive = np.isfinite(apart[19])
    assert alive.sum() >= 4
    assert np.nanmax(apart[9]) < equivalence.TOLERANCE
    ours, stock = ((errors[-1][np.isfinite(errors[-1])] < 1e-3).mean() for errors in (apart, nudged))
    assert ours >= stock - 0.25


def test_the_observation_of_the_start_is_equal(grasp: levels.Level) -> None:
    observations = [levels.make_env(grasp, physics).reset(start_keys(2))[1] for physics in levels.PHYSICS]
    np.testing.assert_allclose(*observations, atol=2e-7)


@pytest.mark.parametrize("name", levels.SHIPPED)
def test_the_layout_knows_which_entries_vary(name: str) -> None:
    level = levels.load(name)
    entries = levels.make_env(level).scene.layout.entries
    assert sorted(entries.tolist()) == levels.varying_observation_entries(level).tolist()


def test_observing_picks_entries_in_the_order_asked_for(grasp: levels.Level) -> None:
    env = levels.make_env(grasp)
    _, full = env.reset(start_keys(3))
    some = (678, *levels.varying_observation_entries(grasp)[:20].tolist(), 5, 0, 1)
    few = env.observing(some)
    assert few.obs_dim == len(some)
    np.testing.assert_array_equal(few.reset(start_keys(3))[1], full[:, np.array(some)])


# A pile of bodies needs more slots than usual.


def piled(level: levels.Level) -> Any:
    """The stock start state with all moving bodies within a hand's breadth of each other, turned at random."""
    state, _ = levels.make_env(level, "stock").reset(start_keys(BATCH))
    rng = np.random.default_rng(0)
    moves = np.asarray(level.start.polygon.active & (level.start.polygon.inverse_mass != 0))
    place = np.asarray(state.polygon.position).copy()
    place[:, moves] = np.array([2.5, 2.5]) + rng.uniform(-0.15, 0.15, place[:, moves].shape)
    turn = rng.uniform(-1.0, 1.0, moves.shape).astype(np.float32) * moves
    return state.replace(
        polygon=state.polygon.replace(position=jnp.asarray(place, jnp.float32), rotation=state.polygon.rotation + turn),
        collision_matrix=jnp.ones_like(state.collision_matrix),
    )


@pytest.fixture(scope="module")
def crowd(grasp: levels.Level) -> tuple[levels.Level, Any]:
    state = piled(grasp)
    free = grasp.start.replace(
        collision_matrix=state.collision_matrix[0], joint=grasp.start.joint.replace(active=jnp.zeros(6, bool))
    )
    level = dataclasses.replace(grasp, start=free)
    return level, state.replace(joint=state.joint.replace(active=jnp.zeros((BATCH, 6), bool)))


def fullest_batch(env: Any, state: Any) -> int:
    """Contacts in the fullest batch of any environment."""
    scene, motion = env.scene, state.motion
    frames = geometry.world_frames(scene, motion.x, motion.y, *geometry.cos_sin(state.angle))
    active, _ = geometry.rectangle_rectangle(scene.bodies, scene.rectangles, frames)
    return int(ordering.places(scene.rectangles, active).most())


def test_a_crowd_escalates_the_capacity_and_drops_no_contact(crowd: tuple) -> None:
    level, state = crowd
    env, stock = levels.make_env(level), levels.make_env(level, "stock")
    assert fullest_batch(env, env.from_stock(state)) > max(step.CAPACITIES)
    action = jnp.zeros((BATCH, 6))
    stock_step, fast_step, _ = equivalence._programs()
    state = equivalence._divided(stock, state)
    ((ours, _), _), _ = fast_step(env, state, action)
    theirs, _ = stock_step(stock, state, action)
    active = np.asarray(level.start.polygon.active)
    np.testing.assert_allclose(np.asarray(ours)[:, active], np.asarray(theirs.polygon.position)[:, active], atol=1e-4)


def test_the_capacity_does_not_change_a_tick(grasp: levels.Level, monkeypatch: pytest.MonkeyPatch) -> None:
    env = levels.make_env(grasp)
    actions = jnp.asarray(equivalence.sticky_actions(3, 6, BATCH))

    def run(tick: Any) -> Any:
        state, _ = env.reset(start_keys(BATCH))
        for action in actions:
            state, _ = tick(env, state, action)
        return state.motion

    usual = run(equivalence.step)
    monkeypatch.setattr(step, "CAPACITIES", (1,))
    for ours, other in zip(usual, run(runtime.jit(lambda *args: env.step(*args[1:]))), strict=True):
        np.testing.assert_allclose(ours, other, atol=1e-4)


# The parts


@given(st.lists(st.booleans(), min_size=60, max_size=60))
@settings(max_examples=50, deadline=None)
def test_contacts_are_dealt_out_as_the_stock_engine_does(active: list[bool]) -> None:
    pairs = levels.make_env(levels.load("grasp_easy")).scene.rectangles
    live = np.array(active)[pairs.live][:, None]
    every = pairs.always.copy()
    every[pairs.live] = live[:, 0]
    found = ordering.places(pairs, jnp.asarray(live))
    order = np.argsort(every, kind="stable")
    batch = {int(pair): place % pairs.batches for place, pair in enumerate(order)}
    seen = dict.fromkeys(range(pairs.batches), 0)
    for k, number in enumerate(pairs.live[pairs.solid]):
        assert bool(found.active[k, 0]) == bool(every[number])
        if every[number]:
            assert int(found.batch[k, 0]) == batch[number]
            assert int(found.rank[k, 0]) == seen[batch[number]]
            seen[batch[number]] += 1
    assert int(found.most()) == max(seen.values())


def test_cosine_and_sine_are_accurate_over_many_turns() -> None:
    angle = np.linspace(-450.0, 450.0, 200_001, dtype=np.float32)
    cos, sin = geometry.cos_sin(jnp.asarray(angle))
    exact = angle.astype(np.float64)
    np.testing.assert_allclose(cos, np.cos(exact), atol=3e-7)
    np.testing.assert_allclose(sin, np.sin(exact), atol=3e-7)


# The environment


def test_equal_levels_share_a_program_and_others_do_not(grasp: levels.Level) -> None:
    heavier = dataclasses.replace(grasp, start=grasp.start.replace(gravity=jnp.array([0.0, -30.0])))
    one, same, other = (levels.make_env(level) for level in (grasp, levels.load("grasp_easy"), heavier))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one.scene.gravity != other.scene.gravity


def test_an_episode_ends_at_the_goal_the_time_limit_and_a_non_finite_state(grasp: levels.Level) -> None:
    env = levels.make_env(grasp)
    state, _ = env.reset(start_keys(BATCH))
    rows, roles = env.scene.bodies.row, np.asarray(grasp.start.polygon_shape_roles * grasp.start.polygon.active)
    ball, goal = int(np.flatnonzero(roles == 1)[0]), int(np.flatnonzero(roles == 2)[0])
    x, y = np.asarray(grasp.start.polygon.position[goal])
    motion = state.motion
    motion = motion._replace(
        x=motion.x.at[rows[ball], 1].set(x), y=motion.y.at[rows[ball], 1].set(y), vx=motion.vx.at[0, 5].set(jnp.nan)
    )
    state = state._replace(motion=motion, tick=state.tick.at[2].set(255))
    _, out = equivalence.step(env, state, jnp.zeros((BATCH, 6)))
    assert out.solved.tolist() == [k == 1 for k in range(BATCH)]
    assert out.done.tolist() == [k in (1, 2, 5) for k in range(BATCH)]
    assert out.finite.tolist() == [k != 5 for k in range(BATCH)]
    assert out.reward[1] > 0.9
    assert np.isfinite(out.obs).all()


def test_a_level_that_cannot_be_specialised_runs_on_the_stock_engine(grasp: levels.Level) -> None:
    polygon = grasp.start.polygon
    triangle = polygon.replace(n_vertices=polygon.n_vertices.at[4].set(3))
    level = dataclasses.replace(grasp, start=grasp.start.replace(polygon=triangle))
    with pytest.warns(UserWarning, match="grasp_easy runs on the stock engine.*not a rectangle"):
        env = levels.make_env(level)
    assert isinstance(env, levels.KinetixEnv)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not isinstance(levels.make_env(grasp), levels.KinetixEnv)


def test_a_moving_wall_is_left_to_the_stock_engine(grasp: levels.Level) -> None:
    polygon = grasp.start.polygon
    sliding = polygon.replace(velocity=polygon.velocity.at[10, 0].set(1.0))
    level = dataclasses.replace(grasp, start=grasp.start.replace(polygon=sliding))
    with pytest.warns(UserWarning, match="infinite mass moves"):
        levels.make_env(level)


# Room for programs; last in this file, because it drops those of the tests above


def test_programs_make_room_for_others_and_come_back() -> None:
    add_one = jax.jit(lambda x: x + 1)
    assert add_one(jnp.zeros(())) == 1
    assert not runtime.make_room(limit=10**9)
    assert add_one._cache_size() == 1
    assert runtime.make_room(limit=0)
    assert add_one._cache_size() == 0
    assert add_one(jnp.zeros(())) == 1
