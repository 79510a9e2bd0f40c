"""The pass/fail verdict on tail control."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rtc.study import statistics
from rtc.study.outcome import Outcome
from rtc.study.statistics import SOLVED, Interval
from rtc.study.study import ArmKey

# A policy whose zero-delay solve rate is surely below this cannot show what delay costs.
MIN_BASELINE_SOLVED = 0.05
# The largest difference of solve rates that does not matter, stated before the runs.
MARGIN = 0.02
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Check:
    """One line of a verdict: `candidate` is judged against `limit`.

    Attributes:
        name: what is claimed.
        reference: the value without tail control.
        candidate: the value with tail control.
        limit: the bound that `candidate` has to stay below (delay checks) or reach (solve rate).
    """

    name: str
    reference: float
    candidate: float
    limit: float
    passed: bool


@dataclass(frozen=True)
class Verdict:
    """Whether tail control helps: three checks, and whether the data allow a conclusion at all.

    Attributes:
        checks: d_p99 falls, p_violate falls, the solve rate holds.
        conclusive: False where the comparison must not be used.
        reason: why it is not conclusive; empty if it is.
    """

    checks: tuple[Check, Check, Check]
    conclusive: bool
    reason: str

    @property
    def passed(self) -> bool:
        """All checks hold and the data allow the conclusion."""
        return self.conclusive and all(check.passed for check in self.checks)


@dataclass(frozen=True)
class SeedMetrics:
    """One value per seed of a (profile, method) group, in seed order."""

    d_p99: Sequence[float]
    p_violate: Sequence[float]
    solved: Sequence[float]


def judge_tail_control(long_tail: SeedMetrics, controlled: SeedMetrics, baseline: Interval | None) -> Verdict:
    """Judges tail control of the delay for one method.

    With means over seeds throughout:
        1. d_p99 falls: mean d_p99 is strictly lower under tail control (control ticks).
        2. p_violate falls: mean P(d > H - s) is strictly lower under tail control.
        3. The solve rate holds: mean(solved, controlled) >= mean(solved, long_tail) - std, where std is the
           sample standard deviation (ddof=1) of the per-seed solve rates under the long tail.

    Args:
        baseline: solve rate of the same policy at zero delay (Wilson interval); None if it was not measured.

    Returns:
        The verdict. It is inconclusive without a baseline, with a baseline of about 0 (no episode solved, or
        an upper bound below 0.05: a policy that fails without delay shows nothing about delay), and with
        fewer than two seeds.
    """
    spread = statistics.seed_std(long_tail.solved)
    solved_before, solved_after = float(np.mean(long_tail.solved)), float(np.mean(controlled.solved))
    floor = solved_before - spread
    checks = (
        _falls("d_p99 falls", long_tail.d_p99, controlled.d_p99),
        _falls("p_violate falls", long_tail.p_violate, controlled.p_violate),
        Check(
            name="solve rate does not fall by more than one standard deviation over seeds",
            reference=solved_before,
            candidate=solved_after,
            limit=floor,
            passed=bool(solved_after >= floor - _ROUNDING),
        ),
    )
    reason = _why_inconclusive(baseline, seeds=len(long_tail.solved))
    return Verdict(checks, conclusive=not reason, reason=reason)


def _falls(name: str, reference: Sequence[float], candidate: Sequence[float]) -> Check:
    before, after = float(np.mean(reference)), float(np.mean(candidate))
    return Check(name, before, after, limit=before, passed=bool(after < before - _ROUNDING))


def _why_inconclusive(baseline: Interval | None, seeds: int) -> str:
    if baseline is None:
        return "the zero-delay baseline is missing, so it is unknown whether the policy works without delay"
    if baseline.value == 0 or baseline.high < MIN_BASELINE_SOLVED:
        return (
            f"the policy solves {baseline.value:.1%} of the episodes at zero delay "
            f"(95 % upper bound {baseline.high:.1%}), so its failures say nothing about delay"
        )
    if seeds < 2:
        return "the standard deviation over seeds needs at least two seeds"
    return ""


def judge(outcome: Outcome, candidate: ArmKey, reference: ArmKey) -> Verdict:
    """The verdict on an arm whose tail is controlled against the one whose is not; see `judge_tail_control`.

    Raises:
        ValueError: one of them has no cells.
    """

    def metrics(key: ArmKey) -> SeedMetrics:
        rows = [cell.result for cell in outcome.group(key)]
        if not rows:
            raise ValueError(f"there are no cells {'/'.join(key)}: the verdict needs {candidate} and {reference}")
        return SeedMetrics(*([row[name] for row in rows] for name in ("d_p99", "p_violate", SOLVED)))

    key = outcome.study.baseline
    baseline = statistics.solve_rate(outcome.group(key)) if key and outcome.complete(key) else None
    return judge_tail_control(metrics(reference), metrics(candidate), baseline)
