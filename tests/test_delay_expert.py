"""Experts of the delayed decision process: what they see, how they are trained, and how they act."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import train_expert
import train_networks
from line_world import LEVEL, SLUG, SMALL_PPO
from rtc import methods
from rtc.control import executor
from rtc.control.controller import ExecutionConfig, make_controller
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.delay.sampling import make_process
from rtc.policies import networks
from rtc.policies.delayed import DelayedActor, DelayedConfig, features
from rtc.training import delayed, demonstrations
from rtc.training.expert import Expert, ExpertConfig, save_expert
from stubs import EchoPolicy, HashEnv

LATE = ExpertConfig((0, 2), action_dim=3, num_motors=2, history=2, width=8, delay=3)


def expert(config=LATE, seed=0):
    made = Expert(config, rngs=nnx.Rngs(seed))
    # As initialised, the last layer's actions are all but equal.
    made.actor.layers[-1].kernel[...] *= 100
    return made


@jax.tree_util.register_static
class Telling:
    """An actor whose action is the tick and the hash that it sees, its delay, and the last commands."""

    config = DelayedConfig(reach=3)
    action_dim = 6
    entries = np.arange(2)

    def __call__(self, observations, commands, delay):
        found = features(observations, commands, delay, 3)
        ticks = found[:, 2:20].reshape(-1, 3, 6)[..., 0]
        return jnp.stack([*found[:, :2].T, delay.astype(jnp.float32), *ticks.T], axis=1)


def run(**profile):
    controller = make_controller(
        methods.make("delay_expert").bind({"actor": Telling()}),
        make_process(DelayProfileConfig(**profile)),
        EstimatorConfig(kind="oracle").make(),
        ExecutionConfig(execute_horizon=2, action_noise=0.0),
    )
    env = HashEnv(end_every=jnp.array(0), max_timesteps=16)
    return executor.rollout(env, EchoPolicy(), controller, seed=0, episodes=np.arange(3), num_steps=2)


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_it_sees_what_was_observed_d_ticks_ago_and_commanded_since(delay):
    records = run(fixed_delay=delay)
    actions = np.asarray(records.actions[0])
    ticks = np.arange(16)
    seen = np.maximum(ticks - delay, 0)
    np.testing.assert_array_equal(actions[:, 0], seen)
    np.testing.assert_array_equal(actions[:, 2], delay)
    for age in (1, 2, 3):
        told = np.where((age <= max(delay, 1)) & (ticks >= age), seen[np.maximum(ticks - age, 0)], 0)
        np.testing.assert_array_equal(actions[:, 6 - age], told)
    # A starved tick stays one, whatever is made of it.
    expected = np.where(records.age[0] < 0, -1, ticks - seen)
    np.testing.assert_array_equal(records.age[0], expected)
    assert (records.age[0, :4] >= 0).all()
    np.testing.assert_array_equal(records.evaluations[0], 1)


def test_it_never_goes_back_to_an_older_observation():
    records = run(mode="mixture", base_delays=(0, 1, 2), base_probs=(0.4, 0.3, 0.3), p_spike=0.3, d_spike=5)
    for row in range(3):
        age, delay = 3, 0
        for tick in range(16):
            delay = records.delay[row, tick] if records.delay[row, tick] >= 0 else delay
            age = min(delay, 3, age + 1)
            assert records.actions[row, tick, 2] == age
            assert records.actions[row, tick, 0] == max(tick - age, 0)
    assert records.delay.max() > 3


def test_the_exported_actor_is_the_experts_mode(tmp_path):
    save_expert(tmp_path / "one", expert(), {"solve_rate": 0.5})
    delayed.export(tmp_path / "one", tmp_path / "net", {"why": "test"})
    actor, facts = networks.load(tmp_path / "net", DelayedActor)
    assert facts == {"why": "test", "stored": "float16"}
    assert actor.config == DelayedConfig(reach=3, width=8, num_motors=2, history=2)
    key = jax.random.key(1)
    observations, commands = jax.random.normal(key, (4, 5, 2)), jax.random.normal(key, (4, 3, 3))
    delay = jnp.array([0, 1, 2, 3])
    action = actor(observations, commands, delay)
    np.testing.assert_allclose(action, expert().mode(features(observations, commands, delay, 3)), atol=5e-3)
    assert np.abs(np.diff(action, axis=0)).max() > 0.1


def test_the_best_expert_of_a_level_is_taken(tmp_path):
    for seed, rate in enumerate((0.2, 0.9, 0.6)):
        save_expert(tmp_path / "7" / "policies" / f"some_seed_{seed}", expert(seed=seed), {"solve_rate": rate})
    assert delayed.best(tmp_path, "some").name == "some_seed_1"
    with pytest.raises(FileNotFoundError, match="no expert for other"):
        delayed.best(tmp_path, "other")
    with pytest.raises(ValueError, match="sees late observations"):
        demonstrations.find_experts(tmp_path, "some", 0.1)
    save_expert(tmp_path / "now", expert(dataclasses.replace(LATE, delay=0)), {"solve_rate": 0.5})
    with pytest.raises(ValueError, match=r"trained without delays: give --config\.delay"):
        delayed.facts(tmp_path / "now")


@pytest.mark.usefixtures("line_world")
def test_it_learns_and_goes_beside_the_policies(tmp_path, monkeypatch):
    config = dataclasses.replace(SMALL_PPO, delay=2)
    rates = train_expert.train(train_expert.Arguments(config, (LEVEL,), tmp_path / "experts", recipe=None))
    assert rates[f"{SLUG}_seed_0"] >= 0.95
    level = type("Level", (), {"name": "grasp_easy"})
    one = type("Subject", (), {"level": level, "level_path": LEVEL, "filed_under": LEVEL})
    monkeypatch.setattr("rtc.study.subject.load", lambda *_: one)
    args = train_networks.Arguments(tmp_path / "run", (LEVEL,), ("delay_expert",), experts=tmp_path / "experts")
    (path,) = train_networks.train(args)
    found, facts = networks.load(networks.find(tmp_path / "run", "delay_expert", LEVEL), DelayedActor)
    assert found.config.reach == facts["training"]["delay"] == 2
    assert facts["solve_rate"] >= 0.95
    before = path.with_suffix(".json").stat().st_mtime_ns
    train_networks.train(args)
    assert path.with_suffix(".json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kinds": ("delay_expert",)}, "delay_expert needs the run of its experts"),
        ({"kinds": ("forward",), "experts": "logs-expert/late"}, "leave it out"),
    ],
)
def test_experts_go_with_their_kind(changes, message):
    with pytest.raises(ValueError, match=message):
        train_networks.Arguments(**changes)
