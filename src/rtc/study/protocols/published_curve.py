"""The published delay curve: solve rate against a constant, known inference delay, over levels and methods.

The protocol is that of the simulated benchmark of Real-Time Chunking (arXiv 2506.07339, section 5.1): every query takes
d control ticks, the controller knows d, and s >= d actions are executed per query.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.methods import options_for
from rtc.shared.validation import require_int
from rtc.study import losses
from rtc.study.evaluation import EvalConfig
from rtc.study.protocols import layouts
from rtc.study.questions import Comparison
from rtc.study.study import Arm, Study
from rtc.worlds.kinetix.levels import LEVEL_NAMES

NAIVE, REALTIME = "naive", "realtime"
# Means over the 12 levels in percent, arXiv 2509.23224, table 4: by d = 0 ... 4 and s = max(d, 1) ... 8 - d.
_TABLE_4 = {
    NAIVE: """
        90.8 90.4 89.8 88.9 88.1 87.4 86.6 86.0
        78.1 83.7 82.6 80.9 78.5 77.4 75.7
        75.7 72.7 70.1 67.3 66.4
        59.3 59.5 56.5
        51.2""",
    REALTIME: """
        90.9 90.0 89.2 88.6 87.5 86.6 86.3 86.0
        88.2 87.5 86.3 84.8 83.1 81.1 80.2
        84.1 81.4 79.3 76.4 74.8
        74.8 71.0 67.5
        62.9""",
    "a2c2": """
        90.3 89.5 89.6 88.9 88.8 88.9 88.2 87.8
        89.5 88.8 88.4 88.3 87.9 87.3 87.8
        87.4 87.5 87.5 87.1 86.6
        87.4 87.2 86.0
        86.5""",
}

_QUESTION = """\
How many episodes does every execution method solve when each query takes d control ticks and the controller knows d, in
the protocol of the published benchmark?"""


@dataclasses.dataclass(frozen=True, order=True)
class Point:
    """A delay d and an execute horizon s, in control ticks."""

    delay: int
    horizon: int

    @property
    def profile(self) -> str:
        return f"d{self.delay}_s{self.horizon}"


def _rates(table: str) -> dict[str, float]:
    rows = table.split("\n")[1:]
    rates = {
        Point(d, max(d, 1) + i): float(text) / 100 for d, row in enumerate(rows) for i, text in enumerate(row.split())
    }
    return {point.profile: rate for point, rate in rates.items()}


# The same mean in arXiv 2512.01031, where the simulator predicts the robot; it gives the other delays as a figure.
_VLASH = MappingProxyType({Point(4, 4).profile: 0.817})
PUBLISHED: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {method: MappingProxyType(_rates(table)) for method, table in _TABLE_4.items()}
    | {"vlash": _VLASH, "vlash_simulator": _VLASH}
)


def curve(delays: Iterable[int], chunk_size: int) -> list[Point]:
    """The points s = max(d, 1) of the published curve.

    From d > H/2 on, a chunk of length H ends before the next one is there, unless it was planned ahead.

    Raises:
        ValueError: a delay that is negative, or longer than a chunk.
    """
    points = [Point(delay, max(delay, 1)) for delay in delays]
    for point in points:
        require_int("delays", point.delay, low=0, high=chunk_size)
    return points


def grid(delays: Iterable[int], chunk_size: int) -> list[Point]:
    """All points at which every tick has an action of its own: max(d, 1) <= s <= H - d."""
    starts = curve(delays, chunk_size)
    return [Point(p.delay, s) for p in starts for s in range(p.horizon, chunk_size - p.delay + 1)]


def arms(methods: Sequence[str], points: Sequence[Point], base: EvalConfig) -> list[Arm]:
    """An arm per method and point, those of one method after each other; each method gets the options that it reads.

    Raises:
        ValueError: an option that none of the methods reads.
    """
    options = options_for(methods, base.method_options)
    return [
        Arm(
            point.profile,
            method,
            dataclasses.replace(
                base,
                method=method,
                method_options=options[method],
                delay_profile=DelayProfileConfig(mode="fixed", fixed_delay=point.delay),
                estimator=EstimatorConfig(kind="oracle"),
                execution=dataclasses.replace(base.execution, execute_horizon=point.horizon),
            ),
        )
        for method in methods
        for point in points
    ]


def study(
    methods: Sequence[str],
    grid_methods: Sequence[str],
    delays: Sequence[int],
    chunk_size: int,
    base: EvalConfig,
    levels: Sequence[str] = LEVEL_NAMES,
    left_out: Sequence[str] = (),
) -> Study:
    """The sweep.

    Args:
        methods: execution methods on the curve.
        grid_methods: those of them that are evaluated at every s from max(d, 1) to H - d, too.
        delays: delays d, constant and known to the controller.
        chunk_size: H of the policies.
        base: what all arms have in common.
        levels: names of levels.
        left_out: measures of single episodes that are not kept.
    """
    line, plane = curve(delays, chunk_size), grid(delays, chunk_size)
    divided = losses.NAIVE in methods and losses.FORESIGHT in methods
    # Without delay at every s of the line: what the horizon alone costs.
    at_once = [Point(0, point.horizon) for point in line] if divided else []
    points = {
        method: {*line, *(plane if method in grid_methods else ()), *(at_once if method == losses.NAIVE else ())}
        for method in methods
    }
    found = [one for method in methods for one in arms((method,), sorted(points[method]), base)]
    comparisons = tuple(
        Comparison((point.profile, method), (point.profile, NAIVE))
        for method in methods
        for point in line
        if method != NAIVE and NAIVE in methods and point.delay
    )
    return Study(
        name="delay_sweep",
        title="Solve rate against a constant inference delay",
        title_zh="成功率与恒定推理延迟",
        question=_QUESTION,
        question_zh="",
        arms=tuple(found),
        comparisons=comparisons,
        levels=tuple(levels),
        figures=(),
        sections=layouts.curve(
            [point.profile for point in line], [point.profile for point in plane], grid_methods, divided
        ),
        published={method: rates for method, rates in PUBLISHED.items() if method in methods},
        left_out=tuple(left_out),
    )
