"""Levels with two routes to the goal, one to either side of an obstacle: which one a ball takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from rtc.worlds import modes


@dataclass(frozen=True)
class Routes:
    """Two routes, left and right: answers 0 and 1.

    Attributes:
        ball: number of the circle that takes them.
        left, right: x in m where each passes the obstacle.
        front: y in m at which the ball has decided, on its way up.
        push_left, push_right: numbers of the actions, in 0…1, that push it.
    """

    ball: int
    left: float
    right: float
    front: float
    push_left: int
    push_right: int

    @property
    def answers(self) -> Float[np.ndarray, "2 1"]:
        """The places of the answers."""
        return np.array([[self.left], [self.right]])


# By name of the level.
ROUTES: Mapping[str, Routes] = MappingProxyType({"two_routes": Routes(0, 1.45, 3.55, 2.0, 4, 5)})


def noted(
    routes: Routes, poses: Any, actions: Float[np.ndarray, "n t a"], solved: Bool[np.ndarray, " n"]
) -> list[dict[str, float]]:
    """The columns of every episode; the decision falls where the ball comes to the obstacle's front.

    Args:
        routes: of the level.
        poses: of the bodies after each tick (`Records.poses`).
        actions: commanded actions; NaN after the end of an episode.
        solved: episodes that reached the goal.
    """
    path = np.asarray(poses[1][0])[:, :, routes.ball]
    return [_episode(routes, *one) for one in zip(path, actions, solved, strict=True)]


def _episode(
    routes: Routes, path: Float[np.ndarray, "t 2"], actions: Float[np.ndarray, "t a"], solved: bool
) -> dict[str, float]:
    path = path[: int(np.isfinite(actions).all(axis=1).sum())]
    arrived = np.flatnonzero(path[:, 1] >= routes.front)
    at = [modes.place(place[:1], routes.answers) for place in path[: arrived[0] + 1 if arrived.size else len(path)]]
    force = actions[:, routes.push_right] - actions[:, routes.push_left]
    # A command is given where the tick before it has left the ball.
    headings = [
        modes.heading(place, force[tick : tick + 1], routes.answers) for tick, place in enumerate(at[:-1], start=1)
    ]
    place = at[-1] if arrived.size else float("nan")
    return modes.noted(headings, int(place > 0) if solved else modes.NONE, place)
