"""The laws of inference delay, one frozen dataclass each, and what is done about their tails.

A delay is counted in control ticks. Every law has a base distribution and, if it has spikes, their probabilities; its
fields carry the names that `DelayProfileConfig` and its flags have. A law checks itself.

The order of tail control: `drop_spike_prob` acts on single draws, `hedge` takes the fastest of several, `tail_cap` and
`anytime` bound what comes out, and `deadline` gives up what is still too late.
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
MAX_HEDGE = 64
# Latency distributions without an upper end are cut here, in ticks: a delay that long fills an episode.
LONGEST = 255
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


def _make_float(law: Any, *names: str) -> None:
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
        _make_float(self, "p_spike")

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
        _make_float(self, "p_burst_start", "p_burst_end")
        if self.p_burst_start == 0 and self.p_burst_end == 0:
            raise ValueError("p_burst_start=0.0 and p_burst_end=0.0: mode 'markov' needs one of them above 0")

    @property
    def p_burst(self) -> float:
        """Long-run share of queries in a burst."""
        return self.p_burst_start / (self.p_burst_start + self.p_burst_end)

    def spikes(self) -> Spikes:
        return Spikes(self.p_burst, self.p_burst_start, 1 - self.p_burst_end, self.d_spike)


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
        _make_float(self, "median_ms", "sigma", "dt_ms")

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
        _make_float(self, "scale_ms", "alpha", "dt_ms")

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
        _make_float(self, "trace_scale", "dt_ms")

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


def _check_tick(dt_ms: float) -> None:
    require_positive("dt_ms", dt_ms, "the control tick in milliseconds")


LAWS: Mapping[str, type[Law]] = MappingProxyType(
    {law.mode: law for law in (Fixed, Mixture, Markov, LogNormal, Pareto, Trace)}
)
SPIKING_MODES = tuple(mode for mode, law in LAWS.items() if issubclass(law, Spiking))


@dataclass(frozen=True)
class TailControl:
    """What is done about long delays.

    Attributes:
        tail_cap: upper bound put on every delay (ideal tail control, at no cost); None leaves the tail alone.
        drop_spike_prob: probability that a spike is replaced by a draw from the base distribution.
        hedge: every query is sent that many times and the first answer counts; costs as many times the inference.
        deadline: a query that has not returned after this many ticks is abandoned and launched anew on the current
            observation; an abandoned query costs as much as any other. None waits.
        anytime: a query returns after this many ticks at the latest, with as many flow steps as there was time for.
    """

    tail_cap: int | None = None
    drop_spike_prob: float = 0.0
    hedge: int = 1
    deadline: int | None = None
    anytime: int | None = None

    def __post_init__(self):
        for name, low in (("tail_cap", 0), ("anytime", 0), ("deadline", 1)):
            if getattr(self, name) is not None:
                require_int(name, getattr(self, name), low=low, high=MAX_TICKS)
        require_int("hedge", self.hedge, low=1, high=MAX_HEDGE)
        require_float("drop_spike_prob", self.drop_spike_prob, low=0.0, high=1.0)
        _make_float(self, "drop_spike_prob")

    def bounded(self, delay: int) -> int:
        """A delay after `tail_cap` and `anytime`, in ticks."""
        return min([delay, *(bound for bound in (self.tail_cap, self.anytime) if bound is not None)])

    def check(self, law: Law) -> None:
        """Raises ValueError where a control cannot act on the law, or no query would ever return."""
        if self.drop_spike_prob > 0 and not isinstance(law, Spiking):
            raise ValueError(
                f"drop_spike_prob={self.drop_spike_prob} has no effect with mode={law.mode!r}: only modes "
                f"{' and '.join(SPIKING_MODES)} have spikes, so leave it out"
            )
        if self.deadline is None:
            return
        smallest = self.bounded(law.smallest(self.drop_spike_prob))
        if smallest > self.deadline:
            raise ValueError(
                f"deadline={self.deadline} is below the smallest delay of this {law.mode!r} profile, {smallest} ticks: "
                f"no query would ever return; set deadline to at least {smallest}, or bound the delay by tail_cap or "
                "anytime"
            )

    def identity(self) -> dict[str, Any]:
        """The controls that are on, as plain data."""
        off = values(TailControl())
        return {name: value for name, value in values(self).items() if value != off.get(name)}
