"""Where a method loses to a policy that sees and acts at once: the parts of its loss, which add up.

Of a method at a constant delay d and execute horizon s, less naive execution at d = 0, s = 1:

    horizon    naive execution without delay at the same s: actions that were planned up to s ticks before
    staleness  what chunks gain that are planned for the state at hand-over, as the simulator tells it, and begin there
               (`foresee_simulator` less the method); where chunks end before the next one is there, starvation is in it
    rest       what `foresee_simulator` still loses: jumps between chunks, and action noise that nobody foresees

A method that does better than foresight has a negative staleness.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from rtc.study.evaluation import EvalConfig
from rtc.study.outcome import Outcome
from rtc.study.questions import ArmKey
from rtc.study.study import Arm, Study

Vector = Float[np.ndarray, " n"]
NAIVE, FORESIGHT = "naive", "foresee_simulator"
TOTAL = "total"
PARTS = ("horizon", "staleness", "rest")


@dataclass(frozen=True)
class Reference:
    """The arms that the loss of an arm is divided by.

    Attributes:
        at_once: naive execution at d = 0, s = 1.
        horizon: the same at the arm's s.
        foresight: `foresee_simulator` at the arm's d and s.
    """

    at_once: ArmKey
    horizon: ArmKey
    foresight: ArmKey

    @property
    def keys(self) -> tuple[ArmKey, ...]:
        return self.at_once, self.horizon, self.foresight


def references(study: Study) -> dict[ArmKey, Reference]:
    """By arm at a constant delay, the arms that its loss is divided by, where the study has them."""
    # By delay, execute horizon, method and all else.
    at: dict[tuple[int, int, str, Any], list[ArmKey]] = {}
    for one in study.arms:
        if (place := _place(one)) is not None and one.method == one.config.method:
            at.setdefault((*place, one.method, _conditions(one)), []).append(one.key)
    found = {}
    for one in study.arms:
        place = _place(one)
        if place is None or place[0] == 0:
            continue
        delay, horizon = place
        wanted = (0, 1, NAIVE), (0, horizon, NAIVE), (delay, horizon, FORESIGHT)
        fitting = [at.get((*key, _conditions(one)), ()) for key in wanted]
        if all(len(keys) == 1 for keys in fitting):
            found[one.key] = Reference(*(keys[0] for keys in fitting))
    return found


def _place(one: Arm) -> tuple[int, int] | None:
    """An arm's constant delay and its execute horizon."""
    profile = one.config.delay_profile
    return (profile.fixed_delay or 0, one.config.execution.execute_horizon) if profile.mode == "fixed" else None


def _conditions(one: Arm) -> tuple[EvalConfig, str | None]:
    """What an arm has besides method, delay, estimator and execute horizon, and the run that it names."""
    plain = EvalConfig()
    execution = dataclasses.replace(one.config.execution, execute_horizon=1)
    same = {name: getattr(plain, name) for name in ("method", "method_options", "delay_profile", "estimator", "model")}
    return dataclasses.replace(one.config, execution=execution, **same), one.run_path


def of_level(outcome: Outcome, key: ArmKey, reference: Reference, metric: str, level: str) -> Mapping[str, Vector]:
    """The loss of every episode on one level, and its parts."""
    at_once, horizon, foresight = (outcome.episodes(level, one, metric) for one in reference.keys)
    own = outcome.episodes(level, key, metric)
    parts = (at_once - horizon, foresight - own, horizon - foresight)
    return {TOTAL: at_once - own, **dict(zip(PARTS, parts, strict=True))}
