"""Study G: tail controls of the delay, each against fewer spikes at the same mean delay, and what they cost."""

import dataclasses

from rtc import delay_profiles, study_program
from rtc.delays import DelayProfileConfig
from rtc.study import Comparison, Study, arm

SPIKY = DelayProfileConfig(mode="mixture", base_delays=(1,), base_probs=(1.0,), p_spike=0.1, d_spike=8)
CONTROLS = {
    "cap_3": {"tail_cap": 3},
    "hedge_2": {"hedge": 2},
    "deadline_3": {"deadline": 3},
    "anytime_3": {"anytime": 3},
}
METHODS = ("naive", "realtime")


def matched(control: DelayProfileConfig) -> DelayProfileConfig:
    """SPIKY with so many of its spikes dropped that its mean delay is that of `control`."""
    base = delay_profiles.mean_delay(dataclasses.replace(SPIKY, drop_spike_prob=1.0))
    whole = delay_profiles.mean_delay(SPIKY)
    drop = (whole - delay_profiles.mean_delay(control)) / (whole - base)
    return dataclasses.replace(SPIKY, drop_spike_prob=drop)


def profiles() -> dict[str, DelayProfileConfig]:
    """The uncontrolled delay, the controls, and the matched profile of each."""
    found = {"spiky": SPIKY}
    for name, change in CONTROLS.items():
        found[name] = dataclasses.replace(SPIKY, **change)
        found[f"as_{name}"] = matched(found[name])
    return found


STUDY = Study(
    name="study_tail_controls",
    title="Study G: tail controls at equal mean delay",
    title_zh="研究 G：平均延迟相等时的尾部控制",
    question="Does it matter how the tail of the delay is cut, or only how far the mean delay falls? Every control "
    "(cap_3, hedge_2, ...) stands against a profile of the same mean delay that has fewer spikes of full height "
    "(as_cap_3, ...), and against no control (spiky). Delays of 1 tick, one in ten of 8.",
    question_zh="重要的是以何种方式截断延迟的尾部，还是只在于平均延迟降低多少？"
    "每种控制（cap_3、hedge_2 等）与平均延迟相同、但保留较少的完整尖峰的分布（as_cap_3 等）比较，"
    "也与不加控制（spiky）比较。延迟为 1 个周期，十分之一为 8。",
    arms=tuple(
        arm("no_delay", method, delay_profile=config).renamed(name)
        for method in METHODS
        for name, config in profiles().items()
    ),
    comparisons=tuple(
        Comparison((name, method), (reference, method))
        for method in METHODS
        for name in CONTROLS
        for reference in ("spiky", f"as_{name}")
    ),
)

if __name__ == "__main__":
    study_program.main(STUDY, __doc__)
