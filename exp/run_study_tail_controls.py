"""Study G: tail controls of the delay, each against rarer delays with the same mean, and their cost."""

import dataclasses

from rtc.delay import profiles as delay_profiles
from rtc.delay.profiles import DelayProfileConfig
from rtc.programs import study
from rtc.study.study import Comparison, Study, arm

SPIKY = DelayProfileConfig(mode="mixture", base_delays=(0, 1, 2), base_probs=(0.5, 0.3, 0.2), p_spike=0.1, d_spike=8)
CONTROLS = {
    "cap_3": {"tail_cap": 3},
    "anytime_3": {"anytime": 3},
    "hedge_2": {"hedge": 2},
    "deadline_3": {"deadline": 3},
}
# anytime_3 has the delays of cap_3 and so the same reference.
RARER = {"cap_3": "as_cap_3", "anytime_3": "as_cap_3", "hedge_2": "as_hedge_2", "deadline_3": "as_deadline_3"}
METHODS = ("naive", "realtime")


def profiles() -> dict[str, DelayProfileConfig]:
    """No delay, the uncontrolled delay, the controls, and rarer delays with their means."""
    found = {"no_delay": DelayProfileConfig(), "spiky": SPIKY}
    for name, change in CONTROLS.items():
        found[name] = dataclasses.replace(SPIKY, **change)
        found[RARER[name]] = delay_profiles.thinned(SPIKY, delay_profiles.mean_delay(found[name]))
    return found


STUDY = Study(
    name="study_tail_controls",
    title="Study G: tail controls at equal mean delay",
    title_zh="研究 G：平均延迟相等时的尾部控制",
    question="Does it matter that the tail is cut, or only that the mean delay falls? Every control stands against no "
    "control (spiky: 0, 1 or 2 ticks, one query in ten 8) and against the same mean delay per query without a cut "
    "(as_cap_3: a random share of the queries takes no time at all, so spikes are as long, but rarer). The mean delay "
    "of deadline_3 counts the time until a chunk arrives, over abandoned queries.",
    question_zh="重要的是截断尾部，还是只在于平均延迟降低？"
    "每种控制与不加控制（spiky：0、1 或 2 个周期，十分之一的查询为 8）比较，"
    "也与每次查询平均延迟相同但不截断的情形（as_cap_3：随机一部分查询不花时间，尖峰同样长但更少）比较。"
    "deadline_3 的平均延迟计入被放弃的查询，直到块到达。",
    arms=tuple(arm(name, method, delay=config) for method in METHODS for name, config in profiles().items()),
    comparisons=tuple(
        Comparison((name, method), (reference, method))
        for method in METHODS
        for name in CONTROLS
        for reference in ("spiky", RARER[name])
    ),
)

if __name__ == "__main__":
    study.main(STUDY, __doc__)
