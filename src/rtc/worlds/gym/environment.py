"""Any `gymnasium.Env` with continuous actions as an external environment."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float

from rtc.control.host.environments import Observation, Step
from rtc.shared.validation import require_int

# Keys of `info` by which environments say that the goal was reached.
SUCCESS = ("is_success", "success")
# Many environments seed generators that take no more.
SEEDS = 2**32

Solved = Callable[[Step, Mapping[str, Any]], bool]


class GymEnvironment:
    """A `gymnasium.Env` for the host executor (`rtc.control.host.environments.ExternalEnvironment`).

    Observations are passed on as they are. Actions are clipped to the bounds of the action space and brought into its
    shape.
    """

    def __init__(self, env: gymnasium.Env, *, solved: Solved | None = None, max_ticks: int | None = None):
        """Wraps an environment, which stays the caller's to close.

        Args:
            env: the environment.
            solved: whether the goal was reached at a tick, from its outcome (whose own `solved` is False) and `info`.
                By default what `info` has under `is_success` or `success`.
            max_ticks: control ticks after which an episode ends; by default the environment's time limit.

        Raises:
            ValueError: its actions are not continuous, or it has no time limit and none is given.
        """
        space = env.action_space
        if not isinstance(space, gymnasium.spaces.Box) or not np.issubdtype(space.dtype, np.floating):
            raise ValueError(
                f"env has the action space {space}: a Box of floats is needed, so wrap it in one that has continuous "
                "actions"
            )
        limit = getattr(env.spec, "max_episode_steps", None) if max_ticks is None else max_ticks
        if limit is None:
            raise ValueError(f"max_ticks=None, but {env} has no time limit: give one, in control ticks")
        require_int("max_ticks", limit, low=1)
        self.max_ticks, self.action_dim = limit, math.prod(space.shape)
        self._env, self._space, self._solved = env, space, solved
        self._tick, self._says = 0, False

    def reset(self, seed: int) -> Observation:
        """See `ExternalEnvironment`."""
        self._tick = 0
        obs, _ = self._env.reset(seed=seed % SEEDS)
        return obs

    def step(self, action: Float[np.ndarray, " a"]) -> Step:
        """See `ExternalEnvironment`.

        Raises:
            ValueError: an episode ends and nothing has said yet whether it was solved.
        """
        within = np.clip(action.reshape(self._space.shape), self._space.low, self._space.high)
        obs, reward, terminated, truncated, info = self._env.step(within.astype(self._space.dtype))
        self._tick += 1
        late = self._tick >= self.max_ticks
        outcome = Step(obs, float(reward), False, bool(terminated), bool(truncated) or late)
        if self._solved is not None:
            solved = bool(self._solved(outcome, info))
        else:
            said = [bool(np.all(info[name])) for name in SUCCESS if name in info]
            self._says = self._says or bool(said)
            solved = any(said)
            if (terminated or outcome.truncated) and not self._says:
                raise ValueError(
                    f"info of {self._env} says nowhere whether the episode was solved ({' or '.join(SUCCESS)}): give "
                    "solved=lambda step, info: ..., for example from step.reward"
                )
        return Step(outcome.obs, outcome.reward, solved, outcome.terminated, outcome.truncated)
