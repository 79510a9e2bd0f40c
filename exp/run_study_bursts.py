"""Study J: spikes that come one by one against spikes that come in bursts, equally many of them."""

import dataclasses

from rtc.delay import profiles as delay_profiles
from rtc.programs import study
from rtc.study.study import Comparison, Study, arm

METHODS = ("naive", "realtime", "trained_prefix")
# With chunks of 8 the old chunk outlasts two queries of 4 ticks in a row, but not two of 6.
SPIKES = (4, 6)
LENGTHS = (2, 5, 10)
SHARE = 0.05


def single(spike: int) -> delay_profiles.DelayProfileConfig:
    """The delays of long_tail, with spikes of this many ticks."""
    return dataclasses.replace(delay_profiles.profile("long_tail"), p_spike=SHARE, d_spike=spike)


def burst(spike: int, length: int) -> delay_profiles.DelayProfileConfig:
    """The same delays, as often, with bursts of spikes of this mean length."""
    start = SHARE / (1 - SHARE) / length
    return dataclasses.replace(
        delay_profiles.profile("burst"), d_spike=spike, p_burst_start=start, p_burst_end=1 / length
    )


def profiles() -> dict[str, delay_profiles.DelayProfileConfig]:
    """No delay, and single spikes and bursts of both sizes."""
    found = {"no_delay": delay_profiles.profile("no_delay")}
    for spike in SPIKES:
        found[f"single_{spike}"] = single(spike)
        found |= {f"burst_{spike}x{length}": burst(spike, length) for length in LENGTHS}
    return found


STUDY = Study(
    name="study_bursts",
    title="Study J: single spikes against bursts",
    title_zh="研究 J：单个尖峰与成簇尖峰",
    question="With the same distribution of single delays (5 % of 4 or of 6 ticks), do bursts of late queries do more "
    "harm than late queries one by one? single_6: 6 ticks; burst_6xn: n such queries in a row on average.",
    question_zh="在单次延迟分布相同（5 % 为 4 或 6 个周期）的情况下，成簇的迟到查询是否比零散的危害更大？"
    "single_6：6 个周期；burst_6xn：平均连续 n 次这样的查询。",
    arms=tuple(arm(name, method, delay=delay) for method in METHODS for name, delay in profiles().items()),
    comparisons=tuple(
        Comparison((f"burst_{spike}x{length}", method), (f"single_{spike}", method))
        for method in METHODS
        for spike in SPIKES
        for length in LENGTHS
    ),
)

if __name__ == "__main__":
    study.main(STUDY, __doc__)
