"""The map of delays and execute horizons: which arms share a panel."""

from types import SimpleNamespace

from rtc.control.controller import ExecutionConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.methods import MethodOptions
from rtc.report.figures import grid
from rtc.study.study import arm

WEIGHTS, HORIZONS = (5.0, 1.0), (1, 2)
ARMS = [
    arm(
        "d1",
        "realtime",
        f"realtime+{weight:g}+s{s}",
        delay=DelayProfileConfig(mode="fixed", fixed_delay=1),
        execution=ExecutionConfig(execute_horizon=s),
        method_options=MethodOptions(max_guidance_weight=weight),
    )
    for weight in WEIGHTS
    for s in HORIZONS
]
RATES = {one.key: number / 4 for number, one in enumerate(ARMS)}


def drawn(arms):
    study = SimpleNamespace(arms=arms, primary="returned_episode_solved")
    outcome = SimpleNamespace(
        study=study,
        complete=lambda key: True,
        mean=lambda key, metric: SimpleNamespace(value=RATES[key]),
        cell_mean=lambda key, column: 0.0,
    )
    return grid.draw(study, outcome)


def test_a_method_with_two_settings_has_a_panel_for_each():
    axes = drawn(ARMS).axes
    titles = [ax.get_title(loc="left").partition(",")[0] for ax in axes]
    assert titles == ["realtime (realtime+5+s1)", "realtime (realtime+1+s1)"]
    assert [[text.get_text() for text in ax.texts] for ax in axes] == [["0", "25"], ["50", "75"]]


def test_a_method_with_one_horizon_per_delay_has_none():
    (one,) = drawn(ARMS[:2]).axes
    assert one.get_title(loc="left").startswith("realtime,")
    assert drawn(ARMS[::2]) is None
