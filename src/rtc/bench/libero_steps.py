"""Speed of LIBERO on state observations: robosuite's own step against the one that skips what is unused."""

import time

import numpy as np
import pandas as pd

from rtc.worlds.libero.constants import ACTION_DIM, find_suite
from rtc.worlds.libero.state_simulation import StateSimulation
from rtc.worlds.libero.tasks import find_tasks


def compare(task: int, ticks: int, repeats: int) -> pd.DataFrame:
    """Control ticks per second of one process: the median over repeats, which take turns.

    Args:
        task: number of the task in libero_spatial.
        ticks: random actions per repeat.
        repeats: repeats, after one that is not counted.
    """
    chosen = find_tasks(find_suite("libero_spatial"))[task]
    simulations = {"robosuite's": StateSimulation(chosen, fast=False), "fast": StateSimulation(chosen)}
    speeds: dict[str, list[float]] = {name: [] for name in simulations}
    for repeat in range(1 + repeats):
        actions = np.random.default_rng(repeat).uniform(-1, 1, (ticks, ACTION_DIM))
        for name, simulation in simulations.items():
            simulation.reset(repeat)
            start = time.perf_counter()
            for action in actions:
                simulation.step(action)
            speeds[name].append(ticks / (time.perf_counter() - start))
    for simulation in simulations.values():
        simulation.close()
    medians = {name: float(np.median(values[1:])) for name, values in speeds.items()}
    return pd.DataFrame({"step": medians.keys(), "ticks per second": medians.values()})
