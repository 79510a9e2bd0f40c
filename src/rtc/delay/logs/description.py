"""What a series of delays is like: its distribution, whether it has bursts, whether it drifts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float, Int

from rtc.delay.logs.record import DelayLog
from rtc.shared import tables
from rtc.shared.validation import require_positive

LAGS = (1, 2, 3, 5, 10)
# Theil and Sen's slope is the median over all pairs: of longer logs every k-th delay is taken.
MOST_FOR_TREND = 2000
LEAST_FOR_TREND = 9


class Trend(NamedTuple):
    """A slope with its 95 % interval, in ms per `per`."""

    slope: float
    low: float
    high: float
    per: str


class Drift(NamedTuple):
    """Medians of the first and the last third, in ms, and the p value of a Mann-Whitney test between these thirds."""

    first_ms: float
    last_ms: float
    p: float


@dataclass(frozen=True)
class Description:
    """What `describe` finds. Times are in ms, delays d in control ticks; n is the number of delays.

    Attributes:
        hz: control rate, in ticks per second.
        count: n.
        median, p95, p99, longest: values that occurred.
        mean: mean.
        autocorrelation: by lag, of those in `LAGS` below n / 2; NaN where all delays are equal.
        ranks: autocorrelation of the delays' ranks at lag 1, which single long delays do not decide.
        band: autocorrelations of independent delays lie within this of 0, 95 % of them.
        trend: by Theil and Sen, over the log's time or, where it has none, over queries; None for short logs.
        drift: None for short logs.
        ticks: how many delays take d ticks, by d.
        uncertain: share of delays whose d would change within the log's resolution.
    """

    hz: float
    count: int
    median: float
    p95: float
    p99: float
    longest: float
    mean: float
    autocorrelation: Mapping[int, float]
    ranks: float
    band: float
    trend: Trend | None
    drift: Drift | None
    ticks: Mapping[int, int]
    uncertain: float

    def longer(self, ticks: int) -> float:
        """Share of delays of more than so many ticks: those above so many control periods."""
        return sum(count for d, count in self.ticks.items() if d > ticks) / self.count

    def percentile(self, level: int) -> int:
        """A percentile of d."""
        return int(tables.percentiles(np.repeat(list(self.ticks), list(self.ticks.values())), (level,))[level])


def ticks(latency_ms: Float[np.ndarray, " n"], hz: float) -> Int[np.ndarray, " n"]:
    """d = ceil(latency · hz) of each delay, in control ticks, as the delay law of traces counts them."""
    # The small offset keeps a latency of exactly k ticks at k despite rounding in the division.
    return np.ceil(latency_ms / (1000 / hz) - 1e-9).astype(np.int64)


def autocorrelation(values: Float[np.ndarray, " n"], lags: Sequence[int]) -> dict[int, float]:
    """Sample autocorrelation by lag (with the variance of the whole series); NaN if all values are equal."""
    centred = values - values.mean()
    total = float(centred @ centred)
    equal = np.ptp(values) == 0
    return {lag: float("nan") if equal else float(centred[:-lag] @ centred[lag:]) / total for lag in lags}


def describe(log: DelayLog, hz: float = 30.0) -> Description:
    """Describes the delays of a log at a control rate.

    Raises:
        ValueError: `hz` is not positive.
    """
    require_positive("hz", hz, "the control rate in ticks per second")
    latency, n = log.latency_ms, len(log.latency_ms)
    middle = tables.percentiles(latency)
    lags = [lag for lag in LAGS if 2 * lag < n]
    d = ticks(latency, hz)
    half = log.resolution_ms / 2
    low, high = ticks(np.maximum(latency - half, 0), hz), ticks(latency + half, hz)
    return Description(
        hz=float(hz),
        count=n,
        median=middle[50],
        p95=middle[95],
        p99=middle[99],
        longest=float(latency.max()),
        mean=float(latency.mean()),
        autocorrelation=autocorrelation(latency, lags),
        ranks=autocorrelation(scipy.stats.rankdata(latency), (1,))[1] if lags else float("nan"),
        band=1.96 / np.sqrt(n),
        trend=_trend(log),
        drift=_drift(latency),
        ticks={int(tick): int(count) for tick, count in zip(*np.unique(d, return_counts=True), strict=True)},
        uncertain=float((low != high).mean()),
    )


def _trend(log: DelayLog) -> Trend | None:
    """The slope; its interval takes delays for independent, so it is too narrow where they come in bursts."""
    n = len(log.latency_ms)
    if n < LEAST_FOR_TREND:
        return None
    chosen = np.arange(0, n, -(-n // MOST_FOR_TREND))
    timed = log.time_s is not None and log.time_s[chosen].max() > log.time_s[chosen].min()
    x, per = (log.time_s[chosen] / 60, "minute") if timed else (chosen / 100, "100 queries")
    found = scipy.stats.theilslopes(log.latency_ms[chosen], x)
    return Trend(float(found.slope), float(found.low_slope), float(found.high_slope), per)


def _drift(latency_ms: Float[np.ndarray, " n"]) -> Drift | None:
    """First third against last; the test takes delays for independent."""
    third = len(latency_ms) // 3
    if len(latency_ms) < LEAST_FOR_TREND:
        return None
    first, last = latency_ms[:third], latency_ms[-third:]
    p = 1.0 if np.ptp(latency_ms) == 0 else scipy.stats.mannwhitneyu(first, last).pvalue
    return Drift(float(np.median(first)), float(np.median(last)), float(p))
