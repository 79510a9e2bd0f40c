"""Arms in the order of what they solve, which of them are tied with the best, and the cheapest of those."""

from collections.abc import Sequence
from dataclasses import dataclass

from rtc import methods
from rtc.study.outcome import Outcome
from rtc.study.questions import ArmKey, Comparison
from rtc.study.statistics import SOLVED, Interval
from rtc.study.study import Arm

COST = "flow_evals_per_tick"


@dataclass(frozen=True)
class Ranked:
    """An arm and where it stands.

    Attributes:
        arm: the arm.
        solved: share of episodes solved, in the mean over levels.
        behind: the same minus that of the best arm, paired by episode.
        tied: the interval of that difference holds 0; the best arm is tied with itself.
        cost: network evaluations per control tick of the benchmark.
    """

    arm: Arm
    solved: Interval
    behind: Interval
    tied: bool
    cost: float

    @property
    def key(self) -> ArmKey:
        return self.arm.key


def rank(outcome: Outcome, keys: Sequence[ArmKey]) -> list[Ranked]:
    """The arms from best to worst; those of equal solve rate by their cost.

    Raises:
        ValueError: there are none, or some lack cells.
    """
    if not keys or not outcome.complete(*keys):
        raise ValueError(f"of {len(keys)} arms none can be ranked, or some are incomplete: run the study again")
    solved = {key: outcome.mean(key, SOLVED) for key in keys}
    cost = {key: outcome.cell_mean(key, COST) for key in keys}
    order = sorted(keys, key=lambda key: (-solved[key].value, cost[key]))
    best, ranked = order[0], []
    for key in order:
        itself = key == best
        behind = Interval(0.0, 0.0, 0.0) if itself else outcome.difference(Comparison(key, best), SOLVED).interval
        tied = itself or not behind.excludes_zero
        ranked.append(Ranked(outcome.study.arm(key), solved[key], behind, tied, cost[key]))
    return ranked


def eligible(one: Arm) -> bool:
    """Whether a robot could run the arm: its method does not look into the simulator, nor know delays in advance."""
    method = methods.make(one.config.method)
    return not method.privileged and not method.knows_delays and one.config.estimator.kind != "oracle"


def cheapest_of_tied(ranked: Sequence[Ranked]) -> Ranked:
    """Of the arms that are tied with the best the one of least cost; of equal cost the one that solves more."""
    return min((one for one in ranked if one.tied), key=lambda one: (round(one.cost, 6), -one.solved.value))


def best_of_each_method(ranked: Sequence[Ranked]) -> list[Ranked]:
    """The first arm of every method, in the order of the ranking."""
    found: dict[str, Ranked] = {}
    for one in ranked:
        found.setdefault(one.arm.config.method, one)
    return list(found.values())


def without_level(outcome: Outcome, level: str) -> Outcome:
    """The outcome as if a level had not been run."""
    return Outcome(outcome.study, {key: cells for key, cells in outcome.cells.items() if key[0] != level})
