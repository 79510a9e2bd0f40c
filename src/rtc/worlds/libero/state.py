"""LIBERO's tasks on state observations, as external environments for the host executor."""

from typing import Protocol

import numpy as np
from jaxtyping import Float

from rtc.control.host.environments import Step
from rtc.shared.validation import require_int
from rtc.worlds.libero.constants import ACTION_DIM, OFFICIAL_TRIALS, SETTLING_ACTION, SETTLING_STEPS, Suite, find_suite
from rtc.worlds.libero.scene import STATE_DIM, Scene, observation
from rtc.worlds.libero.state_simulation import StateSimulation
from rtc.worlds.libero.tasks import find_tasks, read_states

# How often places are drawn for a bowl that stands: whose up vector's z and height in m are more than these.
DRAWS = 20
STANDING, TABLE = 0.95, 0.85


class Tabletop(Protocol):
    """What an environment needs of a simulation; see `rtc.worlds.libero.state_simulation.StateSimulation`."""

    def reset(self, seed: int) -> None: ...

    def set_state(self, state: np.ndarray) -> None: ...

    def step(self, action: np.ndarray) -> bool: ...

    def scene(self) -> Scene: ...

    def close(self) -> None: ...


class StateEnvironment:
    """A task of LIBERO on state observations (`rtc.control.host.environments.ExternalEnvironment`).

    An observation is a vector of float32: the numbers that `rtc.worlds.libero.scene.ENTRIES` lists, then the task as a
    one-hot vector. An action is LIBERO's own: six deltas of the hand in -1…1 (position, 1 for 5 cm; rotation vector, 1
    for 0.5 rad; both in the world frame) and the gripper, below 0 to open it and above 0 to close it. A tick is 50 ms.

    Attributes:
        max_ticks: ticks after which an episode ends, without the settling steps.
        bound_actions: all of them drive something.
    """

    action_dim = ACTION_DIM

    def __init__(
        self, simulation: Tabletop, suite: Suite, task: int, initial_states: Float[np.ndarray, "n s"] | None = None
    ):
        """An environment on a simulation; `opened` makes both.

        Args:
            simulation: of the task.
            suite: the suite.
            task: number of the task in it.
            initial_states: the benchmark's. Episodes start from them; without them, from places that are drawn.
        """
        require_int("task", task, low=0, high=suite.num_tasks - 1)
        self.simulation, self.suite, self.task = simulation, suite, task
        self.max_ticks = suite.max_steps
        self.observation_dim = STATE_DIM + suite.num_tasks
        self.bound_actions = np.ones(ACTION_DIM, bool)
        self._states, self._number, self._tick = initial_states, None, 0

    def begin_episode(self, number: int) -> None:
        """Lets the next episode start from the benchmark's initial state of its number, where states are not drawn.

        Raises:
            ValueError: there is no such state.
        """
        if self._states is not None and number >= len(self._states):
            raise ValueError(
                f"episode {number} has no initial state: the benchmark has {len(self._states)}, one per episode, so "
                "choose at most as many episodes, and more seeds for more"
            )
        self._number = number

    def reset(self, seed: int) -> Float[np.ndarray, " o"]:
        """Starts an episode and lets objects settle; returns its first observation.

        The seed decides where fixtures stand, and everything else too unless episodes start from the benchmark's
        states: then the episode's number decides which one (`begin_episode`), and without one the seed. Places that are
        drawn may overlap, and throw the bowl over, or off the table, as it settles: then the next seed's are taken.
        """
        self._tick = 0
        for draw in range(1 if self._states is not None else DRAWS):
            self._settle(seed + draw)
            scene = self.scene()
            if scene.bowl_up[2] > STANDING and scene.bowl[2] > TABLE:
                break
        return self._observation()

    def _settle(self, seed: int) -> None:
        self.simulation.reset(seed)
        if self._states is not None:
            number = seed % len(self._states) if self._number is None else self._number
            self.simulation.set_state(self._states[number])
        for _ in range(SETTLING_STEPS):
            self.simulation.step(np.array(SETTLING_ACTION, float))

    def step(self, action: Float[np.ndarray, " 7"]) -> Step:
        """See `ExternalEnvironment`. Reaching the goal ends an episode, and is its only reward."""
        solved = self.simulation.step(np.clip(np.asarray(action, float), -1, 1))
        self._tick += 1
        late = self._tick >= self.max_ticks
        return Step(self._observation(), float(solved), solved, terminated=solved, truncated=late and not solved)

    def scene(self) -> Scene:
        """The privileged state, for experts."""
        return self.simulation.scene()

    def close(self) -> None:
        self.simulation.close()

    def _observation(self) -> Float[np.ndarray, " o"]:
        return observation(self.scene(), self.task, self.suite.num_tasks)


def opened(task: int, *, suite: str = "libero_spatial", benchmark: bool = False, fast: bool = True) -> StateEnvironment:
    """The environment of a task of the installed LIBERO.

    Args:
        task: number of the task in its suite.
        suite: name of the suite.
        benchmark: start from the benchmark's 50 initial states, and not from places that are drawn.
        fast: skip what robosuite computes beside; the results are the same bits.

    Raises:
        ValueError: an argument is out of range, or something is missing on this machine; the message has the fix.
    """
    found = find_suite(suite)
    require_int("task", task, low=0, high=found.num_tasks - 1)
    chosen = find_tasks(found)[task]
    states = read_states(chosen.states_file) if benchmark else None
    if states is not None and len(states) != OFFICIAL_TRIALS:
        raise ValueError(f"{chosen.states_file} has {len(states)} states, not {OFFICIAL_TRIALS}: reinstall hf-libero")
    return StateEnvironment(StateSimulation(chosen, fast=fast), found, task, states)
