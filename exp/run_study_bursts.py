"""Study J: spikes that come one by one against spikes that come in bursts, equally many of them."""

import dataclasses

from rtc import delays, study_program
from rtc.study import Comparison, Study, arm

METHODS = ("naive", "realtime", "trained_prefix")
LENGTHS = (2, 5, 10)
SHARE = 0.05


def burst(length: int) -> delays.DelayProfileConfig:
    """The delays of long_tail, as often, with bursts of spikes of this mean length."""
    start = SHARE / (1 - SHARE) / length
    return dataclasses.replace(delays.profile("burst"), p_burst_start=start, p_burst_end=1 / length)


STUDY = Study(
    name="study_bursts",
    title="Study J: single spikes against bursts",
    title_zh="研究 J：单个尖峰与成簇尖峰",
    question="With the same distribution of single delays (5 % of 4 ticks), do bursts of late queries do more harm "
    "than late queries one by one? burst_n: n late queries in a row on average.",
    question_zh="在单次延迟分布相同（5 % 为 4 个周期）的情况下，成簇的迟到查询是否比零散的危害更大？"
    "burst_n：平均连续 n 次迟到。",
    arms=tuple(
        one
        for method in METHODS
        for one in (
            arm("long_tail", method),
            arm("no_delay", method),
            *(arm(f"burst_{n}", method, delay=burst(n)) for n in LENGTHS),
        )
    ),
    comparisons=tuple(Comparison((f"burst_{n}", method), ("long_tail", method)) for method in METHODS for n in LENGTHS),
)

if __name__ == "__main__":
    study_program.main(STUDY, __doc__)
