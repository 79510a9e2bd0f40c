"""Environments that are stepped in Python, one at a time: what the host executor needs of them."""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import numpy as np
from jaxtyping import Array, Float

from rtc.control.environment import Environment
from rtc.control.host.seeds import key_of
from rtc.shared import runtime

Observation = Any


@dataclass(frozen=True)
class Step:
    """Outcome of one control tick.

    Attributes:
        obs: observation after the tick: an array, or whatever the policy reads, such as a dict of images.
        reward: the environment's own reward.
        solved: the goal was reached at this tick.
        terminated: the episode ended by itself at this tick (goal or failure).
        truncated: it was cut off at this tick (time limit).
    """

    obs: Observation
    reward: float = 0.0
    solved: bool = False
    terminated: bool = False
    truncated: bool = False


class ExternalEnvironment(Protocol):
    """An environment as objects with a state of their own: a simulator in Python, a process, a robot.

    It may have these attributes; where it does not, whoever starts the episodes has to say them:

        max_ticks: control ticks after which an episode ends.
        bound_actions: of each action dimension, whether it drives anything; all of them by default.

    And a method `begin_episode(number: int) -> None`, which is called before an episode's `reset` with the episode's
    number, for benchmarks that say from which state episode n starts, whatever the seed. It raises ValueError for a
    number that has none.
    """

    def reset(self, seed: int) -> Observation:
        """Starts an episode; returns its first observation.

        Args:
            seed: decides the start; 64 bits, from the seed and the episode's number.
        """
        ...

    def step(self, action: Float[np.ndarray, " a"]) -> Step:
        """Executes an action for one control tick, clipped to the environment's own bounds."""
        ...


class Simulated:
    """An environment of this project (`rtc.control.environment.Environment`) as an external one.

    Episodes start as they do in `rtc.control.executor`: with the same seeds, from the same states.
    """

    def __init__(self, env: Environment, bound_actions: Any = None):
        """`bound_actions`: see `ExternalEnvironment`."""
        self._env, self._state = env, None
        self.action_dim, self.max_ticks = env.action_dim, env.max_timesteps
        self.bound_actions = bound_actions

    def reset(self, seed: int) -> Float[np.ndarray, " o"]:
        """See `ExternalEnvironment`."""
        self._state, obs = _reset(self._env, key_of(seed)[None])
        return np.array(obs)[0]

    def step(self, action: Float[np.ndarray, " a"]) -> Step:
        """See `ExternalEnvironment`."""
        self._state, outcome = _step(self._env, self._state, action[None])
        obs, reward, done, solved, finite, _ = (np.array(one)[0] for one in outcome)
        if not finite:  # not every environment shows its whole state
            obs = np.full_like(obs, np.nan)
        return Step(obs, float(reward), bool(solved), terminated=bool(done))


@runtime.jit
def _reset(env: Environment, keys: Array) -> Any:
    return env.reset(keys)


@runtime.jit
def _step(env: Environment, state: Any, action: Array) -> Any:
    return env.step(state, action)


def is_finite(step: Step) -> bool:
    """Whether reward and numbers in the observation are all finite."""
    numbers = (np.asarray(leaf) for leaf in jax.tree.leaves(step.obs))
    finite = (np.isfinite(array).all() for array in numbers if np.issubdtype(array.dtype, np.inexact))
    return math.isfinite(step.reward) and all(finite)
