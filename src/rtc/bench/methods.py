"""What methods cost in the simulator: time per slot and control tick, against naive execution at the same delay."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from rtc.bench import timing
from rtc.bench.closed_loop import FixedLength
from rtc.control import executor
from rtc.control.controller import ExecutionConfig
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.shared import devices
from rtc.study.evaluation import EvalConfig
from rtc.study.subject import FlowSubject

NAIVE = "naive"


def at_delay(method: str, delay: int) -> EvalConfig:
    """A method at a constant delay that it knows, s = max(d, 1)."""
    return EvalConfig(
        method=method,
        delay_profile=DelayProfileConfig(fixed_delay=delay),
        estimator=EstimatorConfig(kind="oracle"),
        execution=ExecutionConfig(execute_horizon=max(delay, 1)),
    )


def measure(
    subjects: Mapping[str, FlowSubject], delays: Sequence[int], *, ticks: int, num_slots: int, repeats: int
) -> list[dict[str, Any]]:
    """A row per method and delay: microseconds per slot and tick, and the ratio to naive execution at that delay.

    Episodes have a fixed length, so that all methods simulate as much. Methods and delays take turns; medians of the
    times, and of the ratios of neighbouring runs.

    Args:
        subjects: by method, its policy on the level; naive execution must be among them.
        delays: constant delays, in ticks.
        ticks: length of an episode.
        num_slots: episodes at a time, per device.
        repeats: runs of each, after one that compiles.

    Returns:
        Rows with `method`, `d`, `µs per tick` and `ratio`.
    """
    runs = {
        (method, delay): _run(subject, at_delay(method, delay), ticks, num_slots)
        for method, subject in subjects.items()
        for delay in delays
    }
    spent = timing.in_turn(runs, repeats)
    per_tick = 1e3 / (ticks * num_slots)
    return [
        {
            "method": method,
            "d": delay,
            "µs per tick": float(np.median(values)) * per_tick,
            "ratio": float(np.median(values / spent[NAIVE, delay])),
        }
        for (method, delay), values in spent.items()
    ]


def _run(subject: FlowSubject, config: EvalConfig, ticks: int, num_slots: int) -> Any:
    env, policy, controller = subject.prepare(dataclasses.replace(config, model=subject.policy.config))
    episodes = np.arange(num_slots * devices.count())
    options = {"seed": 0, "episodes": episodes, "num_steps": config.num_flow_steps, "num_slots": num_slots}
    return partial(executor.rollout, FixedLength(env, ticks), policy, controller, **options)
