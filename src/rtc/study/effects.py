"""Effects of factors on a difference: main effects and interactions of a design with two settings per factor."""

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float

from rtc.study.outcome import Outcome
from rtc.study.study import Effects


def contrasts(effects: Effects) -> Iterator[tuple[str, Float[np.ndarray, " p"]]]:
    """Names and weights of the effects over the design's points; the first is the mean of all.

    A main effect is the mean of the points with a factor's second setting less that of those with the first. An
    interaction is the same for the points where both factors have their first or both their second setting, against
    those where they have not. A setting's order is that of its first appearance.
    """
    signs = {}
    for number, factor in enumerate(effects.factors):
        column = [settings[number] for settings, _ in effects.points]
        signs[factor] = np.where([setting == column[0] for setting in column], -1.0, 1.0)
    yield "mean", np.full(len(effects.points), 1 / len(effects.points))
    for factor, sign in signs.items():
        first, second = dict.fromkeys(settings[effects.factors.index(factor)] for settings, _ in effects.points)
        yield f"{factor}: {second} - {first}", _weights(sign)
    for one, other in effects.interactions:
        yield f"{one} x {other}", _weights(signs[one] * signs[other])


def _weights(sign: Float[np.ndarray, " p"]) -> Float[np.ndarray, " p"]:
    return np.where(sign > 0, 1 / (sign > 0).sum(), -1 / (sign < 0).sum())


def of_level(outcome: Outcome, effects: Effects, metric: str, level: str) -> Mapping[str, Float[np.ndarray, " n"]]:
    """Each effect, in every episode of a level: all points have the same episodes."""
    values = np.stack([outcome.pairs(comparison, metric, level) for _, comparison in effects.points])
    return {name: weights @ values for name, weights in contrasts(effects)}
