"""Execution methods: how the next action chunk is produced from an observation and the chunk being executed.

Every method has a file of its own and a line in `METHODS`; `docs/adding-a-method.md` adds one step by step.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from rtc.methods.base import Answer, Method, MethodOptions, Policy, Query, initial_noise
from rtc.methods.bid import bid
from rtc.methods.ensemble import temporal_ensemble
from rtc.methods.naive import naive, synchronous
from rtc.methods.realtime import realtime
from rtc.methods.trained_prefix import trained_prefix
from rtc.shared.validation import require_choice

__all__ = ["METHODS", "Answer", "Method", "MethodOptions", "Policy", "Query", "initial_noise", "make", "run_for"]

METHODS: Mapping[str, Callable[[MethodOptions], Method]] = MappingProxyType(
    {
        "naive": naive,
        "synchronous": synchronous,
        "realtime": realtime("exp"),
        "realtime_linear": realtime("linear"),
        "realtime_ones": realtime("ones"),
        "hard_masking": realtime("zeros"),
        "realtime_stop_gradient": realtime("exp", stop_gradient=True),
        "bid": bid(contrast=False),
        "bid_contrast": bid(contrast=True),
        "temporal_ensemble": temporal_ensemble,
        "trained_prefix": trained_prefix,
    }
)


def run_for(name: str, run_path: str, prefix_run_path: str) -> str:
    """Which of two runs a method executes: that of ordinary policies, or that of policies trained with simulated delay.

    Raises:
        ValueError: unknown method.
    """
    return prefix_run_path if make(name).needs_simulated_delay else run_path


def make(name: str, options: MethodOptions | None = None) -> Method:
    """A method by name.

    Raises:
        ValueError: an unknown name (the message has the closest one), or options that contradict each other.
    """
    require_choice("method", name, METHODS)
    return METHODS[name](options or MethodOptions())
