"""The laws of inference delay, one frozen dataclass each.

A delay is counted in control ticks. Every law has a base distribution and, if it has spikes, their probabilities; its
fields carry the names that `DelayProfileConfig` and its flags have. A law checks itself.
"""

import dataclasses
import functools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np
import scipy.stats
from jaxtyping import Float, Int

from rtc.delay import traces
from rtc.delay.traces import MeasuredLatencies
from rtc.shared.validation import require_choice, require_float, require_int, require_positive

TraceOrder = Literal["resample", "replay"]

MAX_TICKS = 1_000_000  # far beyond any episode, and far from overflow
# Latency distributions without an upper end are cut here, in ticks: a delay that long fills an episode.
LONGEST = 255
MAX_DRIFT_QUERIES = 1000
DT_MS = 1000 / 30
PROBABILITY_TOLERANCE = 1e-6
# Uniform numbers of single precision are multiples of this: a delay that is less probable does not occur.
RESOLUTION = 2.0**-23
# The largest latency of a trace below which it is probably not in milliseconds.
SUSPICIOUS_MS = 5.0


class Base(NamedTuple):
    """A distribution on finitely many delays.

    Attributes:
        delays: in ticks.
        cumulative: probability of each delay and those before it.
    """

    delays: Int[np.ndarray, " n"]
    cumulative: Float[np.ndarray, " n"]


class Spikes(NamedTuple):
    """When a query takes `ticks` instead of a base delay.

    Attributes:
        first: probability at an episode's first query; in the long run it is the same.
        after_base, after_spike: the same at a later one, by what the query before it was.
        ticks: delay of a spike.
    """

    first: float = 0.0
    after_base: float = 0.0
    after_spike: float = 0.0
    ticks: int = 0


def values(variant: Any) -> dict[str, Any]:
    """The fields of a dataclass as plain data, without those that are None."""
    found = {field.name: getattr(variant, field.name) for field in dataclasses.fields(variant)}
    return {name: list(v) if isinstance(v, tuple) else v for name, v in found.items() if v is not None}


def make_float(law: Any, *names: str) -> None:
    """An int where a float is meant would be another identity for the same law."""
    for name in names:
        object.__setattr__(law, name, float(getattr(law, name)))


def _tabulated(delays: np.ndarray, probs: np.ndarray) -> Base:
    cumulative = np.cumsum(probs)
    cumulative[np.flatnonzero(probs)[-1] :] = 1.0
    return Base(delays.astype(np.int64), cumulative)


@dataclass(frozen=True)
class Law:
    """What every law has."""

    mode: ClassVar[str]

    def base(self) -> Base:
        """Delays in ticks and their cumulative probabilities. Raises ValueError where a trace cannot be read."""
        raise NotImplementedError

    def spikes(self) -> Spikes:
        """When spikes occur: by default never."""
        return Spikes()

    def smallest(self, drop_spike_prob: float = 0.0) -> int:
        """The smallest delay that occurs, in ticks, when spikes are dropped with this probability."""
        delays, cumulative = self.base()
        return int(delays[np.searchsorted(cumulative, RESOLUTION)])

    def identity(self) -> dict[str, Any]:
        """What determines the delays, as plain data."""
        return {"mode": self.mode, **values(self)}


@dataclass(frozen=True)
class Fixed(Law):
    """Always `fixed_delay` ticks."""

    mode: ClassVar[str] = "fixed"
    fixed_delay: int = 0

    def __post_init__(self):
        require_int("fixed_delay", self.fixed_delay, low=0, high=MAX_TICKS)

    def base(self) -> Base:
        return _tabulated(np.array([self.fixed_delay]), np.ones(1))


@dataclass(frozen=True)
class Spiking(Law):
    """Base delays, and spikes of `d_spike` ticks.

    Attributes:
        d_spike: delay of a spike, in ticks.
        base_delays: delays of the base distribution, in ticks.
        base_probs: their probabilities; they must sum to 1.
    """

    d_spike: int = 0
    base_delays: tuple[int, ...] = (0,)
    base_probs: tuple[float, ...] = (1.0,)

    def __post_init__(self):
        require_int("d_spike", self.d_spike, low=0, high=MAX_TICKS)
        if len(self.base_delays) == 0:
            raise ValueError("base_delays=() is empty: give at least one delay, for example (0,)")
        if len(self.base_delays) != len(self.base_probs):
            raise ValueError(
                f"base_probs has {len(self.base_probs)} entries and base_delays {len(self.base_delays)}: "
                "give one probability per delay"
            )
        for delay in self.base_delays:
            require_int("base_delays entry", delay, low=0, high=MAX_TICKS)
        for probability in self.base_probs:
            require_float("base_probs entry", probability, low=0.0, high=1.0)
        if abs(sum(self.base_probs) - 1) > PROBABILITY_TOLERANCE:
            raise ValueError(f"base_probs={self.base_probs} sum to {sum(self.base_probs):g}: they must sum to 1")
        object.__setattr__(self, "base_delays", tuple(self.base_delays))  # a list would make the law unhashable
        object.__setattr__(self, "base_probs", tuple(float(probability) for probability in self.base_probs))

    def base(self) -> Base:
        return _tabulated(np.array(self.base_delays), np.array(self.base_probs, np.float64))

    def smallest(self, drop_spike_prob: float = 0.0) -> int:
        share = self.spikes().first
        base = [d for d, p in zip(self.base_delays, self.base_probs, strict=True) if p > 0]
        occurring = base if share < 1 or drop_spike_prob > 0 else []
        return min([*occurring, *([self.d_spike] if share > 0 and drop_spike_prob < 1 else [])])


@dataclass(frozen=True)
class Mixture(Spiking):
    """A draw from the base delays, or with probability `p_spike` a spike."""

    mode: ClassVar[str] = "mixture"
    p_spike: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        require_float("p_spike", self.p_spike, low=0.0, high=1.0)
        make_float(self, "p_spike")

    def spikes(self) -> Spikes:
        return Spikes(self.p_spike, self.p_spike, self.p_spike, self.d_spike)


@dataclass(frozen=True)
class Markov(Spiking):
    """Spikes in bursts (Gilbert 1960, Elliott 1963): every query of a burst is a spike.

    Attributes:
        p_burst_start: probability that a burst starts at a query outside one.
        p_burst_end: probability that a query after one in a burst is outside it.
    """

    mode: ClassVar[str] = "markov"
    p_burst_start: float = 0.0
    p_burst_end: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        for name in ("p_burst_start", "p_burst_end"):
            require_float(name, getattr(self, name), low=0.0, high=1.0)
        make_float(self, "p_burst_start", "p_burst_end")
        if self.p_burst_start == 0 and self.p_burst_end == 0:
            raise ValueError("p_burst_start=0.0 and p_burst_end=0.0: mode 'markov' needs one of them above 0")

    @property
    def p_burst(self) -> float:
        """Long-run share of queries in a burst."""
        return self.p_burst_start / (self.p_burst_start + self.p_burst_end)

    def spikes(self) -> Spikes:
        return Spikes(self.p_burst, self.p_burst_start, 1 - self.p_burst_end, self.d_spike)


@dataclass(frozen=True)
class Regime(Markov):
    """A Gilbert-Elliott chain that an episode does not enter in its long-run state, so that delays change within it.

    With `p_burst_first` = 0 and `p_burst_end` = 0 delays step to `d_spike` at a random query and stay there; with
    `p_burst_first` = 1 and `p_burst_start` = 0 only an episode's first queries are spikes: a warm-up.

    Attributes:
        p_burst_first: probability that an episode's first query is in a burst.
    """

    mode: ClassVar[str] = "regime"
    p_burst_first: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        require_float("p_burst_first", self.p_burst_first, low=0.0, high=1.0)
        make_float(self, "p_burst_first")
        if self.p_burst_first == 0 and self.p_burst_start == 0:
            raise ValueError(
                "p_burst_first=0.0 and p_burst_start=0.0: no query would ever be in a burst; give one of them"
            )

    def spikes(self) -> Spikes:
        return super().spikes()._replace(first=self.p_burst_first)

    def smallest(self, drop_spike_prob: float = 0.0) -> int:
        """The smallest delay that goes on occurring, as the chain may never come back to where it began."""
        there = Markov(self.d_spike, self.base_delays, self.base_probs, self.p_burst_start, self.p_burst_end)
        return there.smallest(drop_spike_prob)


def _rounded_up(law: Any, dt_ms: float) -> Base:
    """A latency takes ceil(latency_ms / dt_ms) ticks."""
    delays = np.arange(LONGEST + 1)
    cumulative = law.cdf(delays * dt_ms)
    cumulative[-1] = 1.0
    return Base(delays, cumulative)


@dataclass(frozen=True)
class LogNormal(Law):
    """Log-normal latencies.

    Attributes:
        median_ms: their median.
        sigma: standard deviation of their logarithm.
        dt_ms: length of a control tick.
    """

    mode: ClassVar[str] = "lognormal"
    median_ms: float = 30.0
    sigma: float = 0.5
    dt_ms: float = DT_MS

    def __post_init__(self):
        require_positive("median_ms", self.median_ms, "a latency in milliseconds")
        require_float("sigma", self.sigma, low=0.0)
        _check_tick(self.dt_ms)
        make_float(self, "median_ms", "sigma", "dt_ms")

    def base(self) -> Base:
        return _rounded_up(scipy.stats.lognorm(max(self.sigma, 1e-9), scale=self.median_ms), self.dt_ms)


@dataclass(frozen=True)
class Pareto(Law):
    """Pareto latencies: P(latency > x) = (scale_ms / x)^alpha.

    Attributes:
        scale_ms: the least latency.
        alpha: tail index.
        dt_ms: length of a control tick.
    """

    mode: ClassVar[str] = "pareto"
    scale_ms: float = 15.0
    alpha: float = 1.5
    dt_ms: float = DT_MS

    def __post_init__(self):
        require_positive("scale_ms", self.scale_ms, "a latency in milliseconds")
        require_positive("alpha", self.alpha, "the tail index")
        _check_tick(self.dt_ms)
        make_float(self, "scale_ms", "alpha", "dt_ms")

    def base(self) -> Base:
        return _rounded_up(scipy.stats.pareto(self.alpha, scale=self.scale_ms), self.dt_ms)


@dataclass(frozen=True)
class Trace(Law):
    """Measured latencies. The file is read once, when it is first needed.

    Attributes:
        trace_path: CSV file with a column `latency_ms`.
        trace_scale: factor on the measured latencies: a slower network or machine.
        trace_order: `resample` draws rows independently; `replay` keeps their order, so bursts stay bursts, from a
            start that is random per episode.
        dt_ms: length of a control tick.
    """

    mode: ClassVar[str] = "trace"
    trace_path: str
    trace_scale: float = 1.0
    trace_order: TraceOrder = "resample"
    dt_ms: float = DT_MS

    def __post_init__(self):
        require_positive("trace_scale", self.trace_scale, "a factor")
        require_choice("trace_order", self.trace_order, get_args(TraceOrder))
        _check_tick(self.dt_ms)
        make_float(self, "trace_scale", "dt_ms")

    @functools.cached_property
    def _measured(self) -> MeasuredLatencies:
        measured = traces.load(self.trace_path)
        largest = measured.latency_ms.max() * self.trace_scale
        if 0 < largest < SUSPICIOUS_MS:
            warnings.warn(
                f"trace_path={self.trace_path!r}: the largest latency is {largest:g} ms; if the file is in seconds, "
                "give trace_scale=1000",
                stacklevel=2,
            )
        return measured

    def base(self) -> Base:
        # The small offset keeps a latency of exactly k ticks at k despite rounding in the division.
        delays = np.ceil(self._measured.latency_ms * self.trace_scale / self.dt_ms - 1e-9)
        if delays.max() > MAX_TICKS:
            raise ValueError(f"trace_path={self.trace_path!r} holds a latency of more than {MAX_TICKS} ticks")
        return _tabulated(delays, np.full(len(delays), 1 / len(delays)))

    def smallest(self, drop_spike_prob: float = 0.0) -> int:
        return int(self.base().delays.min())

    def identity(self) -> dict[str, Any]:
        """As of other laws, with the digest of the file's content instead of its path."""
        identity = super().identity()
        del identity["trace_path"]
        return identity | {"trace_sha256": self._measured.sha256}


@dataclass(frozen=True)
class Drift(Trace):
    """Delays that rise and fall by one tick at a time, between two bounds, from a place that is random per episode.

    It is a trace that is replayed, written down by its rule instead of read from a file.

    Attributes:
        d_low, d_high: the bounds, in ticks.
        drift_queries: queries in a row that have the same delay.
    """

    mode: ClassVar[str] = "drift"
    trace_path: ClassVar[str] = ""
    trace_scale: ClassVar[float] = 1.0
    trace_order: ClassVar[TraceOrder] = "replay"
    dt_ms: ClassVar[float] = DT_MS
    d_low: int = 0
    d_high: int = 4
    drift_queries: int = 8

    def __post_init__(self):
        require_int("d_low", self.d_low, low=0, high=LONGEST)
        require_int("d_high", self.d_high, low=0, high=LONGEST)
        require_int("drift_queries", self.drift_queries, low=1, high=MAX_DRIFT_QUERIES)
        if self.d_high <= self.d_low:
            raise ValueError(
                f"d_high={self.d_high} must be above d_low={self.d_low}; for a constant delay choose mode 'fixed'"
            )

    def base(self) -> Base:
        once = [*range(self.d_low, self.d_high), *range(self.d_high, self.d_low, -1)]
        delays = np.repeat(once, self.drift_queries)
        return _tabulated(delays, np.full(len(delays), 1 / len(delays)))

    def identity(self) -> dict[str, Any]:
        return Law.identity(self)


def _check_tick(dt_ms: float) -> None:
    require_positive("dt_ms", dt_ms, "the control tick in milliseconds")


LAWS: Mapping[str, type[Law]] = MappingProxyType(
    {law.mode: law for law in (Fixed, Mixture, Markov, Regime, LogNormal, Pareto, Trace, Drift)}
)
SPIKING_MODES = tuple(mode for mode, law in LAWS.items() if issubclass(law, Spiking))
