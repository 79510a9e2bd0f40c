"""Study L: how much of each method's gain is less sampling noise, for chunks of 4 and of 8."""

from rtc import methods, study_program
from rtc.methods import MethodOptions
from rtc.study import PREFIX_RUN, RUN, Comparison, Study, arm

PROFILES = ("no_delay", "long_tail", "heavy")
METHODS = ("naive", "realtime", "temporal_ensemble", "trained_prefix")
SCALES = (0.0, 0.5, 1.0)
LEVELS = ("grasp_easy", "hard_lunar_lander", "catcher_v3", "mjc_walker")
RUNS = {8: (RUN, PREFIX_RUN), 4: ("logs-bc/h4", "logs-bc/h4_prefix")}


def name(method: str, scale: float, size: int) -> str:
    """Label of an arm."""
    return f"{method}+noise{scale:g}+H{size}"


STUDY = Study(
    name="study_noise",
    title="Study L: guidance or less noise?",
    title_zh="研究 L：是引导的作用，还是噪声更小？",
    question="The initial noise of the flow has standard deviation 0, 0.5 or 1. How much does each method gain over "
    "naive execution at the same noise, and how much does naive execution gain from less noise alone?",
    question_zh="流的初始噪声标准差取 0、0.5 或 1。在相同噪声下，各方法比朴素执行好多少？"
    "仅靠减小噪声，朴素执行能提高多少？",
    arms=tuple(
        arm(
            profile,
            method,
            name(method, scale, size),
            method_options=MethodOptions(noise_scale=scale),
            run_path=methods.run_for(method, *RUNS[size]),
        )
        for size in RUNS
        for method in METHODS
        for scale in SCALES
        for profile in PROFILES
    ),
    comparisons=tuple(
        Comparison((profile, name(method, scale, size)), (profile, name("naive", reference, size)))
        for size in RUNS
        for profile in PROFILES
        for method, scale, reference in (
            *((method, scale, scale) for method in METHODS if method != "naive" for scale in SCALES),
            *(("naive", scale, 1.0) for scale in SCALES if scale != 1.0),
            ("realtime", 1.0, 0.0),
        )
    ),
    levels=LEVELS,
)

if __name__ == "__main__":
    study_program.main(STUDY, __doc__)
