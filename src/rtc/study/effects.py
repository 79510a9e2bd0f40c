"""Effects of factors on a difference: main effects and interactions of a design with two settings per factor."""

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float

from rtc.study.outcome import Outcome
from rtc.study.questions import Effects


def contrasts(effects: Effects) -> Iterator[tuple[str, Float[np.ndarray, " p"]]]:
    """Names and weights of the effects over the design's points; the first is the mean of all.

    An effect is the mean of the points that it takes less that of those that it takes them against, see
    `Effects.signs`.
    """
    yield "mean", np.full(len(effects.points), 1 / len(effects.points))
    for name, sign in effects.signs():
        yield name, np.where(sign > 0, 1 / (sign > 0).sum(), -1 / (sign < 0).sum())


def of_level(outcome: Outcome, effects: Effects, metric: str, level: str) -> Mapping[str, Float[np.ndarray, " n"]]:
    """Each effect, in every episode of a level: all points have the same episodes."""
    values = np.stack([outcome.pairs(comparison, metric, level) for _, comparison in effects.points])
    return {name: weights @ values for name, weights in contrasts(effects)}
