"""Study H: methods that know the true delay against methods that estimate it."""

from rtc.delay import profiles
from rtc.delay.estimators import EstimatorConfig
from rtc.programs import study
from rtc.study.study import Comparison, Study, arm, starting_at_median

PROFILES = ("no_delay", "long_tail", "burst", "heavy")
METHODS = ("realtime", "trained_prefix")
ESTIMATORS = {
    "oracle": EstimatorConfig("oracle"),
    "window_max": EstimatorConfig("window_max"),
    "quantile": EstimatorConfig("quantile", q=0.8),
    "ewma": EstimatorConfig("ewma"),
    "fixed_1": EstimatorConfig("fixed", delay=1),
}
START_AT_1 = "window_max+start1"


def estimators(profile: str) -> dict[str, EstimatorConfig]:
    """The estimators under a profile: where it makes a difference, also one that starts from 1 tick."""
    found = {name: starting_at_median(profiles.profile(profile), config) for name, config in ESTIMATORS.items()}
    default = EstimatorConfig("window_max")
    return found | ({START_AT_1: default} if found["window_max"] != default else {})


STUDY = Study(
    name="study_estimators",
    title="Study H: known against estimated delay",
    title_zh="研究 H：已知延迟与估计延迟",
    question="How much do methods that plan with a delay lose when they have to estimate it? oracle: the true delay of "
    "each query (trained_prefix has learned prefixes of at most 4 ticks and plans no longer ones); window_max: the "
    "largest of the last 10; quantile: their 80 % quantile; ewma: smoothed mean plus 4 mean deviations; fixed_1: "
    "always 1 tick. They start from the median delay; window_max+start1 starts from 1, the default elsewhere.",
    question_zh="按延迟规划的方法在必须估计延迟时损失多少？oracle：每次查询的真实延迟"
    "（trained_prefix 学过的前缀最长为 4 个周期，不会按更长的规划）；window_max：最近 10 次的最大值；"
    "quantile：其 80 % 分位数；ewma：平滑均值加 4 倍平均偏差；fixed_1：恒为 1 个周期。初值为延迟的中位数；"
    "window_max+start1 的初值为 1，即别处的默认值。",
    arms=tuple(
        arm(profile, method, f"{method}+{name}", estimator=estimator)
        for method in METHODS
        for profile in PROFILES
        for name, estimator in estimators(profile).items()
    ),
    comparisons=tuple(
        Comparison((profile, f"{method}+{name}"), (profile, f"{method}+oracle"))
        for profile in PROFILES[1:]
        for method in METHODS
        for name in estimators(profile)
        if name != "oracle"
    ),
)

if __name__ == "__main__":
    study.main(STUDY, __doc__)
