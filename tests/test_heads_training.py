"""What correction heads learn from: the right action after every chunk."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtc.policies import networks
from rtc.policies.heads import CorrectionHead
from rtc.training import heads, trajectories
from rtc.training.heads import HeadTraining
from rtc.training.networks import Job
from stubs import EchoPolicy


def test_labels_of_demonstrations_and_ends_of_episodes():
    last, obs = np.array([2, 2, 2, 4, 4]), np.arange(5, dtype=np.float32)[:, None]
    label = 10 * obs * np.ones((1, 6), np.float32)
    data = heads.dataset(EchoPolicy(4), obs, last, label, HeadTraining(draws=2))
    assert data.chunk.shape == (5, 2, 4, 6)
    np.testing.assert_array_equal(data.label, np.stack([label, label], axis=1))
    seen, base, phase, right, valid = heads._planned(data, jnp.arange(5), jax.random.key(1))
    entry = np.round(np.asarray(phase) * 4).astype(int)
    np.testing.assert_array_equal(valid, np.arange(5) + entry <= last)
    tick = np.minimum(np.arange(5) + entry, last)
    np.testing.assert_array_equal(seen, obs[tick])
    np.testing.assert_array_equal(right, label[tick])
    np.testing.assert_array_equal(base[:, 1], np.minimum(entry, 1))  # the entry, clipped to the actions' range


@dataclasses.dataclass(frozen=True)
class Undecided:
    """Goes left or right, as the noise of a tick says; both are right."""

    action_chunk_size: int = 4
    action_dim: int = 6

    def action(self, rng, obs, num_steps, noise=None):
        return jnp.sign(noise)


jax.tree_util.register_static(Undecided)


@pytest.mark.parametrize("labels", ["same_noise", "mean"])
def test_a_head_stays_with_what_was_chosen_where_several_actions_are_right(tmp_path, labels):
    rng, done = np.random.default_rng(0), np.arange(3000) % 30 == 29
    obs = rng.uniform(-1, 1, (3000, 2)).astype(np.float32)
    data = trajectories.Trajectories(obs, np.zeros((3000, 6), np.float32), done, np.ones(2, bool), np.arange(2), {})
    config = HeadTraining(num_epochs=6, batch_size=32, learning_rate=3e-3, warmup_steps=10, labels=labels)
    facts = heads.train(Undecided(), data, config, Job("some", tmp_path / "work", tmp_path / "some"))
    head = networks.load(tmp_path / "some", CorrectionHead)[0]
    for planned in (-1.0, 1.0):
        base = jnp.full((50, 6), planned)
        acted = base + head(jnp.asarray(obs[:50]), base, jnp.full(50, 0.5))
        wanted, off = (planned, 0.3) if labels == "same_noise" else (0.0, 0.7)
        np.testing.assert_allclose(acted, wanted, atol=off)
    assert (facts["held_out_loss"] < 0.05) == (labels == "same_noise")
