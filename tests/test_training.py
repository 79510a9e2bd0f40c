"""The three trainers on an environment small enough to learn in seconds."""

import dataclasses
import functools
import hashlib
import json
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from scipy.special import expit, logit
from scipy.stats import norm

import generate_data
import train_expert
import train_flow
from model import ModelConfig
from rtc import checkpoints, cloning, demonstrations, levels, ppo_training, training
from rtc.cloning import CloningConfig
from rtc.demonstrations import DataConfig
from rtc.environment import Transition
from rtc.expert import Expert, ExpertConfig, load_expert, save_expert, squash
from rtc.ppo import Minibatch, PPOConfig, correlated_noise, generalised_advantages, loss
from rtc.ppo_training import TrainConfig

DEVICES = jax.device_count()
LEVEL = "worlds/l/grasp_easy.json"
SLUG = "worlds_l_grasp_easy"
ENTRIES = (0, 2, 4)
SMALL_PPO = TrainConfig(num_envs=16 * DEVICES, num_steps=32, num_updates=60, target_solve_rate=0.95, window=3, width=32)
SMALL_CLONING = CloningConfig(
    num_epochs=4, batch_size=32 * DEVICES, warmup_steps=10, save_every=2, model=ModelConfig(16, 32, 8, 1, 4)
)


@functools.partial(jax.tree_util.register_dataclass, data_fields=["goal"], meta_fields=["entries"])
@dataclasses.dataclass(frozen=True)
class ReachEnv:
    """Push a point to the goal within 12 ticks, with the first motor; entries 1 and 3 never vary."""

    goal: jax.Array
    entries: tuple[int, ...] = tuple(range(5))
    action_dim = 6
    max_timesteps = 12

    @property
    def obs_dim(self):
        return len(self.entries)

    def observing(self, entries):
        return dataclasses.replace(self, entries=entries)

    def _obs(self, x, tick):
        full = [x, jnp.full_like(x, 7.0), self.goal - x, jnp.ones_like(x), tick / 12]
        return jnp.stack([full[entry] for entry in self.entries], axis=1)

    def reset(self, batch):
        state = (jnp.zeros(batch), jnp.zeros(batch))
        return state, self._obs(*state)

    def step(self, state, action):
        x, tick = state[0] + 0.2 * jnp.clip(action[:, 0], -1, 1), state[1] + 1
        distance = jnp.abs(self.goal - x)
        solved = distance < 0.15
        done = solved | (tick >= self.max_timesteps)
        reward = solved.astype(jnp.float32)
        return (x, tick), Transition(self._obs(x, tick), reward, done, solved, jnp.isfinite(x), distance)

    def select(self, mask, on_true, on_false):
        return jax.tree.map(lambda a, b: jnp.where(mask, a, b), on_true, on_false)


ENV = ReachEnv(jnp.float32(1.0))


@pytest.fixture(scope="module", autouse=True)
def simple_levels():
    """Every level is the line world."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(levels, "load", lambda path: types.SimpleNamespace(name=Path(path).stem))
        patch.setattr(levels, "make_env", lambda level, physics: ENV)
        patch.setattr(levels, "varying_observation_entries", lambda level: np.array(ENTRIES))
        yield


@pytest.fixture(scope="module")
def expert_run(tmp_path_factory):
    """A run with one good expert."""
    run_path = tmp_path_factory.mktemp("experts") / "run"
    rates = train_expert.train(train_expert.Arguments(SMALL_PPO, (LEVEL,), run_path, recipe=None))
    return run_path, rates[f"{SLUG}_seed_0"]


@pytest.fixture(scope="module")
def data(expert_run):
    config = DataConfig(run_path=expert_run[0], num_transitions=2000, num_envs=4 * DEVICES, ticks_per_part=64)
    (path,) = generate_data.generate(generate_data.Arguments(config, (LEVEL,)))
    return path


class Killed(Exception):
    """Stands for a process that dies."""


def dies_at_call(monkeypatch, module, name, number):
    """The function raises at its `number`-th call, from then on it works."""
    original, calls = getattr(module, name), []

    def function(*args, **kwargs):
        calls.append(None)
        if len(calls) == number:
            raise Killed
        return original(*args, **kwargs)

    monkeypatch.setattr(module, name, function)


def assert_same(tree, other):
    for leaf, other_leaf in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(leaf, other_leaf)


# --- PPO ----------------------------------------------------------------------------------------------------


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
    rows = training.read_rows(run_path / "stats" / f"{SLUG}_seed_0.csv")
    assert rows[0]["solve_rate"] < 0.5
    assert len(rows) < SMALL_PPO.num_updates
    _, facts = load_expert(run_path / str(len(rows)) / "policies" / f"{SLUG}_seed_0")
    assert facts["solve_rate"] == pytest.approx(rate)
    assert facts["env_steps"] == len(rows) * SMALL_PPO.num_envs * SMALL_PPO.num_steps


def test_killed_ppo_run_ends_as_an_uninterrupted_one(tmp_path, monkeypatch):
    config = dataclasses.replace(SMALL_PPO, num_updates=5, save_every=2, target_solve_rate=2.0)

    def expert_of(folder):
        train_expert.train(train_expert.Arguments(config, (LEVEL,), tmp_path / folder))
        return load_expert(tmp_path / folder / "5" / "policies" / f"{SLUG}_seed_0")[0]

    whole = expert_of("whole")
    with monkeypatch.context() as patch:
        dies_at_call(patch, training, "require_finite", 4)
        with pytest.raises(Killed):
            expert_of("killed")
    assert_same(nnx.state(expert_of("killed")), nnx.state(whole))
    rows = [training.read_rows(tmp_path / f / "stats" / f"{SLUG}_seed_0.csv") for f in ("killed", "whole")]
    assert [{**row, "seconds": 0} for row in rows[0]] == [{**row, "seconds": 0} for row in rows[1]]


def test_ppo_names_where_it_diverged(tmp_path, monkeypatch):
    class Diverging(ppo_training.PPO):
        def update(self, *args):
            learner, stats = super().update(*args)
            return learner, {**stats, "value_loss": jnp.full(1, jnp.nan)}

    monkeypatch.setattr(ppo_training, "PPO", Diverging)
    message = rf"PPO update 0, level {SLUG}, seed 3: value_loss not finite; last finite step: none"
    with pytest.raises(FloatingPointError, match=message):
        train_expert.train(train_expert.Arguments(dataclasses.replace(SMALL_PPO, seed=3), (LEVEL,), tmp_path))


def test_experts_that_learn_side_by_side_are_those_that_learn_alone(tmp_path):
    config = dataclasses.replace(SMALL_PPO, num_updates=6, num_seeds=2, max_attempts=1, noise_correlation=0.5)
    for at_a_time, folder in ((1, "alone"), (2, "together")):
        of_run = dataclasses.replace(config, seeds_at_a_time=at_a_time)
        train_expert.train(train_expert.Arguments(of_run, (LEVEL,), tmp_path / folder, recipe=None))
    for seed in (0, 1):
        name = f"6/policies/{SLUG}_seed_{seed}"
        (alone, facts), (together, others) = (load_expert(tmp_path / f / name) for f in ("alone", "together"))
        assert facts["solve_rate"] == pytest.approx(others["solve_rate"])
        for a, b in zip(jax.tree.leaves(nnx.state(alone)), jax.tree.leaves(nnx.state(together)), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-3)
    assert not np.allclose(jax.tree.leaves(nnx.state(together))[0], 0.0)


def test_a_finished_expert_waits_for_the_others_and_is_not_changed(tmp_path, monkeypatch):
    """The first reaches the target at the third update, the second never: both are what they were then."""
    rates = {0: 1.0, 1: 0.5}
    monkeypatch.setattr(ppo_training._Run, "rate", property(lambda run: rates[run.seed] * (len(run.recorder.rows) > 2)))
    config = dataclasses.replace(SMALL_PPO, num_updates=5, num_seeds=2, seeds_at_a_time=2, checkpoint_every=99)
    found = train_expert.train(train_expert.Arguments(config, (LEVEL,), tmp_path, recipe=None))
    assert found == {f"{SLUG}_seed_0": 1.0, f"{SLUG}_seed_1": 0.5}
    rows = [len(training.read_rows(tmp_path / "stats" / f"{SLUG}_seed_{seed}.csv")) for seed in (0, 1)]
    assert rows == [3, 5]


def test_an_expert_that_solves_nothing_is_given_up(tmp_path, monkeypatch):
    class Hopeless(ppo_training.PPO):
        def update(self, *args):
            learner, stats = super().update(*args)
            return learner, {**stats, "solved": jnp.zeros(1)}

    monkeypatch.setattr(ppo_training, "PPO", Hopeless)
    config = dataclasses.replace(SMALL_PPO, num_updates=6, patience=2, max_attempts=2)
    rates = train_expert.train(train_expert.Arguments(config, (LEVEL,), tmp_path))
    assert rates == {f"{SLUG}_seed_0": 0.0, f"{SLUG}_seed_1": 0.0}
    for name in rates:
        assert len(training.read_rows(tmp_path / "stats" / f"{name}.csv")) == 2


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
    train_expert.train(train_expert.Arguments(config, (LEVEL,), tmp_path))
    assert told == pytest.approx([0.8, 0.6, 0.4, 0.2])


# --- demonstrations -----------------------------------------------------------------------------------------


def save_random_expert(run_path, update, seed, solve_rate):
    expert = Expert(ExpertConfig(ENTRIES, width=SMALL_PPO.width), rngs=nnx.Rngs(update))
    facts = {"solve_rate": solve_rate, "seed": seed, "update": update, "env_steps": 1, "seconds": 1.0}
    save_expert(run_path / str(update) / "policies" / f"{SLUG}_seed_{seed}", expert, facts)


def test_only_the_newest_and_reliable_experts_are_used(tmp_path):
    save_random_expert(tmp_path, 9, seed=0, solve_rate=0.9)
    save_random_expert(tmp_path, 10, seed=0, solve_rate=0.8)
    save_random_expert(tmp_path, 20, seed=1, solve_rate=0.6)
    found = demonstrations.find_experts(tmp_path, SLUG, min_solve_rate=0.65)
    assert list(found.used) == [str(tmp_path / "10" / "policies" / f"{SLUG}_seed_0")]
    assert list(found.masked) == [str(tmp_path / "20" / "policies" / f"{SLUG}_seed_1")]
    with pytest.raises(ValueError, match=r"min_solve_rate=0.9 \(best: 0.800\)"):
        demonstrations.find_experts(tmp_path, SLUG, min_solve_rate=0.9)
    with pytest.raises(FileNotFoundError, match="no expert for worlds_l_other"):
        demonstrations.find_experts(tmp_path, "worlds_l_other", min_solve_rate=0.65)


def test_data_are_whole_episodes_of_the_expert(data):
    recorded = demonstrations.load(data)
    starts = np.flatnonzero(np.concatenate([[True], recorded.done[:-1]]))
    assert len(recorded.done) >= 2000
    assert recorded.done[-1]
    np.testing.assert_array_equal(recorded.obs[starts], np.tile([0.0, 1.0, 0.0], (len(starts), 1)))
    ticks = np.arange(len(recorded.done)) - np.repeat(starts, np.diff([*starts, len(recorded.done)]))
    np.testing.assert_allclose(recorded.obs[:, 2] * 12, ticks, atol=1e-4)
    assert np.abs(recorded.action[:, :4]).max() <= 1.0
    assert recorded.action[:, 4:].min() >= 0.0
    np.testing.assert_array_equal(recorded.template, [0.0, 7.0, 1.0, 1.0, 0.0])
    assert recorded.facts["solve_rate"] == pytest.approx(recorded.solved.sum() / recorded.done.sum())
    assert recorded.facts["solve_rate"] > 0.9


def test_recorded_actions_are_commanded_not_noisy(data):
    recorded = demonstrations.load(data)
    inside = ~recorded.done[:-1]
    moved = np.diff(recorded.obs[:, 0])[inside]
    noise = moved / 0.2 - recorded.action[:-1][inside][:, 0]
    unclipped = np.abs(recorded.action[:-1][inside][:, 0]) < 0.6
    assert noise[unclipped].std() == pytest.approx(0.1, rel=0.2)


def test_killed_recording_ends_as_an_uninterrupted_one(expert_run, data, tmp_path, monkeypatch):
    run_path = tmp_path / "copy"
    experts = demonstrations.find_experts(expert_run[0], SLUG, 0.65)
    for name, (expert, facts) in experts.used.items():
        save_expert(run_path / name.removeprefix(f"{expert_run[0]}/"), expert, facts)
    config = DataConfig(run_path=run_path, num_transitions=2000, num_envs=4 * DEVICES, ticks_per_part=64)
    arguments = generate_data.Arguments(config, (LEVEL,))
    with monkeypatch.context() as patch:
        dies_at_call(patch, training, "save_tree", 2)
        with pytest.raises(Killed):
            generate_data.generate(arguments)
    (path,) = generate_data.generate(arguments)
    whole, resumed = demonstrations.load(data), demonstrations.load(path)
    assert_same(whole._replace(facts={}), resumed._replace(facts={}))

    save_random_expert(run_path, 99, seed=5, solve_rate=0.99)
    with pytest.raises(ValueError, match=r"experts: .* --no-resume"):
        generate_data.generate(arguments)


# --- cloning ------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(done=hnp.arrays(bool, 16))
def test_chunks_never_cross_episodes_and_end_in_zeros(done):
    done[-1] = True
    episode = np.concatenate([[0], np.cumsum(done)[:-1]])
    action = np.stack([np.arange(1, 17), episode], axis=1).astype(np.float32)
    dataset = cloning.Dataset(
        obs=jnp.asarray(action),
        action=jnp.asarray(action),
        last=jnp.asarray(cloning.episode_ends(done)),
        template=jnp.array([5.0, 0.0, 6.0, 0.0]),
        entries=jnp.array([3, 1]),
    )
    obs, chunk = map(np.asarray, cloning.chunks(dataset, jnp.arange(16), 4))
    np.testing.assert_array_equal(obs, np.stack([0 * episode + 5, episode, 0 * episode + 6, action[:, 0]], 1))
    for i in range(16):
        for h in range(4):
            inside = i + h < 16 and episode[i + h] == episode[i]
            np.testing.assert_array_equal(chunk[i, h], action[i + h] if inside else [0, 0])


def test_data_that_end_within_an_episode_are_refused():
    with pytest.raises(ValueError, match="3 transitions"):
        cloning.episode_ends(np.array([False, True, False]))


def clone(data, output_path, **changes):
    config = dataclasses.replace(SMALL_CLONING, run_path=data.parents[1], **changes)
    (policy,) = train_flow.train(train_flow.Arguments(config, (LEVEL,), output_path))
    return policy


def load_policy(path, config=None):
    return checkpoints.load_policy(path, config, obs_dim=5)


@pytest.fixture(scope="module")
def cloned(data, tmp_path_factory):
    return clone(data, tmp_path_factory.mktemp("cloned"))


def test_cloning_learns_and_notes_where_its_data_came_from(cloned, data):
    run = cloned.parents[2]
    rows = training.read_rows(run / "stats" / f"{SLUG}.csv")
    assert rows[-1]["loss"] < 0.9 * rows[0]["loss"]
    assert checkpoints.list_epochs(run) == [2, 4]
    _, facts = load_policy(cloned)
    assert facts["data_sha256"] == hashlib.sha256(data.read_bytes()).hexdigest()
    assert facts["data_transitions"] == len(demonstrations.load(data).done)
    assert next(iter(facts["data_experts"].values()))["solve_rate"] >= 0.95
    assert facts["updates"] == rows[-1]["updates"] == 4 * (facts["data_transitions"] // (32 * DEVICES))


def test_killed_cloning_ends_as_an_uninterrupted_one(cloned, data, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        dies_at_call(patch, training, "require_finite", 3)
        with pytest.raises(Killed):
            clone(data, tmp_path)
    resumed, whole = load_policy(clone(data, tmp_path))[0], load_policy(cloned)[0]
    assert_same(nnx.state(resumed), nnx.state(whole))


def test_starting_afresh_leaves_nothing_of_the_old_run(tmp_path):
    old = tmp_path / "9" / "policies" / f"{SLUG}.json"
    other = tmp_path / "9" / "policies" / "worlds_l_other.json"
    for path in (old, other):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    training.discard(tmp_path, SLUG)
    assert other.exists()
    assert not old.exists()
    training.discard(tmp_path, "worlds_l_other")
    assert list(tmp_path.iterdir()) == []


def test_fine_tuning_starts_from_the_given_run(cloned, data, tmp_path):
    model = dataclasses.replace(SMALL_CLONING.model, simulated_delay=2)
    run = cloned.parents[2]
    tuned = clone(data, tmp_path, load_dir=run, model=model, num_epochs=1, learning_rate=0.0)
    assert load_policy(tuned)[0].config.simulated_delay == 2
    assert_same(nnx.state(load_policy(tuned)[0]), nnx.state(load_policy(cloned)[0]))


def test_cloning_names_where_it_diverged(data, tmp_path):
    broken = demonstrations.load(data)
    broken.action[:] = np.nan
    with pytest.raises(FloatingPointError, match=rf"epoch 0, level {SLUG}, seed 7: .*loss.* not finite"):
        cloning.train(
            broken,
            dataclasses.replace(SMALL_CLONING, seed=7),
            level=SLUG,
            output_path=tmp_path,
            facts={},
            resume=True,
        )
    assert not list(tmp_path.rglob("*.safetensors"))


# --- shared -------------------------------------------------------------------------------------------------


def test_saved_trees_are_checked_when_loaded(tmp_path):
    path, tree = tmp_path / "state.safetensors", {"a": jnp.arange(3.0), "n": 4}
    training.save_tree(path, tree)
    assert_same(training.load_tree(path, tree), tree)
    with pytest.raises(ValueError, match=r"\['a'\] has shape \(3,\), expected \(2,\)"):
        training.load_tree(path, {**tree, "a": jnp.zeros(2)})
    with pytest.raises(ValueError, match=r"\['b'\].* differ"):
        training.load_tree(path, {**tree, "b": 1})
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        training.load_tree(path, tree)


def test_a_folder_belongs_to_one_run_at_a_time(tmp_path):
    config = {"gamma": 0.9, "length": 10}
    with (
        training.claim(tmp_path, config, resume=True),
        pytest.raises(ValueError, match="in use"),
        training.claim(tmp_path, config, resume=True),
    ):
        pass
    with training.claim(tmp_path, {**config, "length": 20}, resume=True, may_differ=("length",)):
        pass
    with (
        pytest.raises(ValueError, match=r"gamma: 0.9 there, 0.8 now"),
        training.claim(tmp_path, {**config, "gamma": 0.8}, resume=True, may_differ=("length",)),
    ):
        pass
    with training.claim(tmp_path, {**config, "gamma": 0.8}, resume=False):
        assert json.loads((tmp_path / "config.json").read_text())["gamma"] == 0.8


def test_a_resumed_record_drops_what_will_be_done_again(tmp_path):
    path = tmp_path / "stats.csv"
    with training.Recorder(path, "update", 0, 5, "test") as recorder:
        for update in range(4):
            recorder.log({"update": update, "loss": update / 2}, {})
    path.write_text(path.read_text() + "4,1.")
    with training.Recorder(path, "update", 2, 5, "test") as recorder:
        recorder.log({"update": 2, "loss": 9.0}, {})
    assert [(row["update"], row["loss"]) for row in training.read_rows(path)] == [
        (0, 0.0),
        (1, 0.5),
        (2, 9.0),
    ]


@pytest.mark.parametrize("script", [train_expert, generate_data, train_flow])
def test_flags_override_a_preset(script, capsys):
    def parse(*argv):
        return training.cli(script.Arguments, script.PRESETS, argv)

    assert parse() == script.PRESETS["cpu"]
    changed = parse("--preset", "published", "--config.seed", "5", "--no-resume")
    published = script.PRESETS["published"]
    config = dataclasses.replace(published.config, seed=5)
    assert changed == dataclasses.replace(published, config=config, resume=False)
    with pytest.raises(ValueError, match="did you mean 'published'"):
        parse("--preset=publishd")
    with pytest.raises(SystemExit) as leaving:
        parse("--help")
    assert leaving.value.code == 0
    assert "--level-paths" in capsys.readouterr().out


def test_published_hyper_parameters():
    expert = train_expert.PRESETS["published"].config
    assert (expert.num_envs, expert.num_steps, expert.num_updates, expert.num_seeds) == (256, 256, 1000, 8)
    assert (expert.num_minibatches, expert.num_epochs, expert.width, expert.history) == (8, 4, 256, 4)
    assert (expert.gamma, expert.gae_lambda, expert.clip, expert.rpo_alpha) == (0.995, 0.9, 0.2, 0.3)
    assert generate_data.PRESETS["published"].config.num_transitions == 1_000_000
    flow = train_flow.PRESETS["published"].config
    assert (flow.num_epochs, flow.batch_size, flow.weight_decay) == (32, 512, 1e-2)
    assert flow.model == ModelConfig()


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [
        (PPOConfig, "num_envs", 0),
        (PPOConfig, "gamma", 1.5),
        (TrainConfig, "window", 0),
        (DataConfig, "min_solve_rate", -0.1),
        (CloningConfig, "batch_size", 0),
    ],
)
def test_values_out_of_range_are_named(config, field, value):
    with pytest.raises(ValueError, match=f"{field}={value}"):
        config(**{field: value})
