"""PPO: its parts, and whole runs on an environment small enough to learn in seconds."""

import dataclasses
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import expit, logit
from scipy.stats import norm

import train_expert
from line_world import LEVEL, SLUG, SMALL_PPO, Killed, assert_same, dies_at_call
from rtc.policies.delayed import squash
from rtc.training import ppo_training, progress
from rtc.training.expert import Expert, ExpertConfig, load_expert, newest_experts, save_expert
from rtc.training.ppo import Minibatch, PPOConfig, correlated_noise, generalised_advantages, loss
from rtc.worlds.kinetix import levels

pytestmark = pytest.mark.usefixtures("line_world")


def test_advantages_match_the_definition():
    rng = np.random.default_rng(0)
    reward, value = rng.normal(size=(2, 20, 3))
    done, last_value = rng.random((20, 3)) < 0.2, rng.normal(size=3)
    expected = np.zeros((20, 3))
    for b in range(3):
        for t in range(20):
            weight = 1.0
            for k in range(t, 20):
                following = last_value[b] if k == 19 else value[k + 1, b]
                delta = reward[k, b] + 0.9 * (0.0 if done[k, b] else following) - value[k, b]
                expected[t, b] += weight * delta
                if done[k, b]:
                    break
                weight *= 0.9 * 0.8
    advantages = generalised_advantages(*map(jnp.asarray, (reward, value, done, last_value)), 0.9, 0.8)
    np.testing.assert_allclose(advantages, expected, rtol=1e-4, atol=1e-5)


def reference_log_prob(mean, log_std, raw, num_motors):
    """Log-density of the bounded action by change of variables."""
    action = np.asarray(squash(jnp.asarray(raw), num_motors), np.float64)
    motor, thruster = action[..., :num_motors], action[..., num_motors:]
    inverse = np.concatenate([np.arctanh(motor), logit(thruster)], axis=-1)
    slope = np.concatenate([1 / (1 - motor**2), 1 / (thruster * (1 - thruster))], axis=-1)
    return (norm.logpdf(inverse, mean, np.exp(log_std)) + np.log(slope)).sum(-1)


def test_squash_maps_motors_and_thrusters_to_their_ranges():
    raw = np.array([-1.0, 0.5, 2.0], np.float32)
    expected = [np.tanh(-1.0), np.tanh(0.5), expit(2.0)]
    np.testing.assert_allclose(squash(jnp.asarray(raw), 2), expected, rtol=1e-6)


def test_loss_is_the_clipped_surrogate_with_a_perturbed_mean():
    config = PPOConfig(num_envs=8, num_steps=8, rpo_alpha=0.3)
    expert = Expert(ExpertConfig((0, 1), action_dim=3, num_motors=2, history=2, width=8), rngs=nnx.Rngs(0))
    rng = np.random.default_rng(2)
    features, raw = rng.normal(size=(32, 7)), rng.normal(size=(32, 3))
    advantage, target = rng.normal(size=(2, 32))
    old_mean = 0.3 * rng.normal(size=(32, 3))
    policy, value = expert(jnp.asarray(features, jnp.float32))
    key = jax.random.key(3)
    shift = jax.random.uniform(key, (32, 3), minval=-0.3, maxval=0.3)
    # The ratio of the bounded actions' densities is that of the raw ones, which the batch holds.
    new, old = (
        reference_log_prob(np.asarray(mean), np.zeros(3), raw.astype(np.float32), 2)
        for mean in (policy.loc + shift, old_mean)
    )
    ratio = np.exp(new - old)
    old = norm.logpdf(raw, old_mean).sum(-1)
    surrogate = np.minimum(ratio * advantage, np.clip(ratio, 0.8, 1.2) * advantage)
    value_loss = 0.5 * np.square(np.asarray(value) - target).mean()

    batch = Minibatch(*(jnp.asarray(x, jnp.float32) for x in (features, raw, old, advantage, target)))
    total, parts = loss(expert, key, batch, config)
    assert float(parts["policy_loss"]) == pytest.approx(-surrogate.mean(), abs=1e-3)
    assert float(parts["value_loss"]) == pytest.approx(value_loss, rel=1e-4)
    assert float(total) == pytest.approx(-surrogate.mean() + 0.5 * value_loss, abs=1e-3)
    assert 0.2 < float(parts["clip_fraction"]) < 0.9


def test_ppo_learns_and_stops_at_the_target(expert_run):
    run_path, rate = expert_run
    assert rate >= 0.95
    rows = progress.read_rows(run_path / "stats" / f"{SLUG}_seed_0.csv")
    assert rows[0]["solve_rate"] < 0.5
    assert len(rows) < SMALL_PPO.num_updates
    _, facts = load_expert(run_path / str(len(rows)) / "policies" / f"{SLUG}_seed_0")
    assert facts["solve_rate"] == pytest.approx(rate)
    assert facts["env_steps"] == len(rows) * SMALL_PPO.num_envs * SMALL_PPO.num_steps


def test_killed_ppo_run_ends_as_an_uninterrupted_one(tmp_path, monkeypatch):
    config = dataclasses.replace(SMALL_PPO, num_updates=5, save_every=2, target_solve_rate=2.0)

    def expert_of(folder):
        train_expert.train(train_expert.Arguments(config, (LEVEL,), tmp_path / folder, recipe=None))
        return load_expert(tmp_path / folder / "5" / "policies" / f"{SLUG}_seed_0")[0]

    whole = expert_of("whole")
    with monkeypatch.context() as patch:
        dies_at_call(patch, progress, "require_finite", 4)
        with pytest.raises(Killed):
            expert_of("killed")
    assert_same(nnx.state(expert_of("killed")), nnx.state(whole))
    rows = [progress.read_rows(tmp_path / f / "stats" / f"{SLUG}_seed_0.csv") for f in ("killed", "whole")]
    assert [{**row, "seconds": 0} for row in rows[0]] == [{**row, "seconds": 0} for row in rows[1]]


def test_ppo_names_where_it_diverged(tmp_path, monkeypatch):
    class Diverging(ppo_training.PPO):
        def update(self, *args):
            learner, stats = super().update(*args)
            return learner, {**stats, "value_loss": jnp.full(1, jnp.nan)}

    monkeypatch.setattr(ppo_training, "PPO", Diverging)
    config = dataclasses.replace(SMALL_PPO, seed=3)
    message = rf"PPO update 0, level {SLUG}, seed 3: value_loss not finite; last finite step: none"
    with pytest.raises(FloatingPointError, match=message):
        train_expert.train(train_expert.Arguments(config, (LEVEL,), tmp_path, recipe=None))


def test_experts_that_learn_side_by_side_are_those_that_learn_alone(tmp_path):
    config = dataclasses.replace(SMALL_PPO, num_updates=6, num_seeds=2, max_attempts=1, noise_correlation=0.5)
    for at_a_time, folder in ((1, "alone"), (3, "together")):
        of_run = dataclasses.replace(config, seeds_at_a_time=at_a_time)
        train_expert.train(train_expert.Arguments(of_run, (LEVEL,), tmp_path / folder, recipe=None))
    for seed in (0, 1):
        name = f"6/policies/{SLUG}_seed_{seed}"
        (alone, facts), (together, others) = (load_expert(tmp_path / f / name) for f in ("alone", "together"))
        assert facts["solve_rate"] == pytest.approx(others["solve_rate"])
        for a, b in zip(jax.tree.leaves(nnx.state(alone)), jax.tree.leaves(nnx.state(together)), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-3)
    assert not np.allclose(jax.tree.leaves(nnx.state(together))[0], 0.0)
    more = train_expert.Arguments(
        dataclasses.replace(of_run, num_seeds=3), (LEVEL,), tmp_path / "together", recipe=None
    )
    with pytest.raises(
        ValueError, match=r"seed 0 of .* in one program with seeds 0 to 1 .* --config.seeds-at-a-time 2"
    ):
        train_expert.train(more)


def test_experts_of_levels_with_a_dot_in_their_name_keep_their_own_files(tmp_path):
    expert = Expert(ExpertConfig((0, 1), 1, 1, width=4), rngs=nnx.Rngs(0))
    for name in ("hopper_v1.2_seed_0", "hopper_v1.2_seed_1", "hopper_v1.3_seed_0"):
        save_expert(tmp_path / "1/policies" / name, expert, {"name": name})
    found = newest_experts(tmp_path, "hopper_v1.2")
    assert [path.name for path in found] == ["hopper_v1.2_seed_0", "hopper_v1.2_seed_1"]
    assert load_expert(found[1])[1]["name"] == "hopper_v1.2_seed_1"


def test_a_finished_expert_waits_for_the_others_and_is_not_changed(tmp_path, monkeypatch):
    """The first reaches the target at the third update, the second never: both are what they were then."""
    rates = {0: 1.0, 1: 0.5}
    monkeypatch.setattr(ppo_training._Run, "rate", property(lambda run: rates[run.seed] * (len(run.recorder.rows) > 2)))
    config = dataclasses.replace(SMALL_PPO, num_updates=5, num_seeds=2, seeds_at_a_time=2, checkpoint_every=99)
    found = train_expert.train(train_expert.Arguments(config, (LEVEL,), tmp_path, recipe=None))
    assert found == {f"{SLUG}_seed_0": 1.0, f"{SLUG}_seed_1": 0.5}
    rows = [len(progress.read_rows(tmp_path / "stats" / f"{SLUG}_seed_{seed}.csv")) for seed in (0, 1)]
    assert rows == [3, 5]


def test_an_expert_that_solves_nothing_is_given_up(tmp_path, monkeypatch):
    class Hopeless(ppo_training.PPO):
        def update(self, *args):
            learner, stats = super().update(*args)
            return learner, {**stats, "solved": jnp.zeros(1)}

    monkeypatch.setattr(ppo_training, "PPO", Hopeless)
    config = dataclasses.replace(SMALL_PPO, num_updates=6, patience=2, max_attempts=2)
    rates = train_expert.train(train_expert.Arguments(config, (LEVEL,), tmp_path, recipe=None))
    assert rates == {f"{SLUG}_seed_0": 0.0, f"{SLUG}_seed_1": 0.0}
    for name in rates:
        assert len(progress.read_rows(tmp_path / "stats" / f"{name}.csv")) == 2


def test_one_lucky_episode_does_not_keep_an_expert_for_ever():
    config = dataclasses.replace(SMALL_PPO, patience=3)
    solved = [0, 2, 0, 0, 0]
    rows = [{"solved": count} for count in solved]
    given_up = [ppo_training._hopeless(rows[:length], config) for length in range(1, 6)]
    assert given_up == [False, False, False, False, True]


@pytest.mark.parametrize(
    ("num_seeds", "max_attempts", "tried"),
    [(1, 4, [3, 4, 5]), (2, 4, [3, 4, 5, 6]), (1, 2, [3, 4]), (3, 1, [3, 4, 5])],
)
def test_a_given_up_seed_is_replaced_by_the_next(monkeypatch, num_seeds, max_attempts, tried):
    rates = {3: 0.0, 4: 0.0, 5: 0.9, 6: 0.8}
    monkeypatch.setattr(ppo_training, "train", lambda *args, seeds, **options: {seed: rates[seed] for seed in seeds})
    config = dataclasses.replace(SMALL_PPO, seed=3, num_seeds=num_seeds, max_attempts=max_attempts)
    outcomes = ppo_training.train_seeds(None, None, config, level=SLUG, run_path=None, resume=True)
    assert list(outcomes) == [(seed, rates[seed]) for seed in tried]


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_exploration_noise_is_standard_normal_with_the_asked_correlation(correlation):
    previous = jax.random.normal(jax.random.key(0), (50_000,))
    noise = correlated_noise(jax.random.key(1), previous, correlation)
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.02)
    assert float(noise.std()) == pytest.approx(1.0, abs=0.02)
    assert float(np.corrcoef(previous, noise)[0, 1]) == pytest.approx(correlation, abs=0.02)


def test_exploration_becomes_independent_as_episodes_are_solved(tmp_path, monkeypatch):
    told = []

    class Listening(ppo_training.PPO):
        def update(self, env, learner, key, correlation):
            learner, stats = super().update(env, learner, key, correlation)
            told.append(float(correlation[0]))
            return learner, {**stats, "episodes": jnp.full(1, 4.0), "solved": jnp.full(1, min(len(told), 3.0))}

    monkeypatch.setattr(ppo_training, "PPO", Listening)
    config = dataclasses.replace(SMALL_PPO, num_updates=4, window=1, noise_correlation=0.8)
    train_expert.train(train_expert.Arguments(config, (LEVEL,), tmp_path, recipe=None))
    assert told == pytest.approx([0.8, 0.6, 0.4, 0.2])


def test_an_expert_of_another_content_of_its_level_is_not_continued(expert_run, line_world, monkeypatch):
    monkeypatch.setattr(levels, "load", lambda path: types.SimpleNamespace(name=Path(path).stem, sha256="1" * 64))
    with pytest.raises(ValueError, match=r"level_sha256: '0000.* there, '1111.* now"):
        train_expert.train(train_expert.Arguments(SMALL_PPO, (LEVEL,), expert_run[0], recipe=None))
