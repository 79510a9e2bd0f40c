"""Published checkpoints are pickles: arrays load, whatever the protocol, and nothing in a file runs."""

import collections
import os
import pickle
import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from model import ModelConfig
from rtc.policies.checkpoints import load_policy
from rtc.shared import pickles
from small_checkpoint import DIMS, UPSTREAM, make_policy, weights

# Values in the published file, as an ordinary unpickler reads them.
IN_PROJ_SUM = -6.678958521239906
OUT_PROJ_ROW = [-0.204423741, -0.134585395, 0.0689282194, 0.15800862, 0.0269637089, -0.231418923]


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
