"""The trainer of supervised models, on a linear one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from line_world import Killed, assert_same, dies_at_call
from rtc.policies import weights
from rtc.training import progress, trainer
from rtc.training.trainer import FitConfig, Trainer

CONFIG = FitConfig(num_epochs=3, batch_size=8, learning_rate=0.1, warmup_steps=4, ema_decay=0.5, seed=2)
RNG = np.random.default_rng(0)
INPUTS = RNG.standard_normal((50, 3)).astype(np.float32)
DATA = INPUTS, INPUTS @ np.array([[1.0], [-2.0], [0.5]], np.float32)


def objective(model, data, batch, key):
    """Regression with a little noise on the targets."""
    inputs, targets = (part[batch] for part in data)
    error = model(inputs) - targets - 0.01 * jax.random.normal(key, targets.shape)
    return jnp.square(error).mean(), {"largest": jnp.abs(error).max()}


def model():
    return nnx.Linear(3, 1, rngs=nnx.Rngs(0))


def order(config=CONFIG):
    return trainer.Shuffled(len(INPUTS), config.batch_size, jax.random.key(config.seed))


def fit(folder, config=CONFIG, data=DATA, **options):
    return trainer.fit(model(), objective, data, order(config), config, folder=folder, name="line", **options)


def test_training_learns_and_records_every_epoch(tmp_path):
    config = dataclasses.replace(CONFIG, num_epochs=20)
    seen = []
    trained, last = fit(tmp_path, config, after_epoch=seen.append)
    rows = progress.read_rows(tmp_path / "stats" / "line.csv")
    assert [row["updates"] for row in rows] == [6 * (epoch + 1) for epoch in range(20)]
    assert last == pytest.approx(rows[-1])
    assert rows[-1]["loss"] < 0.1 * rows[0]["loss"]
    assert {"loss", "grad_norm", "largest", "param_norm", "seconds"} < set(last)
    assert [epoch.done for epoch in seen] == list(range(1, 21))
    np.testing.assert_allclose(trained.kernel[...][:, 0], [1.0, -2.0, 0.5], atol=0.1)


@pytest.mark.parametrize("schedule", [trainer.constant, trainer.cosine])
def test_a_killed_run_ends_as_an_uninterrupted_one(tmp_path, monkeypatch, schedule):
    whole, _ = fit(tmp_path / "whole", schedule=schedule)
    with monkeypatch.context() as patch:
        dies_at_call(patch, weights, "save_tree", 2)
        with pytest.raises(Killed):
            fit(tmp_path / "killed", schedule=schedule)
    assert_same(nnx.state(fit(tmp_path / "killed", schedule=schedule)[0]), nnx.state(whole))


@pytest.mark.parametrize("parts", [2, 4])
def test_the_gradient_of_a_batch_is_the_mean_of_its_parts(parts):
    """Without noise, whose numbers are each part's own."""

    def quiet(model, data, batch, key):
        inputs, targets = (part[batch] for part in data)
        return jnp.square(model(inputs) - targets).mean(), {"largest": jnp.abs(targets).max()}

    structure, params = nnx.split(model())
    data, batch, key = jax.tree.map(jnp.asarray, DATA), jnp.arange(8) * 3, jax.random.key(0)
    found, whole = (
        trainer._gradient(
            Trainer(structure, quiet, dataclasses.replace(CONFIG, parts=count), 1), params, data, batch, key
        )
        for count in (parts, 1)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found[1], whole[1])
    np.testing.assert_allclose(found[0][0], whole[0][0], rtol=1e-5)
    with pytest.raises(ValueError, match="parts=3 must divide batch_size=8"):
        dataclasses.replace(CONFIG, parts=3)


def test_the_moving_average_lags_behind_the_weights():
    kept = {}
    for decay in (0.0, 0.5):
        structure, params = nnx.split(model())
        fitting = Trainer(structure, objective, dataclasses.replace(CONFIG, ema_decay=decay), 18)
        learner, _ = fitting.epoch(fitting.init(params), DATA, order().calls(0))
        kept[decay] = nnx.state(fitting.model(learner)), learner.params
    assert_same(*kept[0.0])
    assert_same(kept[0.0][1], kept[0.5][1])  # the average takes no part in learning
    distance = optax.tree.norm(jax.tree.map(jnp.subtract, *kept[0.5]))
    assert 0 < distance < optax.tree.norm(kept[0.5][1])


@pytest.mark.parametrize(("count", "updates"), [(50, 6), (8, 1), (8 * 205 + 3, 204)])
def test_an_epoch_has_every_example_once_in_calls_of_equal_length(count, updates):
    shuffled = trainer.Shuffled(count, 8, jax.random.key(0))
    calls = [np.asarray(batches) for batches, _ in shuffled.calls(0)]
    assert shuffled.updates == sum(map(len, calls)) == updates
    assert len({len(call) for call in calls}) == 1
    assert max(map(len, calls)) <= trainer.UPDATES_PER_CALL
    seen = np.concatenate(calls).ravel()
    assert len(np.unique(seen)) == len(seen) == 8 * updates
    assert set(seen) <= set(range(count))


def test_epochs_differ_and_their_keys_too():
    (first, key), (second, other) = (next(iter(order().calls(epoch))) for epoch in (0, 1))
    assert (np.asarray(first) != np.asarray(second)).any()
    assert key != other


def test_fewer_examples_than_a_batch_are_refused():
    with pytest.raises(ValueError, match="batch_size=64 exceeds the 50 transitions"):
        trainer.Shuffled(50, 64, jax.random.key(0))


def test_a_run_that_diverges_says_where(tmp_path):
    broken = DATA[0], np.full_like(DATA[1], np.nan)
    with pytest.raises(FloatingPointError, match=r"epoch 0, the line, seed 2: .*loss.* not finite"):
        fit(tmp_path, data=broken, label="the line")
    assert not list(tmp_path.rglob("*.safetensors"))


def test_step_sizes():
    config = dataclasses.replace(CONFIG, warmup_steps=10)
    constant, cosine = trainer.constant(config, 100), trainer.cosine(config, 100)
    assert [float(constant(step)) for step in (0, 5, 10, 1000)] == pytest.approx([0.0, 0.05, 0.1, 0.1])
    assert [float(cosine(step)) for step in (0, 10, 55, 100)] == pytest.approx([0.0, 0.1, 0.05, 0.0], abs=1e-6)
    assert float(trainer.cosine(config, 8)(4)) == pytest.approx(0.1)  # a warm-up of at most half of the run
