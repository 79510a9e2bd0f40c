"""Regression policies: one chunk per observation, as checkpoints of a run, in both executors."""

import dataclasses
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import rtc
from line_world import ENV, SMALL_CLONING
from rtc import methods
from rtc.control.controller import ExecutionConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.methods import MethodOptions, registry
from rtc.policies import checkpoints, kinds, regression
from rtc.policies.flow import FlowPolicy
from rtc.policies.mixer import ModelConfig
from rtc.policies.regression import RegressionPolicy
from rtc.programs import train_networks
from rtc.study import costs, hosted, identity, policy_kinds, subject
from rtc.study.evaluation import EvalConfig
from rtc.training import cloning
from rtc.training.demonstrations import Demonstrations
from rtc.worlds.gym import tasks

SMALL = ModelConfig(8, 8, 4, num_layers=1, action_chunk_size=4)
PENDULUM = tasks.TASKS["Pendulum-v1"]
L1 = dataclasses.replace(SMALL_CLONING, loss="l1", model=SMALL)


def policy_of(obs_dim=5, action_dim=6, seed=0):
    return RegressionPolicy(obs_dim=obs_dim, action_dim=action_dim, config=SMALL, rngs=nnx.Rngs(seed))


def test_it_has_the_size_of_the_flow_policy_and_one_answer():
    policy = policy_of()
    flow = FlowPolicy(obs_dim=5, action_dim=6, config=SMALL, rngs=nnx.Rngs(0))
    sizes = [sum(leaf.size for leaf in jax.tree.leaves(nnx.state(one))) for one in (policy, flow)]
    assert sizes[0] == sizes[1]
    obs = jnp.asarray(np.random.default_rng(0).standard_normal((3, 5), np.float32))
    chunk = policy.action(None, obs)
    assert chunk.shape == (3, 4, 6)
    noise = jnp.ones((3, 4, 6))
    np.testing.assert_array_equal(policy.action(jax.random.key(1), obs, 7, noise=noise), chunk)
    folded = policy.observing((0, 2), np.array([9.0, 1, 9, 2, 3]))
    full = jnp.tile(jnp.array([0.0, 1, 0, 2, 3]), (3, 1)).at[:, jnp.array([0, 2])].set(obs[:, :2])
    np.testing.assert_allclose(folded.action(None, obs[:, :2]), policy.action(None, full), atol=1e-5)
    assert float(policy.loss(jax.random.key(0), obs, chunk + 0.25)) == pytest.approx(0.25, abs=1e-6)
    with pytest.raises(ValueError, match="obs has shape"):
        policy.action(None, obs[:, :4])
    with pytest.raises(ValueError, match=r"simulated_delay=2 has no effect on a regression policy"):
        RegressionPolicy(
            obs_dim=5, action_dim=6, config=dataclasses.replace(SMALL, simulated_delay=2), rngs=nnx.Rngs(0)
        )


def one_tick_episodes(values):
    """The same observation every time, and an episode per value of the action."""
    size = len(values)
    action = np.repeat(np.asarray(values, np.float32)[:, None], 1, axis=1)
    return Demonstrations(
        obs=np.ones((size, 3), np.float32),
        action=action,
        other=action,
        done=np.ones(size, bool),
        solved=np.ones(size, bool),
        finite=np.ones(size, bool),
        expert=np.zeros(size, np.int32),
        template=np.zeros(3, np.float32),
        entries=np.arange(3),
        facts={},
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with a policy for Pendulum that learned from one observation with the answers 0.5, 0.5 and -1."""
    folder = tmp_path_factory.mktemp("l1")
    config = dataclasses.replace(
        L1, num_epochs=60, save_every=60, batch_size=32, parts=1, learning_rate=1e-2, ema_decay=0.0, weight_decay=0.0
    )
    data = one_tick_episodes([0.5, 0.5, -1.0] * 64)
    facts = {"level": PENDULUM.name, "level_sha256": PENDULUM.sha256}
    level = checkpoints.level_slug(PENDULUM.name)
    cloning.train(data, config, level=level, output_path=folder, facts=facts, resume=False)
    return folder


def test_it_learns_the_median_and_a_resumed_run_keeps_it(run):
    path = checkpoints.policy_path(run, PENDULUM.name)
    policy, facts = regression.load_policy(path, obs_dim=3, action_dim=1)
    chunk = np.asarray(policy.action(None, jnp.ones((1, 3))))[0, :, 0]
    np.testing.assert_allclose(chunk, [0.5, 0, 0, 0], atol=0.1)  # zeros after an episode's end; the mean would be 0
    assert facts["training"]["loss"] == "l1"
    assert facts["level"] == PENDULUM.name


def test_checkpoints_say_what_they_are(tmp_path):
    regression.save_policy(tmp_path / "one", policy_of(), {"note": 1})
    checkpoints.save_policy(tmp_path / "two", FlowPolicy(obs_dim=5, action_dim=6, config=SMALL, rngs=nnx.Rngs(0)), {})
    assert kinds.of(tmp_path / "one.safetensors") is kinds.REGRESSION
    assert kinds.of(tmp_path / "two") is kinds.FLOW
    loaded, facts = regression.load_policy(tmp_path / "one.safetensors", obs_dim=5)
    assert facts == {"note": 1}
    jax.tree.map(np.testing.assert_array_equal, nnx.state(loaded), nnx.state(policy_of()))
    with pytest.raises(ValueError, match="the weights do not belong to"):
        checkpoints.load_policy(tmp_path / "one", obs_dim=5)
    with pytest.raises(ValueError, match="no valid 'kind'"):
        regression.load_policy(tmp_path / "two", obs_dim=5)
    with pytest.raises(ValueError, match="trained with obs_dim=5, but obs_dim=679"):
        regression.load_policy(tmp_path / "one")
    with pytest.raises(ValueError, match="has num_layers=1, but num_layers=2"):
        regression.load_policy(tmp_path / "one", dataclasses.replace(SMALL, num_layers=2), obs_dim=5)


@pytest.mark.parametrize("name", [name for name in methods.METHODS if not methods.make(name).assets()])
def test_methods_need_only_chunks_or_say_that_they_need_a_flow(name):
    method = methods.make(name)
    if method.needs_robot_ahead:
        pytest.skip("needs a policy trained for it")
    policy = policy_of(obs_dim=ENV.obs_dim)
    if name in registry.OF_FLOWS:
        with pytest.raises(ValueError, match="needs a flow, and a policy that was trained with loss='l1' has none"):
            policy_kinds.check(kinds.REGRESSION, EvalConfig(method=name))
    elif not method.privileged:
        policy_kinds.check(kinds.REGRESSION, EvalConfig(method=name))
        assert costs.of(policy, method, ENV, 1).query > 0


@pytest.mark.parametrize("name", ["realtime", "bid", "paint"])
def test_a_method_of_flows_is_told_by_the_policy_too(name):
    with pytest.raises(ValueError, match="a regression policy has one chunk per observation, and no flow"):
        costs.of(policy_of(obs_dim=ENV.obs_dim), methods.make(name), ENV, 1)


def test_what_has_no_effect_is_refused():
    for config, message in (
        (EvalConfig(num_flow_steps=3), "num_flow_steps=3 has no effect on a policy that was trained with loss='l1'"),
        (EvalConfig(method_options=MethodOptions(noise_scale=0.5)), "noise_scale=0.5 has no effect"),
        (EvalConfig(delay_profile=DelayProfileConfig(fixed_delay=3, anytime=2)), "anytime=2 has no effect"),
    ):
        with pytest.raises(ValueError, match=message):
            policy_kinds.check(kinds.REGRESSION, config)
        policy_kinds.check(kinds.FLOW, config)
    with pytest.raises(ValueError, match=r"model\.simulated_delay=2 has no effect with loss='l1'"):
        dataclasses.replace(L1, model=dataclasses.replace(SMALL, simulated_delay=2))
    with pytest.raises(ValueError, match="loss='l2' is unknown; choose one of: flow, l1"):
        dataclasses.replace(L1, loss="l2")


def test_it_is_evaluated_in_a_world_that_is_stepped_from_python(run):
    found = hosted.load(str(run), "gym:Pendulum-v1")
    config = EvalConfig(num_evals=1, method="temporal_ensemble", execution=ExecutionConfig(execute_horizon=4))
    found.check(config)
    inputs = found.inputs(config, 0)
    assert "num_flow_steps" not in inputs["config"]
    assert inputs["code"] != identity.hosted_code(config, "rtc.worlds.gym.worlds")
    with pytest.raises(ValueError, match="method='realtime' needs a flow"):
        found.check(dataclasses.replace(config, method="realtime"))
    episode = found.evaluate(config, 0).summary.episodes.iloc[0]
    # One pass per query, and one for the chunk before the first.
    assert episode["flow_evals"] == episode["num_queries"] + 1
    assert episode["num_queries"] == 50
    assert found.costs(config).query > 0


def test_it_is_evaluated_by_the_call_for_policies_of_ones_own(run):
    policy, _ = regression.load_policy(checkpoints.policy_path(run, PENDULUM.name), obs_dim=3, action_dim=1)
    execution = ExecutionConfig(execute_horizon=4, action_noise=0.1)
    asked = {"env": "gym:Pendulum-v1", "policy": policy, "episodes": 1, "execution": execution}
    found = rtc.evaluate(**asked, method="temporal_ensemble").episodes.iloc[0]
    assert found["flow_evals"] == found["num_queries"] + 1
    with pytest.raises(ValueError, match="num_flow_steps=3 has no effect on a policy that was trained with loss='l1'"):
        rtc.evaluate(**asked, num_flow_steps=3)
    with pytest.raises(ValueError, match="method='realtime' needs a flow"):
        rtc.evaluate(**asked, method="realtime")


def test_networks_of_flow_policies_are_refused(run):
    args = train_networks.Arguments(run_path=run, kinds=("forward", "latent", "vlash"))
    with pytest.raises(ValueError, match=r"kinds=latent, vlash needs flow policies, and those of .* with loss='l1'"):
        train_networks.require_flow(args, types.SimpleNamespace(policy=policy_of()))


def test_fine_tuning_starts_from_its_weights(run):
    level, data = checkpoints.level_slug(PENDULUM.name), one_tick_episodes([0.5])
    start = cloning._starting_policy(dataclasses.replace(L1, load_dir=run), level, data, jax.random.key(1))
    there, _ = regression.load_policy(checkpoints.policy_path(run, PENDULUM.name), obs_dim=3, action_dim=1)
    jax.tree.map(np.testing.assert_array_equal, nnx.state(start), nnx.state(there))


def test_on_a_level_it_takes_one_pass():
    found = subject.PolicySubject(None, "", policy_of(), Path("one"), "", {}, kind=kinds.REGRESSION)
    assert found.steps(EvalConfig()) == 1
    assert identity.code(EvalConfig(), kinds.REGRESSION.loader) != identity.code(EvalConfig())
