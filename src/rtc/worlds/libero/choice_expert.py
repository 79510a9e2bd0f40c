"""A scripted expert for tasks with two right answers, which takes either."""

import numpy as np
from jaxtyping import Float

from rtc.worlds.libero.choice import ChoiceScene
from rtc.worlds.libero.expert import BowlExpert


class ChoiceExpert:
    """Moves a bowl onto a plate by one of the two answers, drawn per episode; of every two episodes each takes another.

    Attributes:
        answer: the one that it takes in this episode.
    """

    def __init__(self, seed: int | tuple[int, ...]):
        """An expert whose answers are drawn from a seed; `reset` before every episode."""
        self._random, self._inside = np.random.default_rng(seed), BowlExpert()
        self._left: list[int] = []
        self.answer = 0

    def reset(self) -> None:
        """Draws the answer of the next episode."""
        if not self._left:
            self._left = self._random.permutation(2).tolist()
        self.answer = self._left.pop()
        self._inside.reset()

    def act(self, scene: ChoiceScene) -> Float[np.ndarray, " 7"]:
        """The action for a scene, within -1…1."""
        return self._inside.act(scene.answers[self.answer])
