"""What a method loses because it has to estimate the delay: regret against being told it, over quantile and window."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from rtc.delay.estimators import EstimatorConfig
from rtc.study import layout, statistics
from rtc.study.outcome import Outcome
from rtc.study.questions import ArmKey, Comparison
from rtc.study.statistics import Interval
from rtc.study.study import Arm, Study

ORACLE = EstimatorConfig("oracle")
LARGEST = 1.0  # the quantile that `window_max` takes


@dataclass(frozen=True)
class Point:
    """An arm on the curve of its method.

    Attributes:
        method: execution method.
        settings: all that it has besides profile, quantile and window, to tell curves of one method apart.
        quantile: q of its estimator.
        window: how many delays that is a quantile of.
        key: the arm.
        oracle: the same with the true delay of every query.
    """

    method: str
    settings: Hashable
    quantile: float
    window: int
    key: ArmKey
    oracle: ArmKey

    @property
    def regret(self) -> Comparison:
        """What the oracle solves more."""
        return Comparison(self.oracle, self.key)


def points(study: Study) -> list[Point]:
    """The arms that plan with a quantile of a window and that the study has with an oracle too, in its order."""
    told = {_conditions(one): one.key for one in study.arms if one.config.estimator == ORACLE}
    found = []
    for one in study.arms:
        settings = one.config.estimator.settings()
        if "window" in settings and (oracle := told.get(_conditions(one))) is not None:
            quantile, besides = settings.get("q", LARGEST), one.besides_delay(estimator=ORACLE)
            found.append(Point(one.config.method, besides, quantile, settings["window"], one.key, oracle))
    return found


def curves(chosen: Sequence[Point]) -> dict[str, list[Point]]:
    """Points that differ in profile, quantile and window only, each place taken once; by their method, and where a
    method has several curves by the first arm of each, too."""
    groups: dict[Hashable, list[Point]] = {}
    taken: Counter[Hashable] = Counter()
    for point in chosen:
        curve = (point.method, point.settings)
        place = (curve, point.key[0], point.window, point.quantile)
        groups.setdefault((curve, taken[place]), []).append(point)
        taken[place] += 1
    firsts = [points[0] for points in groups.values()]
    names = layout.told_apart([(first.method, first.key[1]) for first in firsts])
    return dict(zip(names, groups.values(), strict=True))


def _conditions(one: Arm) -> tuple[Hashable, ...]:
    """What an arm has besides its estimator."""
    return one.profile, one.config.delay_profile, one.besides_delay(estimator=ORACLE)


def over_profiles(outcome: Outcome, chosen: Sequence[Point], metric: str) -> Interval:
    """Mean regret of points that differ in their profile, each profile counting alike; means over the levels."""
    levels = [
        sum(outcome.pairs(point.regret, metric, level) for point in chosen) / len(chosen) for level in outcome.levels
    ]
    return statistics.mean_over_levels(levels)


def by_estimator(chosen: Sequence[Point]) -> Mapping[tuple[int, float], dict[str, Point]]:
    """The points of one curve: by window and quantile, those of every profile."""
    found: dict[tuple[int, float], dict[str, Point]] = {}
    for point in sorted(chosen, key=lambda point: (point.window, point.quantile)):
        found.setdefault((point.window, point.quantile), {})[point.key[0]] = point
    return found
