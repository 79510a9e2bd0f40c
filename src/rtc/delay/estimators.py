"""What the controller believes the delay of the query it launches will be.

An estimator is a registered pytree with pure functions for one environment: `init` makes its state, `estimate`
reads it, `update` adds the delay of a query that has returned, or the deadline of one that was abandoned. Its numbers
are traced; `DEFAULTS` names the settings that they are made of.
"""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from rtc.shared.validation import require_choice, require_float, require_int, require_read

Kind = Literal["oracle", "fixed", "window_max", "quantile", "ewma"]
MAX_WINDOW = 64
NONE_YET = -1

History = Int[Array, " m"]


@runtime_checkable
class Estimator(Protocol):
    """What the controller asks of an estimator; see the module."""

    def init(self) -> PyTree: ...

    def estimate(self, history: PyTree, true_delay: Int[Array, ""]) -> Int[Array, ""]: ...

    def update(self, history: PyTree, observed_delay: Int[Array, ""]) -> PyTree: ...


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Oracle:
    """The true delay of the query, known in advance: the assumption of the published simulation."""

    DEFAULTS: ClassVar[Mapping[str, Any]] = MappingProxyType({})

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

    DEFAULTS: ClassVar[Mapping[str, Any]] = MappingProxyType({"delay": 0})

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

    DEFAULTS: ClassVar[Mapping[str, Any]] = MappingProxyType({"window": 10, "initial": 1})

    def init(self) -> History:
        return jnp.full((MAX_WINDOW,), NONE_YET, jnp.int32).at[0].set(self.initial)

    def known(self, history: History) -> History:
        """The delays in the window, and `NONE_YET`."""
        return jnp.where(jnp.arange(MAX_WINDOW) < self.window, history, NONE_YET)

    def estimate(self, history: History, true_delay: Int[Array, ""]) -> Int[Array, ""]:
        return jnp.max(self.known(history))

    def update(self, history: History, observed_delay: Int[Array, ""]) -> History:
        return jnp.roll(history, 1).at[0].set(observed_delay)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Quantile(WindowMax):
    """The q-quantile of these delays: one that occurred, rounded up. With q = 1 the largest, by sorting."""

    q: Float[Array, ""]

    DEFAULTS: ClassVar[Mapping[str, Any]] = MappingProxyType({**WindowMax.DEFAULTS, "q": 0.95})

    def estimate(self, history: History, true_delay: Int[Array, ""]) -> Int[Array, ""]:
        known = self.known(history)
        count = (known != NONE_YET).sum()
        # The small offset keeps a rank that is whole but for rounding from moving up.
        rank = jnp.clip(jnp.ceil(self.q * count - 1e-4).astype(jnp.int32), 1, count)
        return jnp.sort(known)[MAX_WINDOW - count + rank - 1]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Ewma:
    """Smoothed delay plus `k` times its smoothed mean deviation, rounded up.

    The retransmission timer of TCP (Jacobson and Karels 1988; RFC 6298), with its gains of 1/8 and 1/4. The first
    estimate is `initial`, with a deviation of 0.
    """

    initial: Int[Array, ""]
    k: Float[Array, ""]

    DEFAULTS: ClassVar[Mapping[str, Any]] = MappingProxyType({"initial": 1, "k": 4.0})
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


KINDS: Mapping[str, type[Oracle | Fixed | WindowMax | Ewma]] = MappingProxyType(
    {"oracle": Oracle, "fixed": Fixed, "window_max": WindowMax, "quantile": Quantile, "ewma": Ewma}
)


@dataclass(frozen=True, eq=False)
class EstimatorConfig:
    """Choice of delay estimator.

    None stands for what was not given; each entry says what holds then. A field that the kind does not read must not
    be given. Choices are equal if their kinds and what these read are.

    Attributes:
        kind: `oracle` (the true delay), `fixed` (`delay`), `window_max` (largest of the last `window` delays),
            `quantile` (their `q`-quantile) or `ewma` (smoothed delay plus `k` smoothed deviations).
        delay: planned delay of `fixed`, in ticks. None is 0.
        window: length of the window of `window_max` and `quantile`, in queries. None is 10.
        initial: delay that `window_max`, `quantile` and `ewma` assume before any has been seen, in ticks. None is 1.
        q: the quantile of `quantile`, between 0 and 1. None is 0.95.
        k: deviations that `ewma` adds to the mean. None is 4.0.

    Raises:
        ValueError: a field is out of range or has no effect with this kind.
    """

    kind: Kind = "window_max"
    delay: int | None = None
    window: int | None = None
    initial: int | None = None
    q: float | None = None
    k: float | None = None

    def __post_init__(self):
        require_choice("estimator.kind", self.kind, KINDS)
        given = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        reads = {kind: ("kind", *estimator.DEFAULTS) for kind, estimator in KINDS.items()}
        require_read("kind", self.kind, given, reads, prefix="estimator.")
        for name, check in (
            ("delay", functools.partial(require_int, low=0)),
            ("window", functools.partial(require_int, low=1, high=MAX_WINDOW)),
            ("initial", functools.partial(require_int, low=0)),
            ("q", functools.partial(require_float, low=0.0, high=1.0)),
            ("k", functools.partial(require_float, low=0.0)),
        ):
            if name in given:
                check(f"estimator.{name}", given[name])

    def settings(self) -> dict[str, Any]:
        """What this kind reads, by name."""
        found = {}
        for name, default in KINDS[self.kind].DEFAULTS.items():
            given = getattr(self, name)
            found[name] = default if given is None else type(default)(given)
        return found

    def identity(self) -> dict[str, Any]:
        """What determines the estimates, as plain data."""
        return {"kind": self.kind, **self.settings()}

    def code_root(self) -> str:
        """Dotted name of the class that does it, for the digest of the code behind a result."""
        return f"{__name__}.{KINDS[self.kind].__name__}"

    def starting_at(self, ticks: int) -> "EstimatorConfig":
        """The same, assuming this delay before any has been seen; as it is where the kind assumes none."""
        return dataclasses.replace(self, initial=ticks) if "initial" in KINDS[self.kind].DEFAULTS else self

    def make(self) -> Estimator:
        """The estimator as a pytree."""
        settings = self.settings().items()
        return KINDS[self.kind](**{k: jnp.float32(v) if isinstance(v, float) else jnp.int32(v) for k, v in settings})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EstimatorConfig):
            return NotImplemented
        return self.identity() == other.identity()

    def __hash__(self) -> int:
        return hash(tuple(self.identity().items()))
