"""Study F: every execution method under every delay condition, on six levels."""

import dataclasses

from rtc.control.controller import ExecutionConfig
from rtc.delay.estimators import EstimatorConfig
from rtc.methods import MethodOptions
from rtc.programs import study
from rtc.study.study import PREFIX_RUN, Arm, Study, arm, versus

PROFILES = ("no_delay", "long_tail", "tail_controlled", "burst", "heavy")
HORIZON = 2
SAMPLES = 8
METHODS = (
    "naive",
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
QUIET, SAME_POLICY = "naive+noise0", "naive+prefix_policy"
WAITING, WAITING_LONGER, WAITING_AT_ZERO = "synchronous", "synchronous+s8", "synchronous+zeros"
INFORMED = ("realtime", "hard_masking", "trained_prefix")


def arms(profile: str) -> tuple[Arm, ...]:
    """All conditions under one delay profile."""
    execution = ExecutionConfig(execute_horizon=HORIZON)
    options = MethodOptions(bid_num_samples=SAMPLES)
    return (
        *(arm(profile, name, execution=execution, method_options=options) for name in METHODS),
        arm(profile, "naive", QUIET, execution=execution, method_options=MethodOptions(noise_scale=0.0)),
        arm(profile, "naive", SAME_POLICY, execution=execution, run_path=PREFIX_RUN),
        arm(profile, "synchronous", WAITING, execution=execution),
        arm(profile, "synchronous", WAITING_LONGER, execution=ExecutionConfig(execute_horizon=8)),
        arm(profile, "synchronous", WAITING_AT_ZERO, execution=dataclasses.replace(execution, fallback="zero")),
        *(
            arm(profile, name, oracle(name), execution=execution, estimator=EstimatorConfig("oracle"))
            for name in INFORMED
        ),
    )


def oracle(method: str) -> str:
    """Label of a method that is told every delay."""
    return f"{method}+oracle"


STUDY = Study(
    name="study_methods",
    title="Study F: every method under every delay",
    title_zh="研究 F：所有方法与所有延迟分布",
    question="Which execution method solves most episodes under which latency distribution, and at what cost? Methods "
    "plan with the largest of the last ten delays, starting from the median, or are told every delay (+oracle); s = 2; "
    "BID draws 8 samples. naive+noise0 starts the flow from zeros; naive+prefix_policy executes the policy of "
    "trained_prefix naively; synchronous repeats the last command while it waits (+zeros: sends zeros); synchronous+s8 "
    "executes whole chunks.",
    question_zh="在哪种延迟分布下，哪种执行方法解决的回合最多，代价是什么？方法按最近十次延迟的最大值规划（初值为中位数），"
    "或被告知每次的延迟（+oracle）；s = 2；BID 抽取 8 个样本。naive+noise0 的流从零开始；"
    "naive+prefix_policy 朴素地执行 trained_prefix 的策略；synchronous 等待时重复上一个指令（+zeros：发送零）；"
    "synchronous+s8 执行整个块。",
    arms=tuple(one for profile in PROFILES for one in arms(profile)),
    comparisons=(
        *versus((*METHODS[1:-1], QUIET, WAITING, WAITING_LONGER, WAITING_AT_ZERO), "naive", PROFILES),
        *versus(("trained_prefix",), SAME_POLICY, PROFILES),
        *versus(("realtime",), QUIET, PROFILES),
        *versus((oracle("realtime"), oracle("hard_masking")), "naive", PROFILES[1:]),
        *versus((oracle("trained_prefix"),), SAME_POLICY, PROFILES[1:]),
    ),
)

if __name__ == "__main__":
    study.main(STUDY, __doc__)
