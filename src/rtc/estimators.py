"""What the controller believes the delay of the query it launches will be.

An estimator is a registered pytree with pure functions for one environment: `init` makes its state, `estimate`
reads it, `update` adds the delay of a query that has returned. Its numbers are traced.
"""

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from rtc.validation import require_choice, require_int

Kind = Literal["oracle", "fixed", "window_max"]
MAX_WINDOW = 64

History = Int[Array, " m"]


class Estimator(Protocol):
    def init(self) -> History: ...

    def estimate(self, history: History, true_delay: Int[Array, ""]) -> Int[Array, ""]: ...

    def update(self, history: History, observed_delay: Int[Array, ""]) -> History: ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Oracle:
    """The true delay of the query, known in advance: the assumption of the published simulation."""

    def init(self) -> History:
        return jnp.zeros((0,), jnp.int32)

    def estimate(self, history: History, true_delay: Int[Array, ""]) -> Int[Array, ""]:
        return true_delay

    def update(self, history: History, observed_delay: Int[Array, ""]) -> History:
        return history


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Fixed:
    """Always `delay` ticks."""

    delay: Int[Array, ""]

    def init(self) -> History:
        return jnp.zeros((0,), jnp.int32)

    def estimate(self, history: History, true_delay: Int[Array, ""]) -> Int[Array, ""]:
        return self.delay

    def update(self, history: History, observed_delay: Int[Array, ""]) -> History:
        return history


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class WindowMax:
    """The largest of the last `window` delays, `initial` being the first of them.

    Real-Time Chunking (arXiv 2506.07339), Algorithm 1: d = max(Q), Q a queue of length b that starts as [d_init].
    """

    window: Int[Array, ""]
    initial: Int[Array, ""]

    def init(self) -> History:
        return jnp.full((MAX_WINDOW,), -1, jnp.int32).at[0].set(self.initial)

    def estimate(self, history: History, true_delay: Int[Array, ""]) -> Int[Array, ""]:
        return jnp.max(jnp.where(jnp.arange(MAX_WINDOW) < self.window, history, -1))

    def update(self, history: History, observed_delay: Int[Array, ""]) -> History:
        return jnp.roll(history, 1).at[0].set(observed_delay)


@dataclass(frozen=True)
class EstimatorConfig:
    """Choice of delay estimator.

    Attributes:
        kind: `oracle` (the true delay), `fixed` (`delay`) or `window_max` (largest of the last `window` delays).
        delay: planned delay of `fixed`, in ticks.
        window: length of the window of `window_max`, in queries.
        initial: delay that `window_max` assumes before it has seen any, in ticks.
    """

    kind: Kind = "window_max"
    delay: int = 0
    window: int = 10
    initial: int = 1

    def __post_init__(self):
        require_choice("estimator.kind", self.kind, get_args(Kind))
        require_int("estimator.delay", self.delay, low=0)
        require_int("estimator.window", self.window, low=1, high=MAX_WINDOW)
        require_int("estimator.initial", self.initial, low=0)

    def make(self) -> Estimator:
        """The estimator as a pytree."""
        makers = {
            "oracle": Oracle,
            "fixed": lambda: Fixed(jnp.asarray(self.delay, jnp.int32)),
            "window_max": lambda: WindowMax(jnp.asarray(self.window, jnp.int32), jnp.asarray(self.initial, jnp.int32)),
        }
        return makers[self.kind]()
