"""Study I: an execute horizon that follows the planned delay against fixed ones."""

from rtc.control.controller import ExecutionConfig
from rtc.programs import study
from rtc.study.study import Comparison, Study, arm

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
    question="Does it pay to wait for the planned delay? s1, s2 and s4 launch the next query after max(s, delay) ticks "
    "(Real-Time Chunking, Algorithm 1, with s_min = s); adaptive waits for the planned delay too: s = max(planned, 1).",
    question_zh="等待规划的延迟是否值得？s1、s2、s4 在 max(s, 延迟) 个周期后发起下一次查询（Real-Time Chunking 算法 1，"
    "s_min = s）；adaptive 还要等待规划的延迟：s = max(规划延迟, 1)。",
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
        if name != "adaptive" and (profile, name) != ("no_delay", "s1")  # there the planned delay is 0
    ),
)

if __name__ == "__main__":
    study.main(STUDY, __doc__)
