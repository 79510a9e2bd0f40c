"""Measured latency: every query takes as many control ticks as it really took."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from rtc.delay.laws import MAX_TICKS
from rtc.delay.profiles import DelayProfileConfig
from rtc.shared.validation import require_int, require_positive

Result = TypeVar("Result")


@dataclass(frozen=True)
class Measured:
    """The delay of a query is its own latency: `Reply.latency_ms`, or else the wall time of the call.

    The environment waits meanwhile: time passes for it in ticks of the delay. Results depend on the machine.

    Attributes:
        control_hz: control ticks per second.
        scale: factor on the latencies: a slower network or machine.
        deadline: a query that has not returned after this many ticks is abandoned and launched anew on the current
            observation, as in `rtc.delay.laws.TailControl`. None waits.
        clock: seconds, from any start.

    Raises:
        ValueError: a field is out of range.
    """

    control_hz: float
    scale: float = 1.0
    deadline: int | None = None
    clock: Callable[[], float] = time.perf_counter

    def __post_init__(self):
        require_positive("control_hz", self.control_hz, "control ticks per second")
        require_positive("scale", self.scale, "a factor on the latencies")
        if self.deadline is not None:
            require_int("deadline", self.deadline, low=1, high=MAX_TICKS)

    def timed(self, call: Callable[[], Result]) -> tuple[Result, float]:
        """What a call returns, and its wall time in ms."""
        start = self.clock()
        result = call()
        return result, 1e3 * (self.clock() - start)

    def ticks(self, latency_ms: float) -> int:
        """The latency in control ticks, rounded up: ceil(latency_ms / dt_ms), as latency traces are."""
        # The small offset keeps a latency of exactly k ticks at k despite rounding.
        return min(max(math.ceil(latency_ms * self.scale * self.control_hz / 1e3 - 1e-9), 0), MAX_TICKS)

    def profile(self) -> DelayProfileConfig:
        """What a controller has in place of a delay profile: no delay of its own, and the deadline."""
        return DelayProfileConfig(deadline=self.deadline)
