"""Checkpoints: what is written comes back, and everything else is refused with a message that helps."""

import collections
import dataclasses
import json
import os
import pickle
import shutil
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from model import FlowPolicy, ModelConfig
from rtc.policies import pickles
from rtc.policies.checkpoints import (
    check_level,
    find_policy,
    list_epochs,
    load_policy,
    policy_path,
    save_policy,
    sha256,
)

UPSTREAM = Path(__file__).parent / "goldens" / "upstream_format.pkl"
CONFIG = ModelConfig(8, 12, 6, num_layers=2, action_chunk_size=4, simulated_delay=2)
# Values in that file, as an ordinary unpickler reads them.
IN_PROJ_SUM = -6.678958521239906
OUT_PROJ_ROW = [-0.204423741, -0.134585395, 0.0689282194, 0.15800862, 0.0269637089, -0.231418923]
DIMS = {"obs_dim": 5, "action_dim": 3}


@cache
def make_policy() -> FlowPolicy:
    return nnx.jit(lambda: FlowPolicy(**DIMS, config=CONFIG, rngs=nnx.Rngs(0)))()


def weights(policy: FlowPolicy) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.state(policy)))
    return {jax.tree_util.keystr(key, simple=True, separator="/"): np.asarray(leaf) for key, leaf in leaves}


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


# --- the published pickle format ---------------------------------------------------------------------------


def test_upstream_pickle_loads_with_inferred_config():
    policy, metadata = load_policy(UPSTREAM)
    assert policy.config == ModelConfig(64, 128, 32, num_layers=2, action_chunk_size=4)
    assert (policy.obs_dim, policy.action_dim, metadata) == (679, 6, {})
    found = weights(policy)
    np.testing.assert_allclose(found["in_proj/kernel"].astype(np.float64).sum(), IN_PROJ_SUM, rtol=1e-9)
    np.testing.assert_allclose(found["out_proj/kernel"][0], OUT_PROJ_ROW, rtol=1e-6)


def test_upstream_pickle_is_checked_against_the_wanted_config():
    with pytest.raises(ValueError, match=r"num_layers=2, but num_layers=4 .* --config\.model.num-layers 2"):
        load_policy(UPSTREAM, ModelConfig(64, 128, 32, num_layers=4, action_chunk_size=4))


def nested(order: str, as_lists: bool) -> dict:
    """The policy's weights as the published nested dictionaries, layers by number or in a list."""
    tree: dict = {}
    for name, array in weights(make_policy()).items():
        *folders, leaf = [int(part) if part.isdecimal() else part for part in name.split("/")]
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[leaf] = np.asarray(array, order=order)
    if as_lists:
        tree["mlp_stack"] = [tree["mlp_stack"][k] for k in sorted(tree["mlp_stack"])]
    return tree


@pytest.mark.parametrize("as_lists", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("protocol", range(6))
def test_numpy_pickles_of_every_protocol_load(tmp_path, protocol, order, as_lists):
    (tmp_path / "policy.pkl").write_bytes(pickle.dumps(nested(order, as_lists), protocol))
    found = pickles.read_arrays(tmp_path / "policy.pkl")
    np.testing.assert_equal(found, weights(make_policy()))


def test_a_pickle_of_a_list_in_fortran_order_becomes_a_policy(tmp_path):
    (tmp_path / "policy.pkl").write_bytes(pickle.dumps(nested("F", as_lists=True), 0))
    np.testing.assert_equal(weights(load_policy(tmp_path / "policy.pkl", **DIMS)[0]), weights(make_policy()))


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_unusual_layout_load(tmp_path, protocol):
    tree = {
        "turned": np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(1, 2, 0),
        "strided": np.arange(10, dtype=np.int64)[::3],
        "big_endian": np.arange(3, dtype=">f4"),
        "scalar": np.float32(2.5),
        "empty": np.zeros((0, 3), np.float32),
        "jax": jnp.arange(3.0),
    }
    (tmp_path / "policy.pkl").write_bytes(pickle.dumps(collections.OrderedDict(tree), protocol))
    found = pickles.read_arrays(tmp_path / "policy.pkl")
    assert found.keys() == tree.keys()
    for name, array in tree.items():
        np.testing.assert_array_equal(found[name], np.asarray(array))


def refusal(tmp_path: Path, payload: bytes, verdict: str = "was refused.*do not trust this file") -> str:
    """The message with which `payload` is refused."""
    file = tmp_path / "policy.pkl"
    file.write_bytes(payload)
    with pytest.raises(ValueError, match=rf"policy\.pkl {verdict}") as caught:
        load_policy(file)
    return str(caught.value)


def call_payload(module: str, name: str, argument: str) -> bytes:
    """A pickle that calls module.name(argument), in protocol 4 so that dotted names are looked up too."""
    text = [b"\x8c" + bytes([len(part.encode())]) + part.encode() for part in (module, name, argument)]
    return b"\x80\x04" + text[0] + text[1] + b"\x93" + text[2] + b"\x85R."


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("subprocess", "getoutput"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("numpy", "load"),
        ("numpy", "ndarray.__init__"),
        ("numpy.testing._private.utils", "runstring"),
        ("_codecs", "decode"),
        ("rtc.checkpoints", "_PickledArray"),
    ],
)
def test_other_globals_are_refused_before_they_run(tmp_path, module, name):
    marker = tmp_path / "ran"
    argument = f"open({str(marker)!r}, 'w')" if name == "eval" else f"touch {marker}"
    payload = call_payload(module, name, argument)
    assert f"{module}.{name}" in refusal(tmp_path, payload)
    assert not marker.exists()


def test_the_payload_would_run_in_an_ordinary_unpickler(tmp_path):
    pickle.loads(call_payload("os", "system", f"touch {tmp_path / 'ran'}"))  # keeps the test above honest
    assert (tmp_path / "ran").exists()


class Reduces:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_payloads_in_nested_places_are_refused(tmp_path):
    marker = tmp_path / "ran"
    payload, array = Reduces(os.system, f"touch {marker}"), np.zeros(3, np.float32)
    for protocol in range(6):
        for tree in (
            {"in_proj": {"kernel": array, "bias": payload}},
            {"in_proj": [array, (array, payload)]},
            {"in_proj": Reduces(np.dtype, payload)},
        ):
            message = refusal(tmp_path, pickle.dumps(tree, protocol))
            assert "posix.system" in message or "nt.system" in message
            assert not marker.exists()
        objects = np.array([payload, None], dtype=object)
        assert "dtype 'O8'" in refusal(tmp_path, pickle.dumps({"in_proj": objects}, protocol), "is unsupported")
        assert not marker.exists()


def test_old_opcodes_are_refused_too(tmp_path):
    marker = tmp_path / "ran"
    command = b"S'touch " + str(marker).encode() + b"'\n"
    for payload in (
        b"cos\nsystem\n(" + command + b"tR.",  # GLOBAL, REDUCE
        b"(" + command + b"ios\nsystem\n.",  # INST
        b"(cos\nsystem\n" + command + b"o.",  # OBJ
    ):
        assert "os.system" in refusal(tmp_path, payload)
        assert not marker.exists()


@pytest.mark.parametrize("name", [b"numpy\nndarray", b"numpy\ndtype", b"jax._src.array\n_reconstruct_array"])
@pytest.mark.parametrize(
    "state",
    [
        b"}S'__call__'\nNs",  # {"__call__": None} into __dict__
        b"(N}S'__call__'\nNst",  # (None, {"__call__": None}) through setattr
    ],
)
def test_allowed_globals_cannot_be_changed(tmp_path, name, state):
    assert "change" in refusal(tmp_path, b"c" + name + b"\n" + state + b"b.")
    load_policy(UPSTREAM)


@pytest.mark.parametrize(
    "array",
    [
        np.array([{}, None], dtype=object),
        np.array(["text"]),
        np.zeros(2, dtype=[("a", "f4"), ("b", "i4")]),
        np.array(["2024-01-01"], dtype="datetime64[D]"),
    ],
)
def test_arrays_of_other_than_numbers_are_refused(tmp_path, array):
    assert "dtype" in refusal(tmp_path, pickle.dumps({"in_proj": array}), "is unsupported")


@pytest.mark.parametrize("tree", [{"in_proj": "text"}, [np.zeros(2), True], 3, {"a": {"b": None}}])
def test_other_than_arrays_in_containers_is_unsupported(tmp_path, tree):
    assert "entry" in refusal(tmp_path, pickle.dumps(tree), "is unsupported")


def test_unknown_classes_of_array_libraries_are_unsupported_rather_than_suspect(tmp_path):
    message = refusal(tmp_path, call_payload("flax.core.frozen_dict", "FrozenDict", "{}"), "is unsupported")
    assert "flax.core.frozen_dict.FrozenDict" in message
    assert "trust" not in message


def test_a_pickle_that_abuses_the_encoding_of_bytes_is_refused(tmp_path):
    payload = b"c_codecs\nencode\n(S'6869'\nS'hex'\ntR."
    assert "encoding 'hex'" in refusal(tmp_path, payload)


def test_pickle_of_another_network_says_what_it_lacks(tmp_path):
    (tmp_path / "policy.pkl").write_bytes(pickle.dumps({"dense": np.zeros((2, 2), np.float32)}))
    with pytest.raises(ValueError, match="not a flow policy: it has no matrix 'in_proj/kernel'"):
        load_policy(tmp_path / "policy.pkl")


def test_truncated_pickle(tmp_path):
    shutil.copyfile(UPSTREAM, tmp_path / "policy.pkl")
    os.truncate(tmp_path / "policy.pkl", 10_000)
    with pytest.raises(ValueError, match=r"policy\.pkl is truncated or damaged .*download"):
        load_policy(tmp_path / "policy.pkl")


def test_damaged_pickles_raise_nothing_but_value_errors(tmp_path):
    original = np.frombuffer(pickle.dumps({"a": {0: np.zeros((2, 3), np.float32)}}), np.uint8)
    random, file = np.random.default_rng(0), tmp_path / "policy.pkl"
    for _ in range(300):
        damaged = original.copy()
        damaged[random.integers(len(damaged), size=2)] = random.integers(256, size=2)
        file.write_bytes(damaged.tobytes())
        with pytest.raises(ValueError, match=r"policy\.pkl"):
            load_policy(file)
