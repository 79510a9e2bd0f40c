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
from rtc.study.evaluation import EvalConfig
from rtc.study.protocols import layouts
from rtc.study.study import Arm, Comparison, Study
from rtc.worlds.kinetix.levels import LEVEL_NAMES

NAIVE, REALTIME = "naive", "realtime"
# Means over the 12 levels at d = 0 ... 4, s = max(d, 1), in arXiv 2509.23224, table 4.
PUBLISHED: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {NAIVE: (0.908, 0.781, 0.757, 0.593, 0.512), REALTIME: (0.909, 0.882, 0.841, 0.748, 0.629)}
)


@dataclasses.dataclass(frozen=True, order=True)
class Point:
    """A delay d and an execute horizon s, in control ticks."""

    delay: int
    horizon: int

    @property
    def profile(self) -> str:
        return f"d{self.delay}_s{self.horizon}"


def curve(delays: Iterable[int], chunk_size: int) -> list[Point]:
    """The points s = max(d, 1) of the published curve.

    Raises:
        ValueError: a delay that is negative, or so long that a chunk ends before the next one is there.
    """
    points = [Point(delay, max(delay, 1)) for delay in delays]
    for point in points:
        require_int("delays", point.delay, low=0, high=chunk_size // 2)
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
) -> Study:
    """The sweep.

    Args:
        methods: execution methods on the curve.
        grid_methods: those of them that are evaluated at every s from max(d, 1) to H - d, too.
        delays: delays d, constant and known to the controller.
        chunk_size: H of the policies.
        base: what all arms have in common.
        levels: names of levels.
    """
    line, plane = curve(delays, chunk_size), grid(delays, chunk_size)
    found = [
        one
        for method in methods
        for one in arms((method,), sorted({*line, *plane} if method in grid_methods else line), base)
    ]
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
        question="",
        question_zh="",
        arms=tuple(found),
        comparisons=comparisons,
        levels=tuple(levels),
        num_evals=2048,
        figures=(),
        sections=layouts.curve(
            [point.profile for point in line], [point.profile for point in plane] if grid_methods else ()
        ),
        published=PUBLISHED,
    )
