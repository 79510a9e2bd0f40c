"""An external environment that keeps what its controller saw and did, so that rollouts can be recorded for training."""

from typing import Any

import numpy as np
from jaxtyping import Float

from rtc.control.host.environments import ExternalEnvironment, Observation, Step


class Recording:
    """The environment. Its observations are vectors.

    Attributes:
        obs, action: of every episode, what was observed before each tick and what was executed then.
    """

    def __init__(self, inside: ExternalEnvironment):
        self.obs: list[list[np.ndarray]] = []
        self.action: list[list[np.ndarray]] = []
        self._inside, self._seen = inside, None

    def reset(self, seed: int) -> Observation:
        """See `ExternalEnvironment`."""
        self.obs.append([])
        self.action.append([])
        self._seen = np.array(self._inside.reset(seed), np.float32)
        return self._seen

    def step(self, action: Float[np.ndarray, " a"]) -> Step:
        """See `ExternalEnvironment`."""
        self.obs[-1].append(self._seen)
        self.action[-1].append(np.array(action, np.float32))
        step = self._inside.step(action)
        self._seen = np.array(step.obs, np.float32)
        return step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inside, name)
