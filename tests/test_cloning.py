"""Demonstrations of experts and the policies cloned from them, on an environment small enough to learn in seconds."""

import dataclasses
import hashlib
import shutil
import types
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file

import generate_data
import train_flow
from line_world import DEVICES, ENTRIES, LEVEL, SLUG, SMALL_CLONING, SMALL_PPO, Killed, assert_same, dies_at_call
from rtc.policies import checkpoints, weights
from rtc.training import cloning, demonstrations, npz, progress, runs
from rtc.training.demonstrations import DataConfig
from rtc.training.expert import Expert, ExpertConfig, save_expert
from rtc.worlds.kinetix import levels

pytestmark = pytest.mark.usefixtures("line_world")


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


def test_the_first_experts_may_be_enough(tmp_path):
    for seed in (10, 2, 0):
        save_random_expert(tmp_path, 5 + seed, seed, solve_rate=0.9 if seed else 0.1)
    found = demonstrations.find_experts(tmp_path, SLUG, 0.65, limit=1)
    assert [Path(path).name for path in found.used] == [f"{SLUG}_seed_2"]
    assert len(found.masked) == 1
    with pytest.raises(ValueError, match="max_experts=0"):
        DataConfig(max_experts=0)


def test_a_run_may_choose_labels_and_a_part_of_a_recording(data):
    recorded = demonstrations.load(data)
    assert not np.allclose(recorded.action, recorded.other)
    config = dataclasses.replace(SMALL_CLONING, labels="mode", max_transitions=500)
    part = cloning.chosen(recorded, config)
    assert (recorded.facts["record_mode"], part.facts["record_mode"]) == (False, True)
    assert part.facts["transitions"] == len(part.done) < recorded.facts["transitions"]
    assert part.facts["episodes"] == part.done.sum()
    assert part.facts["solve_rate"] == pytest.approx(part.solved.sum() / part.done.sum())
    assert 500 <= len(part.done) < 600
    assert part.done[-1]
    np.testing.assert_array_equal(part.action, recorded.other[: len(part.done)])
    drawn = cloning.chosen(recorded, dataclasses.replace(SMALL_CLONING, labels="drawn"))
    np.testing.assert_array_equal(drawn.action, recorded.action)
    assert cloning.chosen(recorded, SMALL_CLONING) is recorded
    sure = recorded._replace(facts=recorded.facts | {"sample_actions": False})
    with pytest.raises(ValueError, match="labels='mode' has no effect"):
        cloning.chosen(sure, config)
    with pytest.raises(ValueError, match="max_transitions=99999999 exceeds"):
        cloning.chosen(recorded, dataclasses.replace(config, max_transitions=99_999_999))


def test_the_last_weights_can_be_kept_beside_their_average(data, tmp_path):
    config = dataclasses.replace(SMALL_CLONING, run_path=data.parents[1], ema_decay=0.9, also_last=True)
    train_flow.train(train_flow.Arguments(config, (LEVEL,), tmp_path))
    paths = [checkpoints.policy_path(run, LEVEL) for run in (tmp_path, tmp_path / "last")]
    averaged, last = ({n: np.asarray(v) for n, v in load_file(path).items()} for path in paths)
    assert averaged.keys() == last.keys()
    assert any(np.abs(averaged[name] - last[name]).max() > 0 for name in last)
    shorter = dataclasses.replace(config, num_epochs=1)
    train_flow.train(train_flow.Arguments(shorter, (LEVEL,), tmp_path, resume=False))
    assert checkpoints.list_epochs(tmp_path / "last") == [1]
    plain = dataclasses.replace(config, ema_decay=0.0, also_last=False)
    train_flow.train(train_flow.Arguments(plain, (LEVEL,), tmp_path / "plain"))
    for name, value in load_file(checkpoints.policy_path(tmp_path / "plain", LEVEL)).items():
        np.testing.assert_allclose(value, last[name], atol=1e-6)
    with pytest.raises(ValueError, match="also_last=True has no effect"):
        dataclasses.replace(plain, also_last=True)


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


def test_the_mode_can_be_recorded_where_a_drawn_action_is_executed(expert_run, data, tmp_path):
    run_path = tmp_path / "copy"
    found = demonstrations.find_experts(expert_run[0], SLUG, 0.65).used
    for name, (expert, facts) in found.items():
        save_expert(run_path / name.removeprefix(f"{expert_run[0]}/"), expert, facts)
    sizes = {"num_transitions": 2000, "num_envs": 4 * DEVICES, "ticks_per_part": 64, "record_mode": True}
    config = DataConfig(run_path=run_path, **sizes)
    (path,) = generate_data.generate(generate_data.Arguments(config, (LEVEL,), recipe=None))
    drawn, mode = demonstrations.load(data), demonstrations.load(path)
    np.testing.assert_array_equal(mode.obs, drawn.obs)  # the same actions were executed
    assert np.abs(mode.action - drawn.action).max() > 0.1
    last = np.concatenate([np.zeros((1, 6)), drawn.action[:-1] * ~drawn.done[:-1, None]])
    ((expert, _),) = found.values()
    np.testing.assert_allclose(mode.action, expert.mode(np.concatenate([drawn.obs, last], axis=1)), atol=1e-4)


def test_killed_recording_ends_as_an_uninterrupted_one(expert_run, data, tmp_path, monkeypatch):
    run_path = tmp_path / "copy"
    experts = demonstrations.find_experts(expert_run[0], SLUG, 0.65)
    for name, (expert, facts) in experts.used.items():
        save_expert(run_path / name.removeprefix(f"{expert_run[0]}/"), expert, facts)
    config = DataConfig(run_path=run_path, num_transitions=2000, num_envs=4 * DEVICES, ticks_per_part=64)
    arguments = generate_data.Arguments(config, (LEVEL,))
    with monkeypatch.context() as patch:
        dies_at_call(patch, weights, "save_tree", 2)
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
    rows = progress.read_rows(run / "stats" / f"{SLUG}.csv")
    assert rows[-1]["loss"] < 0.9 * rows[0]["loss"]
    assert checkpoints.list_epochs(run) == [2, 4]
    _, facts = load_policy(cloned)
    assert (facts["level"], facts["level_sha256"]) == ("grasp_easy", "0" * 64)
    assert facts["data_sha256"] == hashlib.sha256(data.read_bytes()).hexdigest()
    assert facts["data_transitions"] == len(demonstrations.load(data).done)
    assert next(iter(facts["data_experts"].values()))["solve_rate"] >= 0.95
    assert facts["updates"] == rows[-1]["updates"] == 4 * (facts["data_transitions"] // (32 * DEVICES))


def test_killed_cloning_ends_as_an_uninterrupted_one(cloned, data, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        dies_at_call(patch, progress, "require_finite", 3)
        with pytest.raises(Killed):
            clone(data, tmp_path)
    resumed, whole = load_policy(clone(data, tmp_path))[0], load_policy(cloned)[0]
    assert_same(nnx.state(resumed), nnx.state(whole))


def test_a_finished_policy_is_kept_without_its_state_unless_it_learned_something_else(data, tmp_path):
    recorded, run = tmp_path / "experts" / data.parent.name / data.name, tmp_path / "run"
    recorded.parent.mkdir(parents=True)
    shutil.copyfile(data, recorded)
    path = clone(recorded, run, num_epochs=1, save_every=1)
    before = path.with_suffix(".safetensors").read_bytes()
    shutil.rmtree(run / "resume")
    assert clone(recorded, run, num_epochs=1, save_every=1) == path
    assert path.with_suffix(".safetensors").read_bytes() == before
    assert not (run / "resume").exists()
    demos = demonstrations.load(data)
    npz.save(recorded, demos._replace(action=0.5 * demos.action))
    with pytest.raises(ValueError, match=r"learned other demonstrations than those in .*: --no-resume replaces it"):
        clone(recorded, run, num_epochs=1, save_every=1)


def test_starting_afresh_leaves_nothing_of_the_old_run(tmp_path):
    old = tmp_path / "9" / "policies" / f"{SLUG}.json"
    other = tmp_path / "9" / "policies" / "worlds_l_other.json"
    for path in (old, other):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    runs.discard(tmp_path, SLUG)
    assert other.exists()
    assert not old.exists()
    runs.discard(tmp_path, "worlds_l_other")
    assert list(tmp_path.iterdir()) == []


def test_fine_tuning_starts_from_the_given_run(cloned, data, tmp_path):
    model = dataclasses.replace(SMALL_CLONING.model, simulated_delay=2)
    run = cloned.parents[2]
    tuned = clone(data, tmp_path, load_dir=run, model=model, num_epochs=1, learning_rate=0.0)
    assert load_policy(tuned)[0].config.simulated_delay == 2
    before, after = (nnx.state(load_policy(path)[0]) for path in (cloned, tuned))
    # The moving average of equal weights, less its bias, is rounded.
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4), after, before)


def test_data_of_another_level_of_the_same_name_are_refused(data, tmp_path, monkeypatch):
    level = types.SimpleNamespace(name="grasp_easy", sha256="1" * 64)
    monkeypatch.setattr(levels, "load", lambda path: level)
    with pytest.raises(ValueError, match=r"is from another level of this name \(sha256 000000000000"):
        clone(data, tmp_path)
    config = DataConfig(run_path=data.parents[1])
    with pytest.raises(ValueError, match=r"seed_0 is from another level of this name"):
        generate_data.generate(generate_data.Arguments(config, (LEVEL,), recipe=None, resume=False))


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


# --- observations whose robot is ahead ------------------------------------------------------------------------


def test_the_robot_is_ahead_of_the_rest_and_the_actions_start_there():
    ticks = np.arange(6, dtype=np.float32)
    data = cloning.Dataset(
        obs=jnp.stack([ticks, 10 * ticks], axis=1),
        action=jnp.asarray(ticks[:, None]),
        last=jnp.array([3, 3, 3, 3, 5, 5]),
        template=jnp.array([7.0, 0.0, 0.0]),
        entries=jnp.array([2, 1]),
        robot=jnp.array([True, False]),
        robot_ahead=2,
    )
    start, found = jnp.array([0, 2, 3, 4]), set()
    for seed in range(40):
        obs, action = cloning.ahead_chunks(data, start, 2, jax.random.key(seed))
        then = np.asarray(obs[:, 2])
        np.testing.assert_array_equal(obs[:, :2], np.stack([np.full(4, 7.0), 10 * start], axis=1))
        last = np.asarray(data.last[start])
        after = np.where(then + 1 <= last, then + 1, 0)  # zeros after the episode's end
        np.testing.assert_array_equal(action[..., 0], np.stack([then, after], axis=1))
        assert (then <= last).all()
        found |= set(zip(np.asarray(start).tolist(), then.astype(int).tolist(), strict=True))
    assert found == {(0, 0), (0, 1), (0, 2), (2, 2), (2, 3), (3, 3), (4, 4), (4, 5)}


def test_a_policy_with_its_robot_ahead_says_so(data, tmp_path):
    model = dataclasses.replace(SMALL_CLONING.model, robot_ahead=4)
    config = dataclasses.replace(SMALL_CLONING, run_path=data.parent.parent, model=model, num_epochs=1)
    (path,) = train_flow.train(train_flow.Arguments(config, (LEVEL,), tmp_path))
    assert checkpoints.load_policy(path, obs_dim=5)[0].config.robot_ahead == 4
