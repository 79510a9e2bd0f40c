"""What the page of advice is written from, and how its numbers and settings are put."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rtc import methods
from rtc.delay.logs import DelayLog, Description
from rtc.report import catalogue, insight
from rtc.report.advice.words import ESTIMATOR_TEXTS
from rtc.study import ranking
from rtc.study.advice import DEADLINE, LOG, UNPLANNED, Policies, Scale, Tails
from rtc.study.outcome import Outcome
from rtc.study.questions import ArmKey, Comparison
from rtc.study.ranking import Ranked
from rtc.study.statistics import SOLVED, Interval
from rtc.study.study import Arm
from rtc.study.transfer import Condition, Transfer


@dataclass(frozen=True)
class Advice:
    """All that the page is written from.

    Attributes:
        log, found: the log and its description.
        scale: how ticks of the robot became ticks of the benchmark.
        chosen: the policies that were asked.
        tail: what was compared with the log's delays.
        outcome: the finished cells.
        left_out: methods whose policies or networks are not there, or that broke down, and why.
        unfinished: methods for which there was no time.
        worlds: what the project's studies say of pairs of worlds, by their condition.
    """

    log: DelayLog
    found: Description
    scale: Scale
    chosen: Policies
    tail: Tails
    outcome: Outcome
    left_out: Mapping[str, str]
    unfinished: Sequence[str] = ()
    worlds: Sequence[tuple[Condition, Transfer]] = ()

    @functools.cached_property
    def ranked(self) -> list[Ranked]:
        """What a robot could run under this log, from best to worst."""
        return ranking.rank(self.outcome, candidates(self.outcome))

    @property
    def recommended(self) -> Ranked:
        return ranking.cheapest_of_tied(self.ranked)

    @property
    def untrained(self) -> Ranked | None:
        """What is recommended of the methods that need no training of their own; None where that is all the same."""
        if not self.needs_training(self.recommended.arm):
            return None
        plain = [one.key for one in self.ranked if not self.needs_training(one.arm)]
        return ranking.cheapest_of_tied(ranking.rank(self.outcome, plain)) if plain else None

    @property
    def rival(self) -> Ranked | None:
        """What the recommended one is held against: naive execution at its best; waiting where naive is recommended."""
        first = {one.arm.config.method: one for one in reversed(self.ranked) if one.arm.profile == LOG}
        return first.get("synchronous" if self.recommended.arm.config.method == "naive" else "naive")

    @staticmethod
    def needs_training(one: Arm) -> bool:
        return insight.OWN in insight.of(methods.make(one.config.method))

    def every(self, one: Arm) -> float:
        """Control ticks of the robot between two queries."""
        return self.scale.robot(one.config.execution.execute_horizon)

    def evaluations(self, one: Ranked) -> float:
        """Network evaluations per control tick of the robot."""
        return one.cost / self.scale.tick

    def queries(self, key: ArmKey) -> float:
        """Queries per second."""
        return self.scale.hz / (self.outcome.cell_mean(key, "mean_execute_horizon") * self.scale.tick)

    def difference(self, candidate: ArmKey, reference: ArmKey) -> Interval | None:
        """Of the solve rates, paired; None where an arm is not there."""
        if not self.outcome.complete(candidate, reference):
            return None
        return self.outcome.difference(Comparison(candidate, reference), SOLVED).interval


def candidates(outcome: Outcome) -> list[ArmKey]:
    """Arms that could be recommended: complete, possible on a robot, under the log as it is or with a deadline."""
    return [one.key for one in outcome.arms() if one.profile in (LOG, DEADLINE) and ranking.eligible(one)]


def points(interval: Interval) -> str:
    return catalogue.rate(interval, signed=True)


def named(advice: Advice, one: Arm) -> str:
    """An arm in words: method, horizon, what it plans for, deadline."""
    every = advice.every(one)
    words = f"`{one.config.method}`, a new query every {ticks(every)} ticks ({1000 * every / advice.scale.hz:.0f} ms)"
    if one.config.method not in UNPLANNED:
        words += f", planning for {ESTIMATOR_TEXTS[estimator(one)]}"
    if one.profile == DEADLINE:
        words += f", giving up on an answer after {deadline(advice):.0f} ms"
    return words


def estimator(one: Arm) -> str:
    return one.method.rpartition("+")[2]


def deadline(advice: Advice) -> float:
    return (advice.tail.deadline or 0) * advice.scale.tick * 1000 / advice.scale.hz


def planned(one: Arm) -> str:
    """What the arm plans for, as tables name it."""
    return "" if one.config.method in UNPLANNED else estimator(one)


def ticks(exact: float) -> str:
    """Control ticks, which scaling need not leave whole, with two decimals at most."""
    return f"{exact:.2f}".rstrip("0").rstrip(".")
