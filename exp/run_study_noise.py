"""Study L: how much of each method's gain is less sampling noise, for chunks of 4 and of 8."""

from functools import partial

from rtc.delay.estimators import EstimatorConfig
from rtc.methods import MethodOptions
from rtc.programs import study
from rtc.study.study import PREFIX_RUN, RUN, Arm, Comparison, Study, arm

PROFILES = ("no_delay", "long_tail", "heavy")
NAIVE, SAME_POLICY = "naive", "naive+prefix_policy"
# Each method with the naive execution of the same policy. With noise 0 all of BID's samples are one: it is left out.
REFERENCES = {"temporal_ensemble": NAIVE, "realtime": NAIVE, "hard_masking": NAIVE, "trained_prefix": SAME_POLICY}
# Planning for a wrong delay costs more than these methods gain (study H), so here they are told it.
ORACLE = EstimatorConfig("oracle")
SCALES = (0.0, 0.5, 1.0)
LEVELS = ("grasp_easy", "hard_lunar_lander", "catcher_v3", "mjc_walker")
RUNS = {8: (RUN, PREFIX_RUN), 4: ("logs-bc/h4", "logs-bc/h4_prefix")}


def name(method: str, scale: float, size: int) -> str:
    """Label of an arm."""
    return f"{method}+noise{scale:g}+H{size}"


def arms(size: int, scale: float, profile: str) -> tuple[Arm, ...]:
    """All methods with chunks of one size, one noise and one delay profile."""
    run, prefix_run = RUNS[size]
    own = {"trained_prefix": prefix_run}
    told = partial(arm, profile, estimator=ORACLE, method_options=MethodOptions(noise_scale=scale))
    return (
        *(told(each, name(each, scale, size), run_path=own.get(each, run)) for each in (NAIVE, *REFERENCES)),
        told(NAIVE, name(SAME_POLICY, scale, size), run_path=prefix_run),
    )


STUDY = Study(
    name="study_noise",
    title="Study L: guidance or less noise?",
    title_zh="研究 L：是引导的作用，还是噪声更小？",
    question="The initial noise of the flow has standard deviation 0, 0.5 or 1. How much does each method gain over "
    "naive execution of the same policy at the same noise, how much does naive execution gain from less noise, and how "
    "much is left of a method's gain against naive execution without noise? Methods are told every delay.",
    question_zh="流的初始噪声标准差取 0、0.5 或 1。在相同噪声下，各方法比朴素执行同一策略好多少？"
    "仅靠减小噪声，朴素执行能提高多少？与无噪声的朴素执行相比，方法的收益还剩多少？所有方法都被告知每次延迟。",
    arms=tuple(one for size in RUNS for scale in SCALES for profile in PROFILES for one in arms(size, scale, profile)),
    comparisons=tuple(
        Comparison((profile, name(method, scale, size)), (profile, name(other, reference, size)))
        for size in RUNS
        for profile in PROFILES
        for method, scale, other, reference in (
            *((method, scale, other, scale) for method, other in REFERENCES.items() for scale in SCALES),
            *((NAIVE, scale, NAIVE, 1.0) for scale in SCALES if scale != 1.0),
            *((method, 1.0, other, 0.0) for method, other in REFERENCES.items()),
        )
    ),
    levels=LEVELS,
)

if __name__ == "__main__":
    study.main(STUDY, __doc__)
