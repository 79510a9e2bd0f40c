"""The pass/fail verdict on tail control."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rtc.delay.profiles import DelayProfileConfig
from rtc.study import statistics
from rtc.study.outcome import Outcome
from rtc.study.questions import ArmKey
from rtc.study.statistics import SOLVED, Interval

# A policy whose zero-delay solve rate is surely below this cannot show what delay costs.
MIN_BASELINE_SOLVED = 0.05
# Fewer episodes per profile are not judged.
MIN_EPISODES = 100
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
        by_construction: the two profiles allow nothing else, whatever policy and method do: no evidence.
    """

    name: str
    reference: float
    candidate: float
    limit: float
    passed: bool
    by_construction: bool = False


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
        """All checks hold that could have failed, there is one, and the data allow the conclusion."""
        open_ones = [check for check in self.checks if not check.by_construction]
        return self.conclusive and bool(open_ones) and all(check.passed for check in open_ones)


@dataclass(frozen=True)
class SeedMetrics:
    """One value per seed of a (profile, method) group, in seed order, and the number of its episodes."""

    d_p99: Sequence[float]
    p_violate: Sequence[float]
    solved: Sequence[float]
    episodes: int


def judge_tail_control(
    long_tail: SeedMetrics, controlled: SeedMetrics, baseline: Interval | None, *, capped: bool = False
) -> Verdict:
    """Judges tail control of the delay for one method.

    With means over seeds throughout:
        1. d_p99 falls: mean d_p99 is strictly lower under tail control (control ticks).
        2. p_violate falls: mean P(d > H - s) is strictly lower under tail control.
        3. The solve rate holds: mean(solved, controlled) >= mean(solved, long_tail) - std, where std is the
           sample standard deviation (ddof=1) of the per-seed solve rates under the long tail.

    Args:
        baseline: solve rate of the same policy at zero delay (Wilson interval); None if it was not measured.
        capped: tail control is a cap on the long tail's own delays, so that the first two checks cannot fail.

    Returns:
        The verdict. It is inconclusive without a baseline, with a baseline of about 0 (no episode solved, or
        an upper bound below 0.05: a policy that fails without delay shows nothing about delay), with fewer than two
        seeds, and with fewer than 100 episodes per profile.
    """
    spread = statistics.seed_std(long_tail.solved)
    solved_before, solved_after = float(np.mean(long_tail.solved)), float(np.mean(controlled.solved))
    floor = solved_before - spread
    checks = (
        _falls("d_p99 falls", long_tail.d_p99, controlled.d_p99, capped),
        _falls("p_violate falls", long_tail.p_violate, controlled.p_violate, capped),
        Check(
            name="solve rate does not fall by more than one standard deviation over seeds",
            reference=solved_before,
            candidate=solved_after,
            limit=floor,
            passed=bool(solved_after >= floor - _ROUNDING),
        ),
    )
    episodes = min(long_tail.episodes, controlled.episodes)
    reason = _why_inconclusive(baseline, seeds=len(long_tail.solved), episodes=episodes)
    return Verdict(checks, conclusive=not reason, reason=reason)


def _falls(name: str, reference: Sequence[float], candidate: Sequence[float], capped: bool) -> Check:
    before, after = float(np.mean(reference)), float(np.mean(candidate))
    passed = bool(after < before - _ROUNDING)
    return Check(name, before, after, limit=before, passed=passed, by_construction=capped and passed)


def _why_inconclusive(baseline: Interval | None, seeds: int, episodes: int) -> str:
    if baseline is None:
        return "the zero-delay baseline is missing, so it is unknown whether the policy works without delay"
    if baseline.value == 0 or baseline.high < MIN_BASELINE_SOLVED:
        return (
            f"the policy solves {baseline.value:.1%} of the episodes at zero delay "
            f"(95 % upper bound {baseline.high:.1%}), so its failures say nothing about delay"
        )
    if seeds < 2:
        return "the standard deviation over seeds needs at least two seeds"
    if episodes < MIN_EPISODES:
        return f"{episodes} episodes per profile are too few: at least {MIN_EPISODES} are judged"
    return ""


def judge(outcome: Outcome, candidate: ArmKey, reference: ArmKey) -> Verdict:
    """The verdict on an arm whose tail is controlled against the one whose is not; see `judge_tail_control`.

    Raises:
        ValueError: one of them has no cells.
    """

    def metrics(key: ArmKey) -> SeedMetrics:
        cells = outcome.group(key)
        if not cells:
            raise ValueError(f"there are no cells {'/'.join(key)}: the verdict needs {candidate} and {reference}")
        values = ([cell.result[name] for cell in cells] for name in ("d_p99", "p_violate", SOLVED))
        return SeedMetrics(*values, episodes=sum(len(cell.episodes) for cell in cells))

    key = outcome.study.baseline
    baseline = statistics.solve_rate(outcome.group(key)) if key and outcome.complete(key) else None
    capped = _caps(*(outcome.study.arm(key).config.delay_profile for key in (candidate, reference)))
    return judge_tail_control(metrics(reference), metrics(candidate), baseline, capped=capped)


def _caps(candidate: DelayProfileConfig, reference: DelayProfileConfig) -> bool:
    """Whether the first profile is the second with a cap on its delays."""
    cap = candidate.tail_cap
    return cap is not None and reference.tail_cap is None and candidate == dataclasses.replace(reference, tail_cap=cap)
