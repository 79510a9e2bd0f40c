"""An environment that shows what its controller saw and did, so that rollouts can be recorded for training."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from rtc.control.environment import Transition, Wrapped


class Recorded(NamedTuple):
    """The last tick of every environment.

    Attributes:
        obs: what was observed before it.
        action: what was executed, action noise included.
    """

    obs: Float[Array, "b o"]
    action: Float[Array, "b a"]


class RecorderState(NamedTuple):
    """The environment's state, what is observed in it, and the tick that led to it."""

    inner: Any
    obs: Float[Array, "b o"]
    last: Recorded


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Recorder(Wrapped):
    """The environment, whose poses are the observation before the last tick and the executed action."""

    def reset(self, keys: Key[Array, " b"]) -> tuple[RecorderState, Float[Array, "b o"]]:
        inner, obs = self.env.reset(keys)
        return RecorderState(inner, obs, Recorded(obs, jnp.zeros((len(keys), self.action_dim)))), obs

    def step(self, state: RecorderState, action: Float[Array, "b a"]) -> tuple[RecorderState, Transition]:
        inner, outcome = self.env.step(state.inner, action)
        return RecorderState(inner, outcome.obs, Recorded(state.obs, action)), outcome

    def select(self, mask: Bool[Array, " b"], on_true: RecorderState, on_false: RecorderState) -> RecorderState:
        def choose(a: Array, b: Array) -> Array:
            return jnp.where(mask[:, None], a, b)

        others = jax.tree.map(choose, on_true[1:], on_false[1:])
        return RecorderState(self.env.select(mask, on_true.inner, on_false.inner), *others)

    def poses(self, state: RecorderState) -> Recorded:
        return state.last
