"""Levels of Kinetix without their physics, for tests of what does not depend on how bodies move."""

import dataclasses
import functools
from collections.abc import Iterator
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtc.control.environment import Transition, start_keys
from rtc.study import preparation
from rtc.worlds.kinetix import levels

TICKS = 48
make_env = levels.make_env


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["start", "place"], meta_fields=["entries", "robot_entries"]
)
@dataclasses.dataclass(frozen=True)
class StillEnv:
    """The first motor moves one number, which every observed entry shows. An episode ends once it is 1, or late."""

    start: jax.Array
    place: tuple
    entries: tuple[int, ...]
    robot_entries: tuple[bool, ...]
    action_dim = 6
    max_timesteps = TICKS

    @property
    def obs_dim(self):
        return len(self.entries)

    @property
    def robot(self):
        return jnp.asarray(self.robot_entries)

    def observing(self, entries):
        at = [self.entries.index(entry) for entry in entries]
        robot = tuple(self.robot_entries[i] for i in at)
        return dataclasses.replace(self, start=self.start[np.array(at)], entries=entries, robot_entries=robot)

    def reset(self, keys):
        x = jax.vmap(lambda key: jax.random.uniform(key, (), minval=-0.5, maxval=0.5))(keys)
        return (x, jnp.zeros(len(keys))), self._obs(x)

    def _obs(self, x):
        return self.start + 0.1 * x[:, None]

    def step(self, state, action):
        x, tick = state[0] + 0.1 * jnp.clip(action[:, 0], -1, 1), state[1] + 1
        solved = x > 1.0
        done = solved | (tick >= self.max_timesteps)
        distance = jnp.abs(1.0 - x)
        outcome = Transition(self._obs(x), solved.astype(jnp.float32), done, solved, jnp.isfinite(x), distance)
        return (x, tick), outcome

    def select(self, mask, on_true, on_false):
        return jax.tree.map(lambda a, b: jnp.where(mask, a, b), on_true, on_false)

    def poses(self, state):
        return jax.tree.map(lambda leaf: jnp.repeat(leaf, len(state[0]), axis=0), self.place)


@functools.lru_cache
def still(level):
    """A level that stays as it starts but for one number."""
    env = make_env(level)
    state, obs = jax.jit(lambda: env.reset(start_keys(1)))()
    varying = levels.varying_observation_entries(level)
    robot = np.zeros(env.obs_dim, bool)
    robot[varying] = np.asarray(env.observing(tuple(varying.tolist())).robot)
    entries = tuple(range(env.obs_dim))
    return StillEnv(obs[0], env.poses(state), entries, tuple(robot.tolist()))


@contextmanager
def still_levels() -> Iterator[None]:
    """Every level of Kinetix stays as it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(levels, "make_env", lambda level, physics="fast", start_noise=0.0: still(level))
        preparation._varying.cache_clear()
        yield
    preparation._varying.cache_clear()
