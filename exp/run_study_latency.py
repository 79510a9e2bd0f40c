"""The latency study: delays from the query times measured on this device, at three control frequencies.

The policy here is small, so its latencies are scaled until the median query of the naive method takes as long as one
of a large vision-language-action model; what differs between methods, and how the times scatter, is as measured. The
frequency decides how many control ticks a latency takes; the simulated tick stays what it is.
"""

import functools

import numpy as np

from rtc.delay import profiles
from rtc.delay.profiles import DelayProfileConfig
from rtc.programs import study as study_program
from rtc.shared import commands
from rtc.shared.paths import ROOT
from rtc.study.study import PREFIX_RUN, Arm, Study, arm, versus

TRACES = ROOT / "exp_runs/latency"
# A query of the naive method, in ms: 1.35, 2.25 and 4.5 control ticks, so that noise in the measurement seldom decides
# how many whole ticks a query takes.
MODEL_MS = 45.0
FREQUENCIES = (30, 50, 100)
METHODS = ("naive", "synchronous", "temporal_ensemble", "realtime", "realtime_stop_gradient")
SAME_POLICY = "naive+prefix_policy"


@functools.cache
def scale() -> float:
    """Factor on the measured latencies that makes the median naive query take `MODEL_MS`."""
    return MODEL_MS / float(np.median(profiles.read_trace(TRACES / "naive.csv")))


def profile(method: str, frequency: int) -> DelayProfileConfig:
    """The measured queries of a method, in their order, at a control frequency in Hz."""
    path = str(TRACES / f"{method}.csv")
    return DelayProfileConfig(
        mode="trace", trace_path=path, trace_scale=scale(), trace_order="replay", dt_ms=1000 / frequency
    )


def arms(frequency: int) -> tuple[Arm, ...]:
    """All conditions at one control frequency."""
    name = f"{frequency}_Hz"
    return (
        *(arm(name, method, delay=profile(method, frequency)) for method in (*METHODS, "trained_prefix")),
        arm(name, "naive", SAME_POLICY, delay=profile("naive", frequency), run_path=PREFIX_RUN),
    )


def study() -> Study:
    """The study, from the traces that `exp/measure_latency.py` has written."""
    names = [f"{frequency}_Hz" for frequency in FREQUENCIES]
    return Study(
        name="study_latency",
        title="Measured latencies at 30, 50 and 100 Hz",
        title_zh="实测延迟：30、50 和 100 Hz",
        question="Which method copes best when every method pays for its own computing time? Delays are the query "
        "times measured on this machine (exp_runs/latency), scaled so that the median naive query takes 45 ms. "
        "naive+prefix_policy executes the policy of trained_prefix naively.",
        question_zh="如果每种方法都要承担自己的计算时间，哪种方法最好？延迟取自本机实测的查询时间（exp_runs/latency），"
        "并缩放到朴素方法的中位数为 45 ms。naive+prefix_policy 朴素地执行 trained_prefix 的策略。",
        arms=tuple(one for frequency in FREQUENCIES for one in arms(frequency)),
        comparisons=(*versus(METHODS, "naive", names), *versus(("trained_prefix",), SAME_POLICY, names)),
    )


if __name__ == "__main__":
    with commands.plain_errors():
        study_program.main(study(), __doc__)
