"""Study H: methods that know the true delay against methods that estimate it."""

from rtc import study_program
from rtc.estimators import EstimatorConfig
from rtc.study import Comparison, Study, arm

PROFILES = ("no_delay", "long_tail", "burst", "heavy")
METHODS = ("realtime", "trained_prefix")
ESTIMATORS = {
    "oracle": EstimatorConfig("oracle"),
    "window_max": EstimatorConfig("window_max"),
    "quantile": EstimatorConfig("quantile", q=0.8),
    "ewma": EstimatorConfig("ewma"),
    "fixed_1": EstimatorConfig("fixed", delay=1),
}

STUDY = Study(
    name="study_estimators",
    title="Study H: known against estimated delay",
    title_zh="研究 H：已知延迟与估计延迟",
    question="How much do methods that plan with a delay lose when they have to estimate it? oracle: the true delay of "
    "each query; window_max: the largest of the last 10; quantile: their 80 % quantile; ewma: smoothed mean plus 4 "
    "mean deviations; fixed_1: always 1 tick.",
    question_zh="按延迟规划的方法在必须估计延迟时损失多少？oracle：每次查询的真实延迟；window_max：最近 10 次的最大值；"
    "quantile：其 80 % 分位数；ewma：平滑均值加 4 倍平均偏差；fixed_1：恒为 1 个周期。",
    arms=tuple(
        arm(profile, method, f"{method}+{name}", estimator=estimator)
        for method in METHODS
        for name, estimator in ESTIMATORS.items()
        for profile in PROFILES
    ),
    comparisons=tuple(
        Comparison((profile, f"{method}+{name}"), (profile, f"{method}+oracle"))
        for profile in PROFILES[1:]
        for method in METHODS
        for name in ESTIMATORS
        if name != "oracle"
    ),
)

if __name__ == "__main__":
    study_program.main(STUDY, __doc__)
