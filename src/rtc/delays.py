"""Inference delay as a random process: what users configure, and the pure functions that sample it.

A delay is counted in control ticks. Every environment owns a stream of delays; the k-th delay of an episode is a
function of (seed, episode, k) alone, so all methods and profiles meet the same random numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Bool, Float, Int, Key

from rtc.validation import require_choice, require_float, require_int

Mode = Literal["fixed", "mixture", "trace"]
TraceOrder = Literal["resample", "replay"]

NO_CAP = np.iinfo(np.int32).max
START = np.iinfo(np.int32).max  # folded into a stream's key for the start of a replayed trace; no index gets there
MIN_TABLE = 16
MAX_TICKS = 1_000_000  # far beyond any episode, and far from overflow
PROBABILITY_TOLERANCE = 1e-6


@dataclass(frozen=True)
class DelayProfileConfig:
    """A distribution of inference delay, in control ticks.

    Attributes:
        mode: `fixed` always takes `fixed_delay`; `mixture` draws from `base_delays`, or with probability `p_spike`
            takes `d_spike`; `trace` takes measured latencies, ceil(latency_ms / dt_ms) ticks each.
        fixed_delay: delay of mode `fixed`.
        p_spike: probability of a spike (mode `mixture`).
        d_spike: delay of a spike (mode `mixture`).
        base_delays: delays of the base distribution (mode `mixture`).
        base_probs: their probabilities; they must sum to 1.
        trace_path: CSV file with a column `latency_ms` (mode `trace`).
        trace_order: `resample` draws rows independently; `replay` keeps their order, so bursts stay bursts, from a
            start that is random per episode.
        dt_ms: length of a control tick in milliseconds (mode `trace`).
        tail_cap: upper bound put on every delay (ideal tail control); None leaves the tail alone.
    """

    mode: Mode = "fixed"
    fixed_delay: int = 0
    p_spike: float = 0.0
    d_spike: int = 0
    base_delays: tuple[int, ...] = (0,)
    base_probs: tuple[float, ...] = (1.0,)
    trace_path: str | None = None
    trace_order: TraceOrder = "resample"
    dt_ms: float = 1000 / 30
    tail_cap: int | None = None

    def __post_init__(self):
        require_choice("mode", self.mode, get_args(Mode))
        require_choice("trace_order", self.trace_order, get_args(TraceOrder))
        require_int("fixed_delay", self.fixed_delay, low=0, high=MAX_TICKS)
        require_int("d_spike", self.d_spike, low=0, high=MAX_TICKS)
        require_float("p_spike", self.p_spike, low=0.0, high=1.0)
        if self.tail_cap is not None:
            require_int("tail_cap", self.tail_cap, low=0, high=MAX_TICKS)
        if not 0 < self.dt_ms < float("inf"):
            raise ValueError(f"dt_ms={self.dt_ms!r} must be positive: the control tick in milliseconds")
        for name in ("base_delays", "base_probs"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # a list would make the profile unhashable
        self._check_base()
        if self.mode == "trace" and self.trace_path is None:
            raise ValueError("trace_path=None: mode 'trace' needs a CSV file with a column latency_ms")

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


_LONG_TAIL = {
    "mode": "mixture",
    "p_spike": 0.05,
    "d_spike": 4,
    "base_delays": (0, 1),
    "base_probs": (0.9, 0.1),
}

PROFILES: Mapping[str, DelayProfileConfig] = MappingProxyType(
    {
        "no_delay": DelayProfileConfig(),
        "long_tail": DelayProfileConfig(**_LONG_TAIL),
        "tail_controlled": DelayProfileConfig(**_LONG_TAIL, tail_cap=2),
    }
)


def profile(name: str) -> DelayProfileConfig:
    """A named profile. Raises ValueError, with the closest name, for an unknown one."""
    require_choice("profile", name, PROFILES)
    return PROFILES[name]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DelayProcess:
    """A delay distribution as arrays. Only the length of the table (padded to a power of two) is static.

    Attributes:
        table: delays of the base distribution, in ticks.
        cumulative: cumulative probability of each table entry; 1 in the padding.
        size: number of real entries.
        replay: take the entries in order instead of drawing them.
        p_spike: probability that a spike replaces the base delay.
        d_spike: delay of a spike.
        cap: upper bound on every delay.
    """

    table: Int[Array, " n"]
    cumulative: Float[Array, " n"]
    size: Int[Array, ""]
    replay: Bool[Array, ""]
    p_spike: Float[Array, ""]
    d_spike: Int[Array, ""]
    cap: Int[Array, ""]


class DelayStream(NamedTuple):
    """Where one episode's stream of delays stands: its random key and the index of its next delay."""

    key: Key[Array, ""]
    index: Int[Array, ""]


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


def make_process(config: DelayProfileConfig) -> DelayProcess:
    """Turns a profile into arrays; reads the trace where there is one."""
    p_spike = config.p_spike if config.mode == "mixture" else 0.0
    if config.mode == "fixed":
        delays, probs = np.array([config.fixed_delay]), np.ones(1)
    elif config.mode == "mixture":
        delays, probs = np.array(config.base_delays), np.array(config.base_probs, np.float64)
    else:
        # The small offset keeps a latency of exactly k ticks at k despite rounding in the division.
        delays = np.ceil(read_trace(config.trace_path) / config.dt_ms - 1e-9)
        if delays.max() > MAX_TICKS:
            raise ValueError(f"trace_path={config.trace_path!r} holds a latency of more than {MAX_TICKS} ticks")
        probs = np.full(len(delays), 1 / len(delays))
    capacity = max(MIN_TABLE, 1 << (len(delays) - 1).bit_length())
    padding = capacity - len(delays)
    cumulative = np.cumsum(probs)
    cumulative[np.flatnonzero(probs)[-1] :] = 1.0
    return DelayProcess(
        table=jnp.asarray(np.pad(delays, (0, padding), mode="edge"), jnp.int32),
        cumulative=jnp.asarray(np.pad(cumulative, (0, padding), constant_values=1.0), jnp.float32),
        size=jnp.asarray(len(delays), jnp.int32),
        replay=jnp.asarray(config.mode == "trace" and config.trace_order == "replay"),
        p_spike=jnp.asarray(p_spike, jnp.float32),
        d_spike=jnp.asarray(config.d_spike, jnp.int32),
        cap=jnp.asarray(NO_CAP if config.tail_cap is None else config.tail_cap, jnp.int32),
    )


def init(key: Key[Array, ""]) -> DelayStream:
    """The start of a stream; `key` identifies the seed and the episode."""
    return DelayStream(key, jnp.zeros((), jnp.int32))


def sample(process: DelayProcess, stream: DelayStream) -> tuple[Int[Array, ""], DelayStream]:
    """The stream's next delay in ticks, and the stream after it.

    Spike and base delay use separate uniforms, so two profiles that differ in one number stay coupled.
    """
    base, spike = jax.random.uniform(jax.random.fold_in(stream.key, stream.index), (2,))
    drawn = jnp.searchsorted(process.cumulative, base, side="right")
    start = jax.random.randint(jax.random.fold_in(stream.key, START), (), 0, process.size)
    row = jnp.where(process.replay, (start + stream.index) % process.size, drawn)
    delay = jnp.where(spike < process.p_spike, process.d_spike, process.table[row])
    return jnp.minimum(delay, process.cap), stream._replace(index=stream.index + 1)
