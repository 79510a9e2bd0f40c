"""Foresight: what is asked where the robot will be, with the simulator and with a model."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtc import methods
from rtc.control import executor
from rtc.control.controller import ExecutionConfig, make_controller
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.delay.sampling import make_process
from rtc.methods import FlowMethod
from rtc.methods.foresee import Foresee
from rtc.policies.mixer import ModelConfig
from stubs import EchoPolicy, SmoothEnv, make_policy

H = 8
ENV = SmoothEnv((2, 3, 4), 24)


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
    return executor.rollout(env, policy, controller, seed=0, episodes=np.arange(4), num_steps=2)


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


def test_what_foresight_needs(policy):
    inner = methods.make("foresee_simulator")
    assert "--config.model.robot-ahead" in methods.make("vlash").problem(policy)
    assert methods.run_for("vlash_learned", "logs-bc/h8", "logs-bc/h8_prefix") == "logs-bc/h8_vlash"
    assert "plans ahead already" in Foresee(inner, learned=False).problem(policy)
    assert methods.make("foresee_simulator").privileged
    assert not methods.make("foresee_learned").privileged
    assert methods.make("foresee_simulator+a2c2").privileged
    assert list(methods.make("foresee_learned+a2c2").assets()) == ["model", "head"]
