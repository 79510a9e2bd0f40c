"""What the executor and the trainers need from an environment: a batched, pure step/reset pair."""

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

import jax
from jaxtyping import Array, Bool, Float, Key, PRNGKeyArray

State = Any


class Transition(NamedTuple):
    """Outcome of one control tick, for a batch of environments.

    Attributes:
        obs: observation after the tick.
        reward: the environment's own reward.
        done: the episode ended at this tick (goal, failure, time limit or non-finite state).
        solved: the goal was reached at this tick.
        finite: False where the physics state holds a NaN or an infinity.
        distance: distance to the goal in metres, summed over the level's goal pairs.
    """

    obs: Float[Array, "b o"]
    reward: Float[Array, " b"]
    done: Bool[Array, " b"]
    solved: Bool[Array, " b"]
    finite: Bool[Array, " b"]
    distance: Float[Array, " b"]


class Environment(Protocol):
    """A batch of identical environments as pure functions.

    Implementations are registered pytrees: level data are leaves and only shapes are static, so levels of one
    shape share one compiled program. There is no auto-reset: whoever drives the environment decides what follows
    the end of an episode, through `select`.
    """

    @property
    def obs_dim(self) -> int: ...

    @property
    def action_dim(self) -> int: ...

    @property
    def max_timesteps(self) -> int:
        """Control ticks after which an episode ends."""
        ...

    @property
    def robot(self) -> Bool[Array, " o"]:
        """Which entries of its observations are those of the robot's own bodies."""
        ...

    def reset(self, keys: Key[Array, " b"]) -> tuple[State, Float[Array, "b o"]]:
        """A start state per key, and its observation. A world with one start state reads of the keys their number."""
        ...

    def step(self, state: State, action: Float[Array, "b a"]) -> tuple[State, Transition]:
        """Advances every environment by one control tick."""
        ...

    def observing(self, entries: tuple[int, ...]) -> Self:
        """The same environment, whose observations hold only these entries of the full one, in this order."""
        ...

    def select(self, mask: Bool[Array, " b"], on_true: State, on_false: State) -> State:
        """Per-environment choice between two batches of states."""
        ...

    def poses(self, state: State) -> Any:
        """What a picture of every environment needs: a pytree whose arrays lead with the batch axis."""
        ...


@dataclass(frozen=True)
class Wrapped:
    """An environment around another one; subclasses say what they do otherwise.

    Attributes:
        env: the environment.
    """

    env: Any

    @property
    def obs_dim(self) -> int:
        return self.env.obs_dim

    @property
    def action_dim(self) -> int:
        return self.env.action_dim

    @property
    def max_timesteps(self) -> int:
        return self.env.max_timesteps

    @property
    def robot(self) -> Bool[Array, " o"]:
        return self.env.robot

    def observing(self, entries: tuple[int, ...]) -> Self:
        return dataclasses.replace(self, env=self.env.observing(entries))


def start_keys(batch: int, seed: int = 0) -> Key[Array, " b"]:
    """Keys for `Environment.reset`, for those to whom any start will do."""
    return jax.random.split(jax.random.key(seed), batch)


def noisy_action(key: PRNGKeyArray, action: Float[Array, "..."], std: float | Array) -> Float[Array, "..."]:
    """Adds Gaussian noise of the given standard deviation; the environment clips to its own bounds."""
    return action + std * jax.random.normal(key, action.shape, action.dtype)
