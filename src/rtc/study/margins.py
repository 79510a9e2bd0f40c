"""Equivalence and non-inferiority: what a paired difference says about a margin that was stated before the run."""

from collections.abc import Sequence
from dataclasses import dataclass

from rtc.shared.validation import require_positive
from rtc.study.pairs import score_test
from rtc.study.statistics import CONFIDENCE, Interval, Vector

# Two one-sided tests at the level α use the two-sided interval at 1 - 2α.
TWO_ONE_SIDED = 1 - 2 * (1 - CONFIDENCE)


@dataclass(frozen=True)
class MarginFinding:
    """A difference against a margin.

    Attributes:
        margin: the largest difference that does not matter, in the difference's unit.
        interval: of the difference, 95 %.
        inner: its 90 % interval, of which either end is a one-sided test at 5 %.

    Raises:
        ValueError: the margin is not positive, or the inner interval is not within the other one.
    """

    margin: float
    interval: Interval
    inner: Interval

    def __post_init__(self) -> None:
        require_positive("margin", self.margin, "the largest difference that does not matter")
        if not self.interval.low <= self.inner.low <= self.inner.high <= self.interval.high:
            raise ValueError(f"inner={self.inner} must lie within interval={self.interval}: give 90 % and 95 %")

    @property
    def differs(self) -> bool:
        """The 95 % interval excludes 0."""
        return self.interval.excludes_zero

    @property
    def equivalent(self) -> bool:
        """Two one-sided tests exclude differences of the margin or more, up and down (Schuirmann 1987)."""
        return -self.margin < self.inner.low and self.inner.high < self.margin

    def non_inferior(self, *, higher_is_better: bool = True) -> bool:
        """A one-sided test excludes that the candidate is worse by the margin or more. Equivalence implies it."""
        return -self.margin < self.inner.low if higher_is_better else self.inner.high < self.margin

    def describe(self, scale: float = 1.0, unit: str = "") -> str:
        """What may be said, in words; of a difference that is there but small, both.

        Args:
            scale: by which the margin is printed: 100 for percentage points.
            unit: stands behind it.
        """
        size = f"{scale * self.margin:g} {unit}".strip()
        if self.differs:
            return f"differs by less than {size}" if self.equivalent else "differs"
        return f"equivalent within {size}" if self.equivalent else "not told apart"


def judge_margin(levels: Sequence[Vector], margin: float, bound: float = 1.0) -> MarginFinding:
    """Paired differences of solved episodes, in the mean over levels, against a margin.

    Args:
        levels, bound: as of `pairs.score_test`.
        margin: in shares: 0.02 for two percentage points.

    Raises:
        ValueError: as `pairs.score_test`, or the margin is not positive.
    """
    interval, inner = (score_test(levels, bound, confidence).interval for confidence in (CONFIDENCE, TWO_ONE_SIDED))
    return MarginFinding(margin, interval, inner)
