"""Study K: every execute horizon with every constant delay, where s = max(d, 1) would confound the two."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from rtc.control.controller import ExecutionConfig
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.programs import study as study_program
from rtc.report import figures
from rtc.study.study import Comparison, Outcome, Study, arm

DELAYS = (0, 1, 2, 3, 4, 6)
HORIZONS = (1, 2, 4, 6, 8)
METHODS = ("naive", "realtime")
CHUNK = 8


def key(method: str, delay: int, horizon: int) -> tuple[str, str]:
    """Name of an arm."""
    return f"d{delay}", f"{method}+s{horizon}"


def starves(delay: int, horizon: int) -> bool:
    """Whether the old chunk ends before the new one arrives: max(s, d) + d' > H, with d' = d here."""
    return max(horizon, delay) + delay > CHUNK


STUDY = Study(
    name="study_grid",
    title="Study K: execute horizon and delay",
    title_zh="研究 K：执行步长与延迟",
    question="With s = max(d, 1), as in the published curve, a longer delay also means fewer queries. What do "
    "delay and execute horizon do by themselves, and where does realtime help? Constant delays that the "
    "controller knows.",
    question_zh="按已发表曲线的 s = max(d, 1)，延迟越长查询也越少。延迟和执行步长各自的作用是什么？"
    "realtime 在哪里有帮助？延迟恒定且控制器已知。",
    arms=tuple(
        arm(
            f"d{delay}",
            method,
            key(method, delay, horizon)[1],
            delay=DelayProfileConfig(fixed_delay=delay),
            estimator=EstimatorConfig("oracle"),
            execution=ExecutionConfig(execute_horizon=horizon),
        )
        for method in METHODS
        for horizon in HORIZONS
        for delay in DELAYS
        if horizon >= delay  # a shorter one would be stretched to the delay
    ),
    comparisons=tuple(
        Comparison(key("realtime", delay, horizon), key("naive", delay, horizon))
        for delay in DELAYS
        for horizon in HORIZONS
        if 0 < delay <= horizon and not starves(delay, horizon)
    ),
)


def draw(study: Study, outcome: Outcome) -> dict[str, Figure]:
    """One map per method: delays down, horizons across; crosses where ticks starve."""
    with matplotlib.rc_context(figures.STYLE):
        figure, axes = figures.subplots(1, len(METHODS), (1.2 + 3.6 * len(METHODS), 3.6), sharey=True)
        for ax, method in zip(axes[0], METHODS, strict=True):
            table = np.full((len(DELAYS), len(HORIZONS)), np.nan)
            for row, delay in enumerate(DELAYS):
                for column, horizon in enumerate(HORIZONS):
                    if outcome.complete(key(method, delay, horizon)):
                        value = 100 * outcome.mean(key(method, delay, horizon), study.primary).value
                        table[row, column] = value
                        text = f"{value:.0f}" + (" \N{MULTIPLICATION SIGN}" if starves(delay, horizon) else "")
                        ax.text(column, row, text, ha="center", va="center", color="white" if value < 60 else "black")
            ax.imshow(table, vmin=0, vmax=100, cmap="cividis", aspect="auto")
            ax.set_title(f"{method}, episodes solved (%)", fontweight="bold")
            ax.set_xticks(range(len(HORIZONS)), HORIZONS)
            ax.set_yticks(range(len(DELAYS)), DELAYS)
            ax.set_xlabel("execute horizon s (ticks)")
        axes[0, 0].set_ylabel("delay d (ticks)")
    return {"grid": figure}


if __name__ == "__main__":
    study_program.main(STUDY, __doc__, draw)
