"""Foresight: what is asked where the robot will be, with the simulator and with a model."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtc import methods
from rtc.control import executor
from rtc.control.controller import ExecutionConfig, make_controller
from rtc.control.recorder import Recorder
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.delay.sampling import make_process
from rtc.methods import FlowMethod
from rtc.methods.foresee import Foresee
from rtc.policies import networks
from rtc.policies.mixer import ModelConfig
from stubs import EchoPolicy, SmoothEnv, Telling, make_policy

H = 8
ENV = SmoothEnv((2, 3, 4), 24)
SEEN = Recorder(ENV)


@pytest.fixture(scope="module")
def policy():
    rng = np.random.default_rng(0)
    sizes = ModelConfig(channel_dim=8, channel_hidden_dim=8, token_hidden_dim=8, num_layers=1, action_chunk_size=H)
    return make_policy(
        lambda name, shape: 0.6 * rng.standard_normal(shape).astype(np.float32), obs_dim=3, action_dim=6, config=sizes
    )


def run(policy, method, delay, horizon, *, estimator="oracle", fallback="hold", profile=None, env=ENV):
    profile = DelayProfileConfig(fixed_delay=delay) if profile is None else profile
    config = ExecutionConfig(execute_horizon=horizon, action_noise=0.0, fallback=fallback)
    controller = make_controller(method, make_process(profile), EstimatorConfig(kind=estimator).make(), config)
    recorded = {"record_poses": env is SEEN}
    return executor.rollout(env, policy, controller, seed=0, episodes=np.arange(4), num_steps=2, **recorded)


class Unmoved:
    """Predicts that nothing changes."""

    robot = jnp.zeros(3, bool)

    def ahead(self, obs, actions, ticks):
        return obs


jax.tree_util.register_static(Unmoved)


class Exact:
    """The true dynamics, as a forward model. The robot's own entry is the first one."""

    robot = jnp.array([True, False, False])

    def ahead(self, obs, actions, ticks):
        x = obs
        for i in range(actions.shape[1]):
            moved = jnp.sin(0.9 * x + 0.1 * actions[:, i, :3] - 0.1 * actions[:, i, 3:])
            x = jnp.where((i < ticks)[:, None], moved, x)
        return x


jax.tree_util.register_static(Exact)


@pytest.mark.parametrize("delay", [1, 3, 4])
@pytest.mark.parametrize("kind", ["foresee_simulator", "foresee_learned"])
def test_without_noise_perfect_foresight_undoes_a_known_delay(policy, kind, delay):
    quiet = methods.make("naive", methods.MethodOptions(noise_scale=0.0))
    method = methods.make(kind, methods.MethodOptions(noise_scale=0.0))
    if kind == "foresee_learned":
        method = method.bind({"model": Exact()})
    there = run(policy, method, delay, delay)
    undelayed, delayed = run(policy, quiet, 0, delay), run(policy, quiet, delay, delay)
    np.testing.assert_allclose(there.actions, undelayed.actions, atol=1e-5)
    np.testing.assert_array_equal(there.length, undelayed.length)
    assert np.nanmax(np.abs(delayed.actions - undelayed.actions)) > 0.01
    assert set(there.origin[there.origin >= 0]) == {delay}


def test_robot_only_foresight_leaves_the_rest_as_it_is_seen_now(policy):
    names = {"robot_only_simulator": {}, "robot_only_learned": {"model": Exact()}}
    found = [
        run(policy, methods.make(name, methods.MethodOptions(noise_scale=0.0)).bind(networks), 3, 3)
        for name, networks in names.items()
    ]
    np.testing.assert_allclose(*(records.actions for records in found), atol=1e-5)
    whole = run(policy, methods.make("foresee_simulator", methods.MethodOptions(noise_scale=0.0)), 3, 3)
    assert np.nanmax(np.abs(found[0].actions - whole.actions)) > 0.01
    obs, actions = jnp.array([[0.3, -0.2, 0.1]]), 0.5 * jnp.ones((1, H, 6)) * jnp.arange(6)
    query = SimpleNamespace(obs=obs, upcoming=actions)
    method = methods.make("robot_only_learned").bind({"model": Exact()})
    seen, ahead = method.foreseen(query, jnp.array([2])), Exact().ahead(obs, actions, jnp.array([2]))
    np.testing.assert_allclose(seen[0], [ahead[0, 0], -0.2, 0.1], atol=1e-6)


@jax.tree_util.register_static
class Upcoming(FlowMethod):
    """Chunks that are what is commanded until they arrive."""

    def first_chunk(self, policy, key, obs, num_steps):
        entry = 1.0 + jnp.arange(policy.action_chunk_size)
        return jnp.broadcast_to(entry[None, :, None], (len(obs), policy.action_chunk_size, policy.action_dim))

    def next_chunk(self, policy, query, num_steps):
        return query.upcoming


@pytest.mark.parametrize("fallback", ["hold", "zero"])
def test_a_query_is_told_what_is_commanded_until_it_returns_the_fallback_included(fallback):
    policy = EchoPolicy(4)
    # The first query has all of the bootstrap chunk left. It returns at tick 6, when the next one is launched, with
    # nothing of it left.
    records = run(policy, Upcoming(), 6, 1, fallback=fallback)
    held = 4.0 if fallback == "hold" else 0.0
    np.testing.assert_array_equal(records.actions[0, :6, 0], [1, 2, 3, 4, held, held])
    np.testing.assert_array_equal(records.actions[0, 6:12, 0], [held] * 6)


def test_an_early_answer_waits_for_the_tick_that_it_was_planned_for(policy):
    method = methods.make("foresee_simulator", methods.MethodOptions(noise_scale=0.0))
    spiky = DelayProfileConfig(mode="mixture", base_delays=(1,), base_probs=(1.0,), p_spike=0.5, d_spike=3)
    records = run(policy, method, 0, 1, estimator="window_max", profile=spiky)
    launched = records.planned >= 0
    np.testing.assert_array_equal(records.origin[launched], np.minimum(records.planned[launched], H))
    late = (records.delay > records.origin) & launched
    assert ((records.delay < records.origin) & launched).any()
    assert late.any()


@jax.tree_util.register_static
class Sees(FlowMethod):
    """Chunks that say what was observed."""

    def first_chunk(self, policy, key, obs, num_steps):
        return jnp.zeros((len(obs), policy.action_chunk_size, 6))

    def next_chunk(self, policy, query, num_steps):
        said = jnp.concatenate([query.obs, jnp.zeros_like(query.obs)], axis=1)
        return jnp.broadcast_to(said[:, None], (len(said), policy.action_chunk_size, 6))


def test_what_is_foreseen_comes_to_pass_whatever_the_delay_is():
    """Chunks that begin when they were planned to say what is seen then: with late, early and abandoned queries."""
    profile = DelayProfileConfig(
        mode="mixture", base_delays=(0, 1, 3), base_probs=(0.3, 0.4, 0.3), p_spike=0.2, d_spike=5, deadline=4
    )
    records = run(
        EchoPolicy(4), Foresee(Sees(), learned=False), 0, 1, profile=profile, estimator="window_max", env=SEEN
    )
    seen, checked = records.poses.obs, 0
    for episode, length in enumerate(records.length):
        for tick in range(length):
            row = {name: getattr(records, name)[episode, : tick + 1] for name in ("delay", "origin", "abandoned")}
            begun = np.arange(tick + 1) + np.maximum(row["delay"], row["origin"])
            there = (row["delay"] >= 0) & (row["abandoned"] == 0) & (begun <= tick)
            if not there.any():
                continue
            launch = np.flatnonzero(there).max()
            # The chunk's first entry, which is there in time.
            if launch + row["origin"][launch] == tick:
                np.testing.assert_allclose(records.actions[episode, tick, :3], seen[episode, tick], atol=1e-5)
                checked += row["origin"][launch] > 0
    assert checked > 5
    assert records.abandoned.max() == 1


def test_what_is_left_of_the_old_chunk_at_hand_over_is_joined():
    """At d = s = 4 half of an old chunk of 8 is still to come when the new one begins."""
    records = run(EchoPolicy(8), Foresee(Telling(0.0), Unmoved()), 4, 4)
    told = records.actions[0, 4:8]
    np.testing.assert_array_equal(told[:, 1], [0, 1, 2, 3])  # entries of the chunk
    np.testing.assert_array_equal(told[:, 2], [0] * 4)  # nothing of it is committed
    np.testing.assert_array_equal(told[:, 3], [4] * 4)  # overlap
    np.testing.assert_array_equal(told[:, 4], [4] * 4)  # the old chunk's entry at hand-over


def test_lags_are_not_for_those_who_look_at_the_simulator():
    settings = make_process(DelayProfileConfig()), EstimatorConfig().make()
    for lag in ("observation_lag", "actuation_lag"):
        config = ExecutionConfig(**{lag: 1})
        make_controller(methods.make("foresee_learned"), *settings, config)
        with pytest.raises(ValueError, match=f"{lag}=1.*looks at the simulator"):
            make_controller(methods.make("foresee_simulator+a2c2"), *settings, config)


def test_vlash_takes_the_forward_model_of_its_own_run_or_else_the_ordinary_one(tmp_path):
    find = methods.make("vlash").assets()["model"].find
    where = methods.Place(tmp_path / "some_vlash", "level", tmp_path / "policy")
    assert find(where) is None
    for run in ("some", "some_vlash"):
        path = networks.place(tmp_path / run, "forward", "level").with_suffix(".safetensors")
        path.parent.mkdir(parents=True)
        path.touch()
        assert find(where) == path
    assert methods.make("vlash_simulator").privileged
    assert not methods.make("vlash_simulator").assets()
    assert not methods.make("vlash").privileged


def test_what_foresight_needs(policy):
    inner = methods.make("foresee_simulator")
    assert "--config.model.robot-ahead" in methods.make("vlash").problem(policy)
    for run in ("logs-bc/h8", "logs-bc/h8/", "logs-bc/h8_vlash"):
        assert methods.run_for("vlash", run, "logs-bc/h8_prefix") == "logs-bc/h8_vlash"
    assert "plans ahead already" in Foresee(inner, learned=False).problem(policy)
    assert methods.make("foresee_simulator").privileged
    assert not methods.make("foresee_learned").privileged
    assert methods.make("foresee_simulator+a2c2").privileged
    assert list(methods.make("foresee_learned+a2c2").assets()) == ["model", "head"]
