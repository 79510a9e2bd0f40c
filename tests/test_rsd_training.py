"""RSD's data, training and checkpoints."""

import dataclasses
import json
import re

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from line_world import Killed, assert_same, dies_at_call
from rtc.policies import weights
from rtc.policies.tokens import checkpoints
from rtc.policies.tokens.rfsq import Tokenizer
from rtc.programs import train_rsd
from rtc.study import tokens as token_files
from rtc.training import cloning, token_data, token_quality, tokens
from rtc.training.trainer import FitConfig
from token_world import MODELS, SMALL, demonstrations_of, small_policy

TINY = FitConfig(num_epochs=2, batch_size=16, warmup_steps=2)


def test_an_episode_is_trained_on_or_held_out(two_bound):
    chunks = token_data.of_level(demonstrations_of(), "reach", held_out=0.2)
    episodes = [set(np.asarray(part) // 7) for part in (chunks.training, chunks.held_out)]
    assert not episodes[0] & episodes[1]
    assert episodes[0] | episodes[1] == set(range(30))
    assert len(episodes[1]) == 6


def test_chunks_stop_at_the_end_of_their_episode_and_leave_out_what_drives_nothing(two_bound):
    chunks = token_data.of_level(demonstrations_of(), "reach")
    chunk = np.asarray(chunks.at(jnp.array([4, 7]), 4))
    np.testing.assert_allclose(chunk[0, :, 0], np.array([0.04, 0.05, 0.06, 0]) / 30, atol=1e-7)
    np.testing.assert_allclose(chunk[1, :, 1], np.array([1.0, 1.01, 1.02, 1.03]) / 30, atol=1e-7)
    assert (chunk[:, :, 2:] == 0).all()


def test_joined_levels_keep_their_chunks(two_bound):
    one = token_data.of_level(demonstrations_of(), "reach")
    both = token_data.join([one, one])
    assert len(both.training) == 2 * len(one.training)
    np.testing.assert_array_equal(both.at(jnp.array([4 + 210]), 4), one.at(jnp.array([4]), 4))
    assert set(both.held_out) == {*one.held_out, *(one.held_out + 210)}


def test_a_share_of_the_episodes_is_checked():
    with pytest.raises(ValueError, match="held_out"):
        token_data.held_out_episodes(np.array([False, True]), 0.9, 0)


def fit_tokenizer(folder, chunks, epochs):
    config = FitConfig(num_epochs=epochs, batch_size=16, warmup_steps=2)
    place = folder / "policies" / "tokenizer"
    model, objective = Tokenizer(SMALL, nnx.Rngs(0)), tokens.tokenizer_objective
    return tokens.fit(model, objective, chunks.without_split(), chunks, config, place)


def test_training_lowers_the_loss_and_its_statistics_are_kept(two_bound, tmp_path):
    chunks = token_data.of_level(demonstrations_of(), "reach")
    _, stats = fit_tokenizer(tmp_path, chunks, 30)
    rows = (tmp_path / "stats" / "tokenizer.csv").read_text().splitlines()
    assert len(rows) == 31
    assert stats["loss"] < 0.5 * float(rows[1].split(",")[1])


def test_the_error_falls_with_depth_and_no_code_is_the_rule(two_bound, tmp_path):
    chunks = token_data.of_level(demonstrations_of(num_episodes=60), "reach", held_out=0.2)
    trained, _ = fit_tokenizer(tmp_path, chunks, 60)
    table = token_quality.tokenizer_table(trained, {"reach": chunks}, {"reach": two_bound.bound_actions})
    errors = table["rms error"].astype(float)
    assert (np.diff(errors) < 0).all()
    assert table["commonest code"].astype(float).max() < 0.9


def test_a_killed_training_ends_as_an_uninterrupted_one(two_bound, tmp_path, monkeypatch):
    chunks = token_data.of_level(demonstrations_of(), "reach")
    expected, _ = fit_tokenizer(tmp_path / "whole", chunks, 4)
    with monkeypatch.context() as patch:
        dies_at_call(patch, weights, "save_tree", 3)
        with pytest.raises(Killed):
            fit_tokenizer(tmp_path / "killed", chunks, 4)
    found, _ = fit_tokenizer(tmp_path / "killed", chunks, 4)
    assert_same(nnx.state(found), nnx.state(expected))


def test_majorities():
    values = np.array([[[0, 1]], [[0, 2]], [[0, 1]], [[3, 1]]])
    assert token_quality.majority(values) == 0.75
    assert token_quality.mean_majority(values) == 0.75
    assert token_quality.mean_majority(np.array([[0, 1], [0, 2]])) == 0.75
    assert token_quality.majority(np.array([[0, 1], [0, 2]])) == 1.0


def test_checkpoints_come_back(tmp_path):
    policy, tokenizer = small_policy(), Tokenizer(SMALL, nnx.Rngs(1))
    checkpoints.save(tmp_path / "policy", policy, {"entries": [1, 2]})
    checkpoints.save(tmp_path / "tokenizer", tokenizer, {})
    loaded = checkpoints.load_policy(tmp_path / "policy")
    assert (loaded.config, loaded.tokens, loaded.obs_dim) == (policy.config, policy.tokens, 5)
    assert_same(nnx.state(loaded), nnx.state(policy))
    assert_same(nnx.state(checkpoints.load_tokenizer(tmp_path / "tokenizer")), nnx.state(tokenizer))
    assert checkpoints.facts(tmp_path / "policy") == {"entries": [1, 2]}
    assert checkpoints.exists(tmp_path / "policy")
    assert not checkpoints.exists(tmp_path / "other")


def test_bad_checkpoints_are_refused(tmp_path):
    checkpoints.save(tmp_path / "policy", small_policy(), {})
    with pytest.raises(FileNotFoundError, match=r"no checkpoint .*; did you mean 'policy'"):
        checkpoints.load_policy(tmp_path / "polciy")
    with pytest.raises(ValueError, match="does not describe a tokenizer but a token policy"):
        checkpoints.load_tokenizer(tmp_path / "policy")
    file = tmp_path / "policy.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"0000")
    with pytest.raises(ValueError, match="is truncated, damaged"):
        checkpoints.load_policy(tmp_path / "policy")


def test_the_training_script_makes_everything_once(two_bound, tmp_path, monkeypatch):
    models = {name: MODELS[name] for name in ("blocks", "draft")}
    monkeypatch.setattr(token_files, "MODELS", models)
    monkeypatch.setattr(train_rsd, "TokenizerConfig", lambda: SMALL)
    monkeypatch.setattr(token_data, "load", lambda run_path, names: {name: demonstrations_of() for name in names})
    monkeypatch.setattr(cloning, "data_facts", lambda path, demos, *level: {})
    args = train_rsd.Arguments(("reach",), ("reach", "other"), tmp_path, tmp_path / "run", TINY, TINY)
    train_rsd.train(args)
    text = (tmp_path / "run" / "README.md").read_text()
    assert "| commonest token | accuracy" in text
    assert re.search(r"\| +4 \|", text)
    found = {path: path.read_bytes() for path in (tmp_path / "run").glob("*/policies/*.safetensors")}
    assert len(found) == 1 + len(models)
    train_rsd.train(args)
    assert found == {path: path.read_bytes() for path in (tmp_path / "run").glob("*/policies/*.safetensors")}
    with pytest.raises(ValueError, match="another run"):
        train_rsd.train(dataclasses.replace(args, policy=FitConfig(num_epochs=3)))
    header = json.loads(token_files.policy_path(tmp_path / "run", "blocks", "reach").with_suffix(".json").read_text())
    assert header["facts"]["entries"] == [0, 1, 2, 3, 4]
    assert {"git_commit", "command", "accuracy_0"} <= set(header["facts"])
