"""What the controller believes the delay of the query it launches will be.

An estimator is a registered pytree with pure functions for one environment: `init` makes its state, `estimate`
reads it, `update` adds the delay of a query that has returned, or the deadline of one that was abandoned. Its numbers
are traced.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from rtc.shared.validation import require_choice, require_float, require_int

Kind = Literal["oracle", "fixed", "window_max", "quantile", "ewma"]
MAX_WINDOW = 64
NONE_YET = -1

History = Int[Array, " m"]


class Estimator(Protocol):
    def init(self) -> PyTree: ...

    def estimate(self, history: PyTree, true_delay: Int[Array, ""]) -> Int[Array, ""]: ...

    def update(self, history: PyTree, observed_delay: Int[Array, ""]) -> PyTree: ...


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
class Quantile:
    """The q-quantile of the last `window` delays, `initial` being the first of them: one that occurred, rounded up.

    With q = 1 the largest: Real-Time Chunking (arXiv 2506.07339), Algorithm 1: d = max(Q), Q a queue of length b that
    starts as [d_init].
    """

    window: Int[Array, ""]
    initial: Int[Array, ""]
    q: Float[Array, ""]

    def init(self) -> History:
        return jnp.full((MAX_WINDOW,), NONE_YET, jnp.int32).at[0].set(self.initial)

    def estimate(self, history: History, true_delay: Int[Array, ""]) -> Int[Array, ""]:
        known = jnp.where(jnp.arange(MAX_WINDOW) < self.window, history, NONE_YET)
        count = (known != NONE_YET).sum()
        # The small offset keeps a rank that is whole but for rounding from moving up.
        rank = jnp.clip(jnp.ceil(self.q * count - 1e-4).astype(jnp.int32), 1, count)
        return jnp.sort(known)[MAX_WINDOW - count + rank - 1]

    def update(self, history: History, observed_delay: Int[Array, ""]) -> History:
        return jnp.roll(history, 1).at[0].set(observed_delay)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class WindowMax(Quantile):
    """The largest of the last `window` delays; `Quantile` with q = 1, without sorting."""

    def estimate(self, history: History, true_delay: Int[Array, ""]) -> Int[Array, ""]:
        return jnp.max(jnp.where(jnp.arange(MAX_WINDOW) < self.window, history, NONE_YET))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Ewma:
    """Smoothed delay plus `k` times its smoothed mean deviation, rounded up.

    The retransmission timer of TCP (Jacobson and Karels 1988; RFC 6298), with its gains of 1/8 and 1/4. The first
    estimate is `initial`, with a deviation of 0.
    """

    initial: Int[Array, ""]
    k: Float[Array, ""]

    MEAN_GAIN: ClassVar[float] = 1 / 8
    DEVIATION_GAIN: ClassVar[float] = 1 / 4

    def init(self) -> Float[Array, "2"]:
        return jnp.stack([self.initial.astype(jnp.float32), jnp.float32(0)])

    def estimate(self, history: Float[Array, "2"], true_delay: Int[Array, ""]) -> Int[Array, ""]:
        mean, deviation = history
        # The small offset keeps a sum that is whole but for rounding from moving up.
        return jnp.ceil(mean + self.k * deviation - 1e-4).astype(jnp.int32)

    def update(self, history: Float[Array, "2"], observed_delay: Int[Array, ""]) -> Float[Array, "2"]:
        mean, deviation = history
        error = observed_delay - mean
        deviation = deviation + self.DEVIATION_GAIN * (jnp.abs(error) - deviation)
        return jnp.stack([mean + self.MEAN_GAIN * error, deviation])


@dataclass(frozen=True)
class EstimatorConfig:
    """Choice of delay estimator.

    Attributes:
        kind: `oracle` (the true delay), `fixed` (`delay`), `window_max` (largest of the last `window` delays),
            `quantile` (their `q`-quantile) or `ewma` (smoothed delay plus `k` smoothed deviations).
        delay: planned delay of `fixed`, in ticks.
        window: length of the window of `window_max` and `quantile`, in queries.
        initial: delay assumed before any has been seen, in ticks.
        q: the quantile of `quantile`, between 0 and 1.
        k: deviations that `ewma` adds to the mean.
    """

    kind: Kind = "window_max"
    delay: int = 0
    window: int = 10
    initial: int = 1
    q: float = 0.95
    k: float = 4.0

    def __post_init__(self):
        require_choice("estimator.kind", self.kind, get_args(Kind))
        require_int("estimator.delay", self.delay, low=0)
        require_int("estimator.window", self.window, low=1, high=MAX_WINDOW)
        require_int("estimator.initial", self.initial, low=0)
        require_float("estimator.q", self.q, low=0.0, high=1.0)
        require_float("estimator.k", self.k, low=0.0)

    def make(self) -> Estimator:
        """The estimator as a pytree."""
        delay, window, initial = (jnp.int32(n) for n in (self.delay, self.window, self.initial))
        makers = {
            "oracle": Oracle,
            "fixed": lambda: Fixed(delay),
            "window_max": lambda: WindowMax(window, initial, jnp.float32(1)),
            "quantile": lambda: Quantile(window, initial, jnp.float32(self.q)),
            "ewma": lambda: Ewma(initial, jnp.float32(self.k)),
        }
        return makers[self.kind]()
