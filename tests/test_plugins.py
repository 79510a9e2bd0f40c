"""Methods of a user's own: the documented ones, as a user would follow the document."""

import re
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from hash_world import controller_of
from model import ModelConfig
from rtc import methods
from rtc.control import executor
from rtc.control.controller import ExecutionConfig, make_controller
from rtc.delay import sampling
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.methods import MethodOptions, Place
from rtc.study import preparation
from stubs import SmoothEnv, make_policy

DOCUMENT = Path(__file__).parents[1] / "docs/adding-a-method.md"
CONFIG = ModelConfig(8, 8, 8, num_layers=1, action_chunk_size=4)


@pytest.fixture
def plugin(registered, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    path = tmp_path / "my_methods.py"
    path.write_text("\n\n".join(blocks))
    assert methods.load_plugin(path) == ("blend", "slew", "headed")
    return path


def run(method, **config):
    rng = np.random.default_rng(0)
    policy = make_policy(
        lambda _, shape: 0.5 * rng.standard_normal(shape, np.float32), obs_dim=7, action_dim=6, config=CONFIG
    )
    profile = DelayProfileConfig(mode="mixture", base_delays=(0, 1, 2), base_probs=(0.4, 0.3, 0.3))
    controller = make_controller(
        method, sampling.make_process(profile), EstimatorConfig().make(), ExecutionConfig(action_noise=0.0, **config)
    )
    return executor.rollout(SmoothEnv(), policy, controller, seed=0, episodes=np.arange(4), num_steps=2, num_slots=2)


def test_the_documented_methods_do_what_the_document_says(plugin):
    def make(name, **own):
        return methods.make(name, MethodOptions(own=tuple(own.items())))

    plain = run(methods.make("naive"))
    # Without a gain a chunk is faded in at once, from the planned delay on; with one, gradually.
    assert (run(make("blend", gain=0.0)).actions != run(make("blend", gain=30.0)).actions).any()
    free, slow = run(make("slew", step=1e6)), run(make("slew", step=0.05))
    np.testing.assert_allclose(free.actions, plain.actions, atol=1e-6)
    for actions, length in zip(slow.actions, slow.length, strict=True):
        steps = np.abs(np.diff(actions[:length], axis=0, prepend=0))
        assert 0.049 < steps.max() < 0.0501
    assert slow.evaluations.max() == 0


def test_a_network_is_found_loaded_and_bound_in_one_place(plugin, tmp_path):
    settings = SimpleNamespace(method="headed", method_options=MethodOptions(own=(("step", 1e6),)))
    place = Place(tmp_path, "worlds/l/some.json", tmp_path / "policy.safetensors")
    assert preparation.find_assets(settings, place) == {}
    policy = SimpleNamespace(action=None)
    with pytest.raises(ValueError, match=r"method='headed' needs a linear head.*fit one to demonstrations"):
        preparation.check_policy(settings, policy, {})
    (tmp_path / "heads").mkdir()
    head = {"weights": np.zeros((7, 6), np.float32), "bias": np.arange(6, dtype=np.float32)}
    np.savez(tmp_path / "heads/some.npz", **head)
    assets = preparation.find_assets(settings, place)
    preparation.check_policy(settings, policy, assets)
    assert len(assets["head"].sha256) == 64
    network = assets["head"].network
    few = network.observing((1, 2), np.ones(7, np.float32))
    assert few.weights.shape == (2, 6)
    method = methods.make("headed", settings.method_options)
    still = run(method.bind({"head": network}))
    plain = run(methods.make("naive"))
    np.testing.assert_allclose(still.actions[:, 0], plain.actions[:, 0] + np.arange(6), atol=1e-5)
    ticks = np.arange(still.actions.shape[1]) < still.length[:, None]
    assert (still.evaluations[ticks] == 1).all()
    assert set(still.age[ticks]) == {0}


def test_a_plugin_is_known_by_its_content(plugin):
    first = methods.identity("blend")
    assert first["gain"] == 3.0
    assert methods.code_roots("blend") == (plugin.resolve(),)
    assert methods.load_plugin(plugin) == ("blend", "slew", "headed")
    assert methods.identity("blend") == first
    plugin.write_text(plugin.read_text() + "\n# changed\n")
    methods.load_plugin(plugin)
    assert methods.identity("blend")["plugin_sha256"] != first["plugin_sha256"]


def test_a_changed_plugin_leaves_nothing_of_its_older_content(registered, tmp_path):
    path, one = tmp_path / "p.py", "methods.register('{}', lambda gain={}: None)"
    both = "\n".join(["from rtc import methods", one.format("pa", 1.0), one.format("pb", 1.0)])
    path.write_text(both)
    assert methods.load_plugin(path) == ("pa", "pb")
    path.write_text("from rtc import methods\n" + one.format("pa", 2.0))
    assert methods.load_plugin(path) == ("pa",)
    assert "pb" not in methods.METHODS
    path.write_text(both)
    assert methods.load_plugin(path) == ("pa", "pb")
    assert methods.registry._ENTRIES["pa"].defaults == {"gain": 1.0}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1", "registers no method"),
        ("from rtc import methods\nmethods.register('naive', methods.make)", "'naive' is registered already"),
        ("from rtc import methods\nmethods.register('mine', lambda gain: None)", "option gain of method 'mine'"),
    ],
)
def test_bad_plugins_leave_nothing_behind(registered, tmp_path, source, message):
    path, before = tmp_path / "bad.py", list(methods.METHODS)
    path.write_text(source)
    with pytest.raises(ValueError, match=message):
        methods.load_plugin(path)
    assert list(methods.METHODS) == before
    with pytest.raises(ValueError, match="is no file"):
        methods.load_plugin(tmp_path / "absent.py")


def test_a_method_is_told_which_policies_it_does_not_fit(registered):
    assert "needs a policy trained with" in methods.make("trained_prefix").problem(
        SimpleNamespace(action=None, config=SimpleNamespace(simulated_delay=None))
    )
    assert controller_of("naive").method.problem(SimpleNamespace(action=None)) is None
    assert jax.tree.leaves(methods.make("naive").init(None, 2)) == []
