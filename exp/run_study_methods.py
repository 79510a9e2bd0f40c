"""Study F: every execution method under every delay condition, on seven levels."""

from rtc import study_program
from rtc.study import Study, arm, versus

PROFILES = ("no_delay", "long_tail", "tail_controlled", "burst", "heavy")
METHODS = (
    "naive",
    "synchronous",
    "temporal_ensemble",
    "bid",
    "bid_contrast",
    "realtime",
    "realtime_linear",
    "realtime_ones",
    "hard_masking",
    "realtime_stop_gradient",
    "trained_prefix",
)
LEVELS = (
    "grasp_easy",
    "catapult",
    "hard_lunar_lander",
    "h17_unicycle",
    "chain_lander",
    "catcher_v3",
    "trampoline",
)

STUDY = Study(
    name="study_methods",
    title="Study F: every method under every delay",
    title_zh="研究 F：所有方法与所有延迟分布",
    question="Which execution method solves most episodes under which latency distribution, and at what cost? The "
    "methods plan with the largest of the last ten delays; s = 1.",
    question_zh="在哪种延迟分布下，哪种执行方法解决的回合最多，代价是什么？方法按最近十次延迟的最大值规划；s = 1。",
    arms=tuple(arm(profile, method) for method in METHODS for profile in PROFILES),
    comparisons=versus(METHODS, "naive", PROFILES),
    levels=LEVELS,
)

if __name__ == "__main__":
    study_program.main(STUDY, __doc__)
