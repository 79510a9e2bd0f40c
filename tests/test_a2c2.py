"""Correction heads: what is added to an action, and when."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from rtc import methods
from rtc.control import executor
from rtc.control.controller import ExecutionConfig, make_controller
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.delay.sampling import make_process
from rtc.methods import Now
from rtc.policies import networks, weights
from rtc.policies.heads import CorrectionHead, HeadConfig
from rtc.study import preparation
from stubs import EchoPolicy, SmoothEnv

ENV = SmoothEnv((2, 3, 4), 24)
POLICY = EchoPolicy(4)


class Adding:
    """Corrects by a third of the planned action, and says in the other numbers what it was given."""

    def __call__(self, obs, action, phase):
        said = jnp.stack([obs[:, 0], obs[:, 1], phase], axis=1)
        return jnp.concatenate([action[:, :3] / 3, said], axis=1)


jax.tree_util.register_static(Adding)


def now(**changes):
    fields = {
        "key": jax.random.split(jax.random.key(0), 2),
        "obs": jnp.array([[0.5, -0.25, 0.0], [0.1, 0.2, 0.3]]),
        "action": jnp.array([[0.6] * 6, [3.0] * 6]),
        "entry": jnp.array([1, -1]),
        "starved": jnp.array([False, True]),
        "age": jnp.array([5, -1]),
        "obs_age": jnp.array([1, 1]),
        "last_action": jnp.zeros((2, 6)),
        "tick": jnp.array([7, 7]),
    }
    return Now(**fields | changes)


@pytest.mark.parametrize("name", ["a2c2", "head_only"])
def test_the_head_sees_the_newest_observation_the_action_and_its_place(name):
    method = methods.make(name).bind({"head": Adding()})
    act, _ = method.act(POLICY, now(), ())
    planned = np.array([[0.6] * 6, [1.0] * 6])  # clipped to the actions' range
    correction = np.array([[0.2, 0.2, 0.2, 0.5, -0.25, 0.25], [1 / 3, 1 / 3, 1 / 3, 0.1, 0.2, 0.75]])
    np.testing.assert_allclose(act.action, correction if name == "head_only" else planned + correction, atol=1e-6)
    assert act.age[0] == 1
    np.testing.assert_array_equal(act.evaluations, [1, 1])


def run(method, *, delay=2, correction_delay=0):
    controller = make_controller(
        method,
        make_process(DelayProfileConfig(fixed_delay=delay)),
        EstimatorConfig(kind="oracle").make(),
        ExecutionConfig(execute_horizon=max(delay, 1), action_noise=0.0, correction_delay=correction_delay),
    )
    return executor.rollout(ENV, POLICY, controller, seed=0, episodes=np.arange(2), num_steps=2)


def test_every_action_is_corrected_and_the_chunk_stays_as_it_is():
    corrected, newest = (
        run(methods.make("a2c2").bind({"head": Adding()})),
        ENV.reset(jax.random.split(jax.random.key(0))),
    )
    state, obs = newest
    length = int(corrected.length[0])
    for tick in range(length):
        # The bootstrap chunk at first; then every chunk from its third entry on, for two ticks.
        entry = tick if tick < 2 else 2 + tick % 2
        np.testing.assert_allclose(corrected.actions[0, tick, 3:5], np.asarray(obs[0, :2]) - 1, atol=1e-5)
        assert corrected.actions[0, tick, 5] == pytest.approx(entry / 4 - 1, abs=1e-5)
        state, moved = ENV.step(state, jnp.asarray(corrected.actions[:2, tick]))
        obs = moved.obs
    assert length > 4
    assert set(corrected.age[0, :length]) == {0}
    assert (corrected.evaluations[0, :length] == 1).all()


def test_corrections_can_be_late_themselves():
    late = run(methods.make("a2c2").bind({"head": Adding()}), correction_delay=1)
    length = int(late.length[0])
    assert list(late.age[0, :length]) == [0] + [1] * (length - 1)


def test_heads_and_their_files(tmp_path):
    config = HeadConfig((5, 4), reads_base=False)
    head = CorrectionHead(entries=[1, 3], action_dim=2, config=config, rngs=nnx.Rngs(0))
    path = networks.place(tmp_path, head.kind, "worlds/l/some.json")
    networks.save(path, head, {"level": "some"})
    found = networks.find(tmp_path, head.kind, "worlds/l/some.json")
    loaded, facts = networks.load(found, CorrectionHead)
    inputs = jnp.array([[0.1, 0.2]]), jnp.array([[0.3, 0.4]]), jnp.array([0.25])
    np.testing.assert_allclose(loaded(*inputs), head(*inputs), rtol=1e-2, atol=1e-3)
    assert facts == {"level": "some", "stored": "float16"}
    # All but the trained part is as it was, and files of before, in float32, are read as well.
    stored = safetensors.numpy.load(found.read_bytes())
    assert {name: one.dtype for name, one in stored.items()} == {
        name: np.dtype(np.float16 if name.startswith("net/") else np.int32) for name in stored
    }
    weights.write(path, head, {"kind": head.kind, "sizes": head.sizes(), "facts": {}})
    np.testing.assert_array_equal(networks.load(found, CorrectionHead)[0](*inputs), head(*inputs))
    head.net = networks.rounded(head.net)
    np.testing.assert_array_equal(loaded(*inputs), head(*inputs))
    assert loaded.config == config
    assert networks.find(tmp_path, head.kind, "other") is None
    assert loaded.observing((1, 3), np.zeros(9)) is loaded
    with pytest.raises(ValueError, match="this correction reads 2 entries"):
        loaded.observing((1, 4), np.zeros(9))


def test_a_head_belongs_to_its_policy_and_level(tmp_path):
    head = CorrectionHead(entries=[1, 3], action_dim=2, config=HeadConfig((4,)), rngs=nnx.Rngs(0))
    path = networks.place(tmp_path, head.kind, "some")
    networks.save(path, head, {"level_sha256": "a" * 64, "policy_sha256": "b" * 64})
    spec = methods.make("a2c2").assets()["head"]
    asset = preparation.Asset(spec.find(methods.Place(tmp_path, "some", tmp_path / "policy")), spec)
    asset.require_made_for("a" * 64, "b" * 64)
    with pytest.raises(ValueError, match=r"made for another policy .*--kinds correction"):
        asset.require_made_for("a" * 64, "c" * 64)
    with pytest.raises(ValueError, match="made for another level"):
        asset.require_made_for("c" * 64, "b" * 64)
    assert methods.make("foresee_learned").assets()["model"].made_for(asset.path) == {"level_sha256": "a" * 64}


def test_a_head_alone_is_as_old_as_what_it_sees():
    method = methods.make("head_only").bind({"head": Adding()})
    act, _ = method.act(POLICY, now(age=jnp.array([0, -1]), obs_age=jnp.array([3, 3])), ())
    assert act.age[0] == 3


def test_a_missing_head_is_named_with_what_to_do():
    spec = methods.make("a2c2").assets()["head"]
    assert "train_networks.py" in spec.fix
    assert methods.make("head_only").assets()["head"].what != spec.what
