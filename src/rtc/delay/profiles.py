"""Delay profiles: how long inference takes and what is done about its tail, as users configure it."""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from rtc.delay.laws import DT_MS, LAWS, Law, Mixture, TraceOrder
from rtc.delay.tail import TailControl
from rtc.delay.traces import read_trace
from rtc.shared.validation import require_choice, require_read

__all__ = ["PROFILES", "DelayProfileConfig", "law", "mean_delay", "profile", "read_trace", "thinned"]

Mode = Literal["fixed", "mixture", "markov", "regime", "lognormal", "pareto", "trace", "drift"]

_CONTROLS = tuple(field.name for field in dataclasses.fields(TailControl))
_READS = {mode: ("mode", *(field.name for field in dataclasses.fields(law))) for mode, law in LAWS.items()}
# The probability without which a law has no spikes.
_SPIKES_BY = {"mixture": "p_spike", "markov": "p_burst_start"}
_NEED_SPIKES = ("d_spike", "p_burst_end", "drop_spike_prob")


@dataclass(frozen=True, eq=False)
class DelayProfileConfig:
    """A distribution of inference delay, in control ticks, and the tail control applied to it.

    None stands for what was not given; each entry says what holds then. A field that the mode does not read must not
    be given. Profiles are equal if their laws and tail controls are.

    Attributes:
        mode: `fixed` always takes `fixed_delay`; `mixture` draws from `base_delays`, or with probability `p_spike`
            takes `d_spike`; `markov` does so in bursts (Gilbert-Elliott): every query of a burst is a spike; `regime`
            is a `markov` whose first query has a probability of its own, for delays that change within an episode: a
            step (`p_burst_end` 0) or a warm-up (`p_burst_first` 1, `p_burst_start` 0); `drift` rises and falls
            between `d_low` and `d_high`; `lognormal` and `pareto` draw latencies in ms; `trace` takes measured ones.
            A latency takes ceil(latency_ms / dt_ms) ticks.
        fixed_delay: delay of mode `fixed`. None is 0.
        p_spike: probability of a spike (mode `mixture`). None is 0.0.
        d_spike: delay of a spike (modes `mixture`, `markov` and `regime`). None is 0.
        base_delays: delays of the base distribution (modes `mixture`, `markov` and `regime`). None is 0.
        base_probs: their probabilities; they must sum to 1. None is 1.0.
        p_burst_start: probability that a burst starts at a query outside one (`markov` and `regime`). None is 0.0.
        p_burst_end: probability that a query after one in a burst is outside it (`markov` and `regime`). None is 1.0.
        p_burst_first: probability that an episode's first query is in a burst (mode `regime`). None is 0.0.
        d_low: smallest delay of mode `drift`, in ticks. None is 0.
        d_high: largest delay of mode `drift`, in ticks. None is 4.
        drift_queries: queries in a row that have the same delay (mode `drift`). None is 8.
        median_ms: median of mode `lognormal`. None is 30.0.
        sigma: standard deviation of the latency's logarithm (mode `lognormal`). None is 0.5.
        scale_ms: least latency of mode `pareto`. None is 15.0.
        alpha: tail index of mode `pareto`: P(latency > x) = (scale_ms / x)^alpha. None is 1.5.
        trace_path: CSV file with a column `latency_ms` (mode `trace`, which needs it).
        trace_scale: factor on the measured latencies: a slower network or machine (mode `trace`). None is 1.0.
        trace_order: `resample` draws rows independently; `replay` keeps their order, so bursts stay bursts, from a
            start that is random per episode (mode `trace`). None is resample.
        dt_ms: length of a control tick in milliseconds (modes `lognormal`, `pareto` and `trace`). None is 1000 / 30.
        tail_cap: upper bound put on every delay (ideal tail control, at no cost). None leaves the tail alone.
        drop_spike_prob: probability that a spike is replaced by a draw from the base distribution. None is 0.0.
        hedge: every query is sent that many times and the first answer counts; costs as many times the inference.
            None is 1.
        deadline: a query that has not returned after this many ticks is abandoned and launched anew on the current
            observation; an abandoned query costs as much as any other. None waits.
        anytime: a query returns after this many ticks at the latest, with as many flow steps as there was time for.
            None lets it finish.

    Raises:
        ValueError: a field is out of range or has no effect with this mode, or no query would ever return.
    """

    mode: Mode = "fixed"
    fixed_delay: int | None = None
    p_spike: float | None = None
    d_spike: int | None = None
    base_delays: tuple[int, ...] | None = None
    base_probs: tuple[float, ...] | None = None
    p_burst_start: float | None = None
    p_burst_end: float | None = None
    p_burst_first: float | None = None
    d_low: int | None = None
    d_high: int | None = None
    drift_queries: int | None = None
    median_ms: float | None = None
    sigma: float | None = None
    scale_ms: float | None = None
    alpha: float | None = None
    trace_path: str | None = None
    trace_scale: float | None = None
    trace_order: TraceOrder | None = None
    dt_ms: float | None = None
    tail_cap: int | None = None
    drop_spike_prob: float | None = None
    hedge: int | None = None
    deadline: int | None = None
    anytime: int | None = None

    def __post_init__(self):
        require_choice("mode", self.mode, LAWS)
        given = self._given()
        reads = {mode: (*names, *_CONTROLS) for mode, names in _READS.items()}
        require_read("mode", self.mode, given, reads)
        if self.mode == "trace" and self.trace_path is None:
            raise ValueError("trace_path=None: mode 'trace' needs a CSV file with a column latency_ms")
        self.tail.check(self.law)
        cause = _SPIKES_BY.get(self.mode)
        for name in _NEED_SPIKES:
            if cause is not None and given.get(name) and cause not in given:
                raise ValueError(f"{name}={given[name]!r} has no effect without spikes: give {cause} too")

    def _given(self) -> dict[str, Any]:
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in found.items() if value is not None}

    @functools.cached_property
    def law(self) -> Law:
        """The distribution of the delay."""
        given = self._given()
        return LAWS[self.mode](**{name: given[name] for name in _READS[self.mode] if name in given and name != "mode"})

    @functools.cached_property
    def tail(self) -> TailControl:
        """What is done about its tail."""
        return TailControl(**{name: value for name, value in self._given().items() if name in _CONTROLS})

    @property
    def tick_ms(self) -> float:
        """Length of a control tick in milliseconds."""
        return DT_MS if self.dt_ms is None else self.dt_ms

    def identity(self) -> dict[str, Any]:
        """What determines the delays, as plain data: the law's fields, contents for paths, controls that are on."""
        return self.law.identity() | self.tail.identity()

    def code_root(self) -> str:
        """Dotted name of the law's class, for the digest of the code behind a result."""
        return f"{type(self.law).__module__}.{type(self.law).__name__}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DelayProfileConfig):
            return NotImplemented
        return (self.law, self.tail) == (other.law, other.tail)

    def __hash__(self) -> int:
        return hash((self.law, self.tail))


_LONG_TAIL = {
    "mode": "mixture",
    "p_spike": 0.05,
    "d_spike": 4,
    "base_delays": (0, 1),
    "base_probs": (0.9, 0.1),
}
_BURST_LENGTH = 5

PROFILES: Mapping[str, DelayProfileConfig] = MappingProxyType(
    {
        "no_delay": DelayProfileConfig(),
        "long_tail": DelayProfileConfig(**_LONG_TAIL),
        "tail_controlled": DelayProfileConfig(**_LONG_TAIL, tail_cap=2),
        # The same delays as long_tail, equally often, but spikes come five in a row on average.
        "burst": DelayProfileConfig(
            **{name: value for name, value in _LONG_TAIL.items() if name != "p_spike"} | {"mode": "markov"},
            p_burst_start=0.05 / 0.95 / _BURST_LENGTH,
            p_burst_end=1 / _BURST_LENGTH,
        ),
        # 70 % of the queries take one tick, 3.8 % more than 4 and 1.3 % more than 8.
        "heavy": DelayProfileConfig(mode="pareto", scale_ms=15.0, alpha=1.5),
        # A policy that is served, at 30 Hz: docs/protocol.md has the measured latencies that it is shaped on.
        "vla": DelayProfileConfig(
            mode="markov",
            base_delays=(1, 2, 3, 4, 5),
            base_probs=(0.1, 0.45, 0.25, 0.15, 0.05),
            d_spike=9,
            p_burst_start=0.02,
            p_burst_end=0.4,
        ),
        # Delays that change within an episode: from 1 tick to 4 for good, after 25 queries on average.
        "step": DelayProfileConfig(mode="regime", base_delays=(1,), d_spike=4, p_burst_start=0.04, p_burst_end=0.0),
        # Up and down between 1 and 4 ticks, a tick every 8 queries, from a random place.
        "drift": DelayProfileConfig(mode="drift", d_low=1, d_high=4, drift_queries=8),
        # The first queries, two on average, take 6 ticks, all later ones 1.
        "warm_up": DelayProfileConfig(
            mode="regime", base_delays=(1,), d_spike=6, p_burst_first=1.0, p_burst_start=0.0, p_burst_end=0.5
        ),
    }
)


def profile(name: str) -> DelayProfileConfig:
    """A named profile. Raises ValueError, with the closest name, for an unknown one."""
    require_choice("profile", name, PROFILES)
    return PROFILES[name]


def law(config: DelayProfileConfig) -> dict[int, float]:
    """Probability of each delay of mode `mixture`, after dropping, hedging, cap and anytime, before the deadline.

    Raises:
        ValueError: another mode.
    """
    mixture, tail = config.law, config.tail
    if not isinstance(mixture, Mixture):
        raise ValueError(f"mode={config.mode!r}: the law is computed for mode 'mixture' only")
    p_spike = mixture.p_spike * (1 - tail.drop_spike_prob)
    single = dict.fromkeys(sorted({*mixture.base_delays, mixture.d_spike}), 0.0)
    for delay, probability in zip(mixture.base_delays, mixture.base_probs, strict=True):
        single[delay] += (1 - p_spike) * probability
    single[mixture.d_spike] += p_spike
    found: dict[int, float] = {}
    for delay in single:
        later, now_or_later = (sum(p for d, p in single.items() if d > t) for t in (delay, delay - 1))
        at = tail.bounded(delay)
        found[at] = found.get(at, 0.0) + now_or_later**tail.hedge - later**tail.hedge
    return {delay: probability for delay, probability in found.items() if probability > 0}


def mean_delay(config: DelayProfileConfig) -> float:
    """Mean time from a launch to a chunk that can be used, in ticks, of a profile of mode `mixture`.

    With a deadline that includes the abandoned queries before it: E[T] = (E[d; d <= m] + m P(d > m)) / P(d <= m).

    Raises:
        ValueError: another mode.
    """
    found = law(config)
    if config.deadline is None:
        return sum(delay * probability for delay, probability in found.items())
    in_time = {delay: probability for delay, probability in found.items() if delay <= config.deadline}
    share = sum(in_time.values())
    return (sum(d * p for d, p in in_time.items()) + config.deadline * (1 - share)) / share


def thinned(config: DelayProfileConfig, mean: float) -> DelayProfileConfig:
    """The same delays, but rarer: a random share of the queries takes no time at all, so that the mean delay is `mean`.

    The tail reaches as far as before. Means over queries are equal; ticks meet long delays more often. Delays of 0
    stay what they are.

    Raises:
        ValueError: `mean` lies above the profile's own, its mode is not `mixture`, or its tail control is more than
            another law of delays.
    """
    for name in ("hedge", "deadline", "anytime"):
        if getattr(config.tail, name) != getattr(TailControl(), name):
            raise ValueError(f"{name}={getattr(config, name)} would be lost: a profile with it cannot be made rarer")
    whole = mean_delay(config)
    if not 0 <= mean <= whole:
        raise ValueError(f"mean={mean} must lie between 0 and the profile's own mean delay, {whole:g}")
    if whole == 0:
        return config
    found = {delay: probability * mean / whole for delay, probability in law(config).items()}
    found[0] = found.get(0, 0.0) + 1 - mean / whole
    return DelayProfileConfig(mode="mixture", base_delays=tuple(found), base_probs=tuple(found.values()))
