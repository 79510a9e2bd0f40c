"""Spread and revision of chunks, on a policy whose chunks are known."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from rtc.control.environment import Transition
from rtc.study import spread
from rtc.study import subject as subjects

TICKS = 20


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Clock:
    """Shows the time, in hundredths; episodes with an even number end after half of the ticks."""

    max_timesteps: int = field(default=TICKS, metadata={"static": True})
    action_dim: int = field(default=6, metadata={"static": True})

    def reset(self, keys: Array) -> tuple[Array, Array]:
        return jnp.zeros(len(keys), jnp.int32), jnp.zeros((len(keys), 1))

    def step(self, state: Array, action: Array) -> tuple[Array, Transition]:
        state = state + 1
        no = jnp.zeros(len(state))
        last = jnp.where(jnp.arange(len(state)) % 2, TICKS, TICKS // 2)
        # After an episode's end it shows nonsense, which must not count.
        obs = jnp.where(state < last, state / 100, 50.0)[:, None]
        return state, Transition(obs, no, state >= last, no > 0, no == 0, no)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Known:
    """Chunks that say what the clock shows, plus so much noise."""

    noise: Array
    action_chunk_size: int = field(default=8, metadata={"static": True})
    action_dim: int = field(default=6, metadata={"static": True})

    def action(self, rng: None, obs: Array, num_steps: int, *, noise: Array) -> Array:
        return obs[:, :, None] + self.noise * noise


@pytest.fixture
def subject(monkeypatch: pytest.MonkeyPatch):
    """Makes a subject of a known policy."""

    def make(noise: float, size: int = 8) -> subjects.FlowSubject:
        policy = Known(jnp.float32(noise), size)
        monkeypatch.setattr(spread.preparation, "observed", lambda level, policy, physics: (Clock(), policy))
        level = type("Level", (), {"bound_actions": np.arange(6) < 4})()
        return subjects.FlowSubject(level, "clock", policy, None, "", {})

    return make


def test_a_sure_policy_only_revises(subject):
    found = spread.measure(subject(0.0), episodes=6)
    assert max(found["spread_first"], found["spread_chunk"]) < 1e-6
    for name, value in (("revision", 0.01), ("ahead_1", 0.01), ("ahead_2", 0.02), ("ahead_4", 0.04), ("fresh_4", 0.04)):
        assert found[name] == pytest.approx(value, rel=1e-4)


def test_noise_that_the_observation_does_not_explain_is_spread(subject):
    found = spread.measure(subject(0.05), draws=16, episodes=40)
    assert found["spread_first"] == pytest.approx(0.05, rel=0.05)
    assert found["spread_chunk"] == pytest.approx(0.05, rel=0.05)
    # An action's noise stays with its tick: the same draw revises only what the observation changes.
    for name, value in (("revision", 0.01), ("ahead_1", 0.01), ("ahead_4", 0.04)):
        assert found[name] == pytest.approx(value, rel=1e-3)
    assert found["fresh_1"] == pytest.approx(np.hypot(0.01, 0.05 * 2**0.5), rel=0.1)


def test_short_chunks_say_nothing_of_what_lies_behind_them(subject):
    found = spread.measure(subject(0.05, size=4), episodes=6)
    assert np.isnan(found["ahead_4"])
    assert np.isfinite(found["ahead_2"])
    with pytest.raises(ValueError, match="draws=1"):
        spread.measure(subject(0.05), draws=1)
