"""One episode: settle, then execute whole chunks until the task is done or the steps are used up."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from rtc.worlds.libero.adapter import check_chunk, environment_action, observe
from rtc.worlds.libero.constants import SETTLING_ACTION, SETTLING_STEPS, Suite
from rtc.worlds.libero.policies import HasStats, LiberoPolicy

RawObservation = Mapping[str, np.ndarray]


class Simulation(Protocol):
    """What an episode needs of a simulation; LIBERO's `OffScreenRenderEnv` has it."""

    def reset(self) -> Any: ...

    def set_init_state(self, state: np.ndarray) -> RawObservation: ...

    def step(self, action: list[float]) -> tuple[RawObservation, float, bool, dict[str, Any]]: ...


@dataclass(frozen=True)
class TimedQuery:
    """One query to the policy.

    Attributes:
        step: steps of the episode before it, without the settling steps.
        latency_ms: from the observation's conversion to the chunk, in ms.
        stats: what the policy's `get_stats` says about it.
    """

    step: int
    latency_ms: float
    stats: dict[str, float]


@dataclass(frozen=True)
class Episode:
    """How an episode went.

    Attributes:
        success: the simulation said `done` within the suite's steps.
        steps: executed actions, without the settling steps.
        queries: in their order.
    """

    success: bool
    steps: int
    queries: tuple[TimedQuery, ...]


def run_episode(
    env: Simulation, policy: LiberoPolicy, suite: Suite, instruction: str, initial_state: np.ndarray, name: str
) -> Episode:
    """Runs one episode as OpenVLA-OFT does (`run_episode` in `experiments/robot/libero/run_libero_eval.py`).

    The simulation waits for the policy. A chunk is executed to its end before the next query. `done` counts from the
    first action on, not while objects settle.

    Args:
        name: of the policy, for messages.

    Raises:
        ValueError: an observation lacks something, or the policy's answer is no chunk.
    """
    env.reset()
    raw = env.set_init_state(initial_state)
    for _ in range(SETTLING_STEPS):
        raw = env.step(list(SETTLING_ACTION))[0]
    queries: list[TimedQuery] = []
    steps = 0
    while steps < suite.max_steps:
        start = time.perf_counter()
        chunk = policy.predict(observe(raw, instruction))
        latency_ms = 1e3 * (time.perf_counter() - start)
        stats = policy.get_stats() if isinstance(policy, HasStats) else {}
        queries.append(TimedQuery(steps, latency_ms, stats))
        for action in check_chunk(chunk, name)[: suite.max_steps - steps]:
            raw, _, done, _ = env.step(environment_action(action).tolist())
            steps += 1
            if done:
                return Episode(True, steps, tuple(queries))
    return Episode(False, steps, tuple(queries))
