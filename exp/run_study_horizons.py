"""Study I: an execute horizon that follows the planned delay against fixed ones."""

from rtc import study_program
from rtc.controller import ExecutionConfig
from rtc.study import Comparison, Study, arm

PROFILES = ("no_delay", "long_tail", "burst", "heavy")
METHODS = ("naive", "realtime")
HORIZONS = {
    "adaptive": ExecutionConfig(execute_horizon=1, horizon="adaptive"),
    "s1": ExecutionConfig(execute_horizon=1),
    "s2": ExecutionConfig(execute_horizon=2),
    "s4": ExecutionConfig(execute_horizon=4),
}

STUDY = Study(
    name="study_horizons",
    title="Study I: adaptive against fixed execute horizon",
    title_zh="研究 I：自适应与固定的执行步长",
    question="Is s = max(planned delay, 1) (Real-Time Chunking, Algorithm 1) better than a fixed s of 1, 2 or 4?",
    question_zh="s = max(规划延迟, 1)（Real-Time Chunking 算法 1）是否优于固定的 s = 1、2 或 4？",
    arms=tuple(
        arm(profile, method, f"{method}+{name}", execution=execution)
        for method in METHODS
        for name, execution in HORIZONS.items()
        for profile in PROFILES
    ),
    comparisons=tuple(
        Comparison((profile, f"{method}+adaptive"), (profile, f"{method}+{name}"))
        for profile in PROFILES
        for method in METHODS
        for name in HORIZONS
        if name != "adaptive"
    ),
)

if __name__ == "__main__":
    study_program.main(STUDY, __doc__)
