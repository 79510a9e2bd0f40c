"""Delay profiles: how long inference takes and what is done about its tail, as users configure it.

The order of tail control: `drop_spike_prob` acts on single draws, `hedge` takes the fastest of several, `tail_cap` and
`anytime` bound what comes out, and `deadline` gives up what is still too late.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
import pandas as pd

from rtc.shared.validation import require_choice, require_float, require_int, require_positive

Mode = Literal["fixed", "mixture", "markov", "lognormal", "pareto", "trace"]
TraceOrder = Literal["resample", "replay"]

MAX_TICKS = 1_000_000  # far beyond any episode, and far from overflow
MAX_HEDGE = 64
PROBABILITY_TOLERANCE = 1e-6
SPIKING_MODES = ("mixture", "markov")


@dataclass(frozen=True)
class DelayProfileConfig:
    """A distribution of inference delay, in control ticks, and the tail control applied to it.

    Attributes:
        mode: `fixed` always takes `fixed_delay`; `mixture` draws from `base_delays`, or with probability `p_spike`
            takes `d_spike`; `markov` does so in bursts (Gilbert-Elliott): every query of a burst is a spike;
            `lognormal` and `pareto` draw latencies in ms; `trace` takes measured ones. A latency takes
            ceil(latency_ms / dt_ms) ticks.
        fixed_delay: delay of mode `fixed`.
        p_spike: probability of a spike (mode `mixture`).
        d_spike: delay of a spike (modes `mixture` and `markov`).
        base_delays: delays of the base distribution (modes `mixture` and `markov`).
        base_probs: their probabilities; they must sum to 1.
        p_burst_start: probability that a burst starts at a query outside one (mode `markov`).
        p_burst_end: probability that a query after one in a burst is outside it (mode `markov`).
        median_ms: median of mode `lognormal`.
        sigma: standard deviation of the latency's logarithm (mode `lognormal`).
        scale_ms: least latency of mode `pareto`.
        alpha: tail index of mode `pareto`: P(latency > x) = (scale_ms / x)^alpha.
        trace_path: CSV file with a column `latency_ms` (mode `trace`).
        trace_scale: factor on the measured latencies: a slower network or machine (mode `trace`).
        trace_order: `resample` draws rows independently; `replay` keeps their order, so bursts stay bursts, from a
            start that is random per episode.
        dt_ms: length of a control tick in milliseconds.
        tail_cap: upper bound put on every delay (ideal tail control, at no cost); None leaves the tail alone.
        drop_spike_prob: probability that a spike is replaced by a draw from the base distribution.
        hedge: every query is sent that many times and the first answer counts; costs as many times the inference.
        deadline: a query that has not returned after this many ticks is abandoned and launched anew on the current
            observation; an abandoned query costs as much as any other. None waits.
        anytime: a query returns after this many ticks at the latest, with as many flow steps as there was time for.
    """

    mode: Mode = "fixed"
    fixed_delay: int = 0
    p_spike: float = 0.0
    d_spike: int = 0
    base_delays: tuple[int, ...] = (0,)
    base_probs: tuple[float, ...] = (1.0,)
    p_burst_start: float = 0.0
    p_burst_end: float = 1.0
    median_ms: float = 30.0
    sigma: float = 0.5
    scale_ms: float = 15.0
    alpha: float = 1.5
    trace_path: str | None = None
    trace_scale: float = 1.0
    trace_order: TraceOrder = "resample"
    dt_ms: float = 1000 / 30
    tail_cap: int | None = None
    drop_spike_prob: float = 0.0
    hedge: int = 1
    deadline: int | None = None
    anytime: int | None = None

    def __post_init__(self):
        require_choice("mode", self.mode, get_args(Mode))
        require_choice("trace_order", self.trace_order, get_args(TraceOrder))
        for name in ("fixed_delay", "d_spike"):
            require_int(name, getattr(self, name), low=0, high=MAX_TICKS)
        for name in ("p_spike", "p_burst_start", "p_burst_end", "drop_spike_prob"):
            require_float(name, getattr(self, name), low=0.0, high=1.0)
        require_float("sigma", self.sigma, low=0.0)
        for name, meaning in (
            ("dt_ms", "the control tick in milliseconds"),
            ("median_ms", "a latency in milliseconds"),
            ("scale_ms", "a latency in milliseconds"),
            ("alpha", "the tail index"),
            ("trace_scale", "a factor"),
        ):
            require_positive(name, getattr(self, name), meaning)
        for name in ("base_delays", "base_probs"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # a list would make the profile unhashable
        self._check_base()
        self._check_tail_control()
        if self.mode == "trace" and self.trace_path is None:
            raise ValueError("trace_path=None: mode 'trace' needs a CSV file with a column latency_ms")
        if self.mode == "markov" and self.p_burst_start == 0 and self.p_burst_end == 0:
            raise ValueError("p_burst_start=0.0 and p_burst_end=0.0: mode 'markov' needs one of them above 0")

    def _check_base(self) -> None:
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

    def _check_tail_control(self) -> None:
        for name, low in (("tail_cap", 0), ("anytime", 0), ("deadline", 1)):
            if getattr(self, name) is not None:
                require_int(name, getattr(self, name), low=low, high=MAX_TICKS)
        require_int("hedge", self.hedge, low=1, high=MAX_HEDGE)
        if self.drop_spike_prob > 0 and self.mode not in SPIKING_MODES:
            raise ValueError(
                f"drop_spike_prob={self.drop_spike_prob} with mode={self.mode!r}: only "
                f"{' and '.join(SPIKING_MODES)} have spikes, so leave it at 0"
            )
        bounds = [bound for bound in (self.tail_cap, self.anytime) if bound is not None]
        if self.mode == "fixed" and self.deadline is not None and min([self.fixed_delay, *bounds]) > self.deadline:
            raise ValueError(
                f"deadline={self.deadline} is below fixed_delay={self.fixed_delay}: no query would ever return"
            )

    @property
    def p_burst(self) -> float:
        """Long-run share of queries in a burst (mode `markov`)."""
        return self.p_burst_start / (self.p_burst_start + self.p_burst_end)


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
            **{**_LONG_TAIL, "mode": "markov", "p_spike": 0.0},
            p_burst_start=0.05 / 0.95 / _BURST_LENGTH,
            p_burst_end=1 / _BURST_LENGTH,
        ),
        # 70 % of the queries take one tick, 3.8 % more than 4 and 1.3 % more than 8.
        "heavy": DelayProfileConfig(mode="pareto", scale_ms=15.0, alpha=1.5),
    }
)


def profile(name: str) -> DelayProfileConfig:
    """A named profile. Raises ValueError, with the closest name, for an unknown one."""
    require_choice("profile", name, PROFILES)
    return PROFILES[name]


def read_trace(path: str | Path) -> np.ndarray:
    """Latencies in milliseconds from the column `latency_ms` of a CSV file.

    Raises:
        ValueError: the file cannot be read, has no such column, is empty, or holds a negative or non-finite value.
    """
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"trace_path={str(path)!r} cannot be read as CSV: {error}") from error
    if "latency_ms" not in frame.columns:
        raise ValueError(f"trace_path={str(path)!r} has columns {list(frame.columns)}: it needs a column latency_ms")
    latency = pd.to_numeric(frame["latency_ms"], errors="coerce").to_numpy(np.float64)
    if latency.size == 0:
        raise ValueError(f"trace_path={str(path)!r} holds no latencies")
    bad = np.flatnonzero(~np.isfinite(latency) | (latency < 0))
    if bad.size:
        raise ValueError(f"trace_path={str(path)!r}, data row {bad[0] + 1}: latency_ms must be a number of at least 0")
    return latency


def law(config: DelayProfileConfig) -> dict[int, float]:
    """Probability of each delay of mode `mixture`, after dropping, hedging, cap and anytime, before the deadline.

    Raises:
        ValueError: another mode.
    """
    if config.mode != "mixture":
        raise ValueError(f"mode={config.mode!r}: the law is computed for mode 'mixture' only")
    p_spike = config.p_spike * (1 - config.drop_spike_prob)
    single = dict.fromkeys(sorted({*config.base_delays, config.d_spike}), 0.0)
    for delay, probability in zip(config.base_delays, config.base_probs, strict=True):
        single[delay] += (1 - p_spike) * probability
    single[config.d_spike] += p_spike
    bounds = [bound for bound in (config.tail_cap, config.anytime) if bound is not None]
    found: dict[int, float] = {}
    for delay in single:
        later, now_or_later = (sum(p for d, p in single.items() if d > t) for t in (delay, delay - 1))
        at = min([delay, *bounds])
        found[at] = found.get(at, 0.0) + now_or_later**config.hedge - later**config.hedge
    return {delay: probability for delay, probability in found.items() if probability > 0}


def mean_delay(config: DelayProfileConfig) -> float:
    """Mean time from a launch to a chunk that can be used, in ticks, of a profile of mode `mixture`.

    With a deadline that includes the abandoned queries before it: E[T] = (E[d; d <= m] + m P(d > m)) / P(d <= m).

    Raises:
        ValueError: another mode, or a deadline that no query meets.
    """
    found = law(config)
    if config.deadline is None:
        return sum(delay * probability for delay, probability in found.items())
    in_time = {delay: probability for delay, probability in found.items() if delay <= config.deadline}
    share = sum(in_time.values())
    if share == 0:
        raise ValueError(f"deadline={config.deadline}: no query would ever return")
    return (sum(d * p for d, p in in_time.items()) + config.deadline * (1 - share)) / share


def thinned(config: DelayProfileConfig, mean: float) -> DelayProfileConfig:
    """The same delays, but rarer: a random share of the queries takes no time at all, so that the mean delay is `mean`.

    The tail reaches as far as before. Means over queries are equal; ticks meet long delays more often.

    Raises:
        ValueError: `mean` lies above the profile's own, or its mode is not `mixture`.
    """
    whole = mean_delay(config)
    if not 0 <= mean <= whole:
        raise ValueError(f"mean={mean} must lie between 0 and the profile's own mean delay, {whole:g}")
    found = {delay: probability * mean / whole for delay, probability in law(config).items()}
    found[0] = found.get(0, 0.0) + 1 - mean / whole
    return DelayProfileConfig(mode="mixture", base_delays=tuple(found), base_probs=tuple(found.values()))
