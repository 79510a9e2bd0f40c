"""Which of two right answers an episode takes, and whether it changes its mind on the way.

Answers are two places, such as two equal bowls; what moves between them is a hand, say. Positions are measured along
the line through the answers: -1 at answer 0, 0 in the middle, 1 at answer 1.
"""

import itertools
from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Float

NONE = -1
# How far from the middle a movement can still be meant for either answer.
MIDDLE = 0.4
# What of an action's largest value along the line is no hesitation; action noise has a standard deviation of 0.1.
FIRM = 0.5
# Columns of a cell's episodes: the answer that was reached at last; the one that the first firm command in the middle
# led to (both -1 for none); how often such commands changed to the other one; where on the line the decision fell.
ANSWER, FIRST, SWITCHES, PLACE = "mode", "mode_first", "mode_switches", "mode_place"
COLUMNS = (ANSWER, FIRST, SWITCHES, PLACE)
# Columns of a cell: share of answer 1 among the episodes that reached one, mean number of switches, and share of
# episodes with one at least.
SECOND, MEAN_SWITCHES, SWITCHED = "mode_second", "mode_switches", "mode_switched"

Place = Float[np.ndarray, " d"]


def place(point: Place, answers: Float[np.ndarray, "2 d"]) -> float:
    """Position along the line through the answers."""
    way = answers[1] - answers[0]
    return float(2 * (point - answers.mean(0)) @ way / (way @ way))


def heading(at: float, command: Place, answers: Float[np.ndarray, "2 d"]) -> int:
    """The answer that a command leads to, or NONE where it is not firm or one answer is much nearer.

    Args:
        at: position along the line of what is moved.
        command: the commanded movement, 1 for the largest one.
        answers: the two places.
    """
    way = answers[1] - answers[0]
    firmness = float(command @ way) / float(np.linalg.norm(way))
    return int(firmness > 0) if abs(at) <= MIDDLE and abs(firmness) >= FIRM else NONE


def noted(headings: Iterable[int], answer: int, decided: float) -> dict[str, float]:
    """An episode's columns.

    Args:
        headings: of its ticks (`heading`).
        answer: the answer that it reached, or NONE.
        decided: position along the line where it decided; NaN where it never did.
    """
    firm = [one for one in headings if one != NONE]
    changes = sum(one != other for one, other in itertools.pairwise(firm))
    return {ANSWER: answer, FIRST: firm[0] if firm else NONE, SWITCHES: changes, PLACE: decided}


def summary(columns: Mapping[str, Float[np.ndarray, " n"]]) -> dict[str, float]:
    """A cell's columns from those of its episodes."""
    answered = columns[ANSWER][columns[ANSWER] != NONE]
    changes = columns[SWITCHES]
    return {
        SECOND: float(answered.mean()) if answered.size else float("nan"),
        MEAN_SWITCHES: float(changes.mean()),
        SWITCHED: float((changes > 0).mean()),
    }
