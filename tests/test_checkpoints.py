"""Checkpoints: what is written comes back, and everything else is refused with a message that helps."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from rtc.policies.checkpoints import (
    check_level,
    find_policy,
    list_epochs,
    load_policy,
    policy_path,
    save_policy,
    sha256,
)
from small_checkpoint import CONFIG, DIMS, make_policy, weights


@pytest.fixture
def saved(tmp_path) -> Path:
    """A checkpoint on disk, as the path of its weights."""
    save_policy(tmp_path / "policy", make_policy(), {"level": "grasp_easy"})
    return tmp_path / "policy.safetensors"


def replace_weights(path: Path, change) -> None:
    """Rewrites the weights file with `change` applied to its arrays, and its hash with it."""
    arrays = dict(safetensors.numpy.load_file(path))
    change(arrays)
    safetensors.numpy.save_file(arrays, path)
    header = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(header | {"sha256": sha256(path)}))


# --- safetensors -------------------------------------------------------------------------------------------


def test_roundtrip(saved):
    policy, metadata = load_policy(saved, CONFIG, **DIMS)
    assert metadata == {"level": "grasp_easy"}
    assert policy.config == CONFIG
    expected = weights(make_policy())
    assert "mlp_stack/0/token_mix_in/kernel" in expected
    np.testing.assert_equal(weights(policy), expected)


def test_suffix_is_optional_and_only_two_files_are_written(saved):
    policy = make_policy()
    save_policy(saved.with_name("v1.2"), policy, {})
    save_policy(saved.with_name("given.safetensors"), policy, {})
    stems = ("given", "policy", "v1.2")
    expected = sorted(f"{stem}{suffix}" for stem in stems for suffix in (".json", ".safetensors"))
    assert sorted(p.name for p in saved.parent.iterdir()) == expected
    assert load_policy(saved.with_name("v1.2"), **DIMS)[1] == {}


def test_metadata_may_hold_arrays_and_paths(saved):
    save_policy(saved, make_policy(), {"rate": np.float32(0.5), "curve": np.arange(2), "from": Path("a/b")})
    assert load_policy(saved, **DIMS)[1] == {"rate": 0.5, "curve": [0, 1], "from": "a/b"}


def test_metadata_that_json_cannot_hold_leaves_the_old_checkpoint(saved):
    before = sha256(saved)
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        save_policy(saved, make_policy(), {"callback": print})
    assert sha256(saved) == before
    load_policy(saved, **DIMS)


def test_stack_of_policies_is_not_saved(tmp_path):
    policy = nnx.clone(make_policy())
    nnx.update(policy, jax.tree.map(lambda x: np.stack([x, x]), nnx.state(policy)))
    with pytest.raises(ValueError, match=r"final_adaln/bias.*expected"):
        save_policy(tmp_path / "policy", policy, {})
    assert not list(tmp_path.iterdir())


def test_wanted_config_that_differs_names_field_values_and_flag(saved):
    wanted = dataclasses.replace(CONFIG, num_layers=3, action_chunk_size=5)
    with pytest.raises(ValueError, match=r"num_layers=2, but num_layers=3 .* --config\.model.num-layers 2"):
        load_policy(saved, wanted, **DIMS)


def test_simulated_delay_may_be_changed_for_fine_tuning(saved):
    wanted = dataclasses.replace(CONFIG, simulated_delay=4)
    assert load_policy(saved, wanted, **DIMS)[0].config == wanted
    assert load_policy(saved, **DIMS)[0].config == CONFIG


def test_wrong_dimensions_are_named(saved):
    with pytest.raises(ValueError, match="obs_dim=5, but obs_dim=679"):
        load_policy(saved, action_dim=3)
    with pytest.raises(ValueError, match="action_dim=3, but action_dim=6"):
        load_policy(saved, obs_dim=5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("out_proj/bias"), "'out_proj/bias' is missing"),
        (lambda a: a.update(extra=np.zeros(2, np.float32)), "unexpected parameter 'extra'"),
        (lambda a: a.update({"out_proj/bias": np.zeros(4, np.float32)}), r"'out_proj/bias' has shape \(4,\)"),
        (lambda a: a.update({"out_proj/bias": np.zeros(3, np.float16)}), "'out_proj/bias' has dtype float16"),
    ],
)
def test_first_parameter_that_does_not_fit_is_named(saved, change, message):
    replace_weights(saved, change)
    with pytest.raises(ValueError, match=message):
        load_policy(saved, **DIMS)


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_truncated_weights(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"policy\.safetensors is truncated, damaged .*restore"):
        load_policy(saved, **DIMS)


def test_weights_that_are_no_safetensors(saved):
    saved.write_bytes(b"not weights")
    header = json.loads(saved.with_suffix(".json").read_text())
    saved.with_suffix(".json").write_text(json.dumps(header | {"sha256": sha256(saved)}))
    with pytest.raises(ValueError, match=r"policy\.safetensors cannot be read"):
        load_policy(saved, **DIMS)


@pytest.mark.parametrize("keep", [0, 1, 40, -3])
def test_truncated_json(saved, keep):
    header = saved.with_suffix(".json")
    header.write_text(header.read_text()[:keep])
    with pytest.raises(ValueError, match=r"policy\.json is truncated or damaged .*restore"):
        load_policy(saved, **DIMS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": None}, "no valid 'config'"),
        ({"config": {"num_layer": 2}}, "num_layer"),
        ({"config": {"num_layers": -2}}, "num_layers=-2"),
        ({"version": 99}, "format version 99"),
    ],
)
def test_json_that_describes_no_checkpoint(saved, change, message):
    header = saved.with_suffix(".json")
    header.write_text(json.dumps(json.loads(header.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        load_policy(saved, **DIMS)


def test_weights_without_json(saved):
    saved.with_suffix(".json").unlink()
    with pytest.raises(FileNotFoundError, match=r"policy\.json"):
        load_policy(saved, **DIMS)


# --- where checkpoints are ---------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path) -> Path:
    """A run with epochs 2, 7 and 31; the last one has grasp_easy and catapult."""
    run = tmp_path / "logs-bc" / "small"
    for epoch, level in ((2, "grasp_easy"), (7, "grasp_easy"), (31, "grasp_easy"), (31, "catapult")):
        folder = run / str(epoch) / "policies"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"worlds_l_{level}.safetensors").touch()
    (run / "statistics").mkdir()
    return run


def test_epochs_are_sorted_as_numbers(run):
    assert list_epochs(run) == [2, 7, 31]


@pytest.mark.parametrize("level", ["grasp_easy", "worlds/l/grasp_easy.json"])
@pytest.mark.parametrize(("step", "epoch"), [(-1, 31), (-3, 2), (7, 7)])
def test_policy_path(run, level, step, epoch):
    expected = run / str(epoch) / "policies" / "worlds_l_grasp_easy.safetensors"
    assert policy_path(run, level, step) == expected


def test_policy_path_of_an_absolute_world_file(run):
    world = Path(__file__).resolve().parents[1] / "worlds" / "l" / "grasp_easy.json"
    assert policy_path(run, world).name == "worlds_l_grasp_easy.safetensors"


def test_policy_path_falls_back_to_pickle(run):
    file = run / "7" / "policies" / "worlds_l_catapult.pkl"
    file.touch()
    assert policy_path(run, "catapult", 7) == file


@pytest.mark.parametrize(
    ("name", "level", "step", "message"),
    [
        ("smal", "catapult", -1, "no run .*did you mean 'small'.* has: small"),
        ("small", "catapult", 8, "no epoch .* has: 2, 7, 31"),
        ("small", "catapult", -4, "no epoch .* has: 2, 7, 31"),
        ("small", "catapul", -1, "no checkpoint .*did you mean 'worlds_l_catapult.*worlds_l_grasp_easy"),
    ],
)
def test_what_is_missing_is_listed(run, name, level, step, message):
    with pytest.raises(FileNotFoundError, match=message):
        policy_path(run.with_name(name), level, step)


def test_a_file_of_ones_own_is_found_with_and_without_its_suffix(run, saved):
    for file in (saved, saved.with_suffix("")):
        assert find_policy(run, "my_level", file=file) == saved
    assert find_policy(run, "grasp_easy", 7) == policy_path(run, "grasp_easy", 7)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint .*polcy"):
        find_policy(run, "my_level", file=saved.with_name("polcy"))


def test_a_policy_of_a_level_with_other_content_is_refused_unless_its_file_was_chosen(saved):
    facts = {"level": "grasp_easy", "level_sha256": "a" * 64}
    check_level(saved, facts, "grasp_easy", "a" * 64)
    check_level(saved, {}, "grasp_easy", "b" * 64)
    message = r"trained on level 'grasp_easy' with content aaaaaaaaaaaa….*'my_level' here has content bbbbbbbbbbbb…"
    with pytest.raises(ValueError, match=rf"{message}.*--policy"):
        check_level(saved, facts, "my_level", "b" * 64)
    with pytest.warns(UserWarning, match=message):
        check_level(saved, facts, "my_level", "b" * 64, chosen=True)
