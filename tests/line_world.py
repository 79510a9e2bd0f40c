"""An environment small enough to learn in seconds, and what the tests of the three trainers share."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from model import ModelConfig
from rtc.control.environment import Transition
from rtc.training.cloning import CloningConfig
from rtc.training.ppo_training import TrainConfig

DEVICES = jax.device_count()
LEVEL = "worlds/l/grasp_easy.json"
SLUG = "worlds_l_grasp_easy"
ENTRIES = (0, 2, 4)
SMALL_PPO = TrainConfig(num_envs=16 * DEVICES, num_steps=32, num_updates=60, target_solve_rate=0.95, window=3, width=32)
SMALL_CLONING = CloningConfig(
    num_epochs=4, batch_size=32 * DEVICES, warmup_steps=10, save_every=2, model=ModelConfig(16, 32, 8, 1, 4)
)


@functools.partial(jax.tree_util.register_dataclass, data_fields=["goal"], meta_fields=["entries"])
@dataclasses.dataclass(frozen=True)
class ReachEnv:
    """Push a point to the goal within 12 ticks, with the first motor; entries 1 and 3 never vary."""

    goal: jax.Array
    entries: tuple[int, ...] = tuple(range(5))
    action_dim = 6
    max_timesteps = 12

    @property
    def obs_dim(self):
        return len(self.entries)

    def observing(self, entries):
        return dataclasses.replace(self, entries=entries)

    @property
    def robot(self):
        """The point is the robot; where the goal is from it counts as the rest."""
        return jnp.array([entry == 0 for entry in self.entries])

    def _obs(self, x, tick):
        full = [x, jnp.full_like(x, 7.0), self.goal - x, jnp.ones_like(x), tick / 12]
        return jnp.stack([full[entry] for entry in self.entries], axis=1)

    def reset(self, keys):
        state = (jnp.zeros(len(keys)), jnp.zeros(len(keys)))
        return state, self._obs(*state)

    def step(self, state, action):
        x, tick = state[0] + 0.2 * jnp.clip(action[:, 0], -1, 1), state[1] + 1
        distance = jnp.abs(self.goal - x)
        solved = distance < 0.15
        done = solved | (tick >= self.max_timesteps)
        reward = solved.astype(jnp.float32)
        return (x, tick), Transition(self._obs(x, tick), reward, done, solved, jnp.isfinite(x), distance)

    def select(self, mask, on_true, on_false):
        return jax.tree.map(lambda a, b: jnp.where(mask, a, b), on_true, on_false)


ENV = ReachEnv(jnp.float32(1.0))


class Killed(Exception):
    """Stands for a process that dies."""


def dies_at_call(monkeypatch, module, name, number):
    """The function raises at its `number`-th call, from then on it works."""
    original, calls = getattr(module, name), []

    def function(*args, **kwargs):
        calls.append(None)
        if len(calls) == number:
            raise Killed
        return original(*args, **kwargs)

    monkeypatch.setattr(module, name, function)


def assert_same(tree, other):
    for leaf, other_leaf in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(leaf, other_leaf)
