"""Outcomes with known answers: of the advice from a log, and of worlds that are held against each other."""

import dataclasses

import numpy as np
import pandas as pd

from rtc.control.controller import ExecutionConfig
from rtc.delay.logs import DelayLog
from rtc.report import advice as pages
from rtc.study import advice as design
from rtc.study import cells as store
from rtc.study import statistics
from rtc.study.advice import CONSTANT, HALVED, LOG, Policies, Scale
from rtc.study.outcome import Outcome
from rtc.study.study import arm
from rtc.study.transfer import Outcomes

LEVELS = ("grasp_easy", "catapult", "catcher_v3", "car_launch")
SCALE = Scale(30.0, 50, 8)
CLEAR = {"naive": (0.5, 2.0), "realtime": (0.8, 4.0), "synchronous": (0.3, 1.0), "foresee_simulator": (0.9, 1.0)}


def log_of(latency_ms):
    latency = np.array(latency_ms, np.float64)
    return DelayLog(latency, None, "a.csv", "0", "table", "why", "what", len(latency), (), (), 0.0)


def fake_cell(level, key, solved, evaluations):
    episodes = pd.DataFrame({"episode": range(len(solved)), statistics.SOLVED: solved})
    row = {"method": key[1], "flow_evals_per_tick": evaluations, "mean_execute_horizon": 2.0}
    provenance = {"git_commit": "a" * 40, "git_dirty": False, "wall_s": 1.0}
    return store.CellData(store.Cell(*key, 0, level), row, episodes, {1: 3}, {}, provenance)


def outcome_of(**solved):
    """Arms by method, or method and horizon, with the share solved under the log and the evaluations per tick.

    The median costs no one, and naive execution at its horizon of 2 solves other episodes than the rest.
    """
    cells, arms = {}, []
    for name, (share, evaluations) in solved.items():
        method, _, horizon = name.partition("+s")
        for profile in (LOG, CONSTANT, HALVED):
            label = f"{method}+s{horizon or 2}" + ("" if method in design.UNPLANNED else "+q80")
            more = {"estimator": design.ESTIMATORS["q80"], "execution": ExecutionConfig(int(horizon or 2))}
            one = arm(profile, method, label, delay=design.DelayProfileConfig(fixed_delay=1), **more)
            arms.append(one)
            for place, level in enumerate(LEVELS):
                gain = {LOG: 0.0, CONSTANT: 0.1, HALVED: 0.05}[profile]
                number = round(200 * (share + gain - 0.01 * place))
                episode = np.where(np.arange(200) < number, 1, 0)[:: -1 if label == "naive+s2" else 1]
                cells[level, *one.key] = (fake_cell(level, one.key, episode, evaluations),)
    return Outcome(design.study(Policies("run", 8, LEVELS, "prefix"), arms, LEVELS, 200), cells)


def advice_of(outcome, latency=(400.0,) * 99 + (1500.0,), unfinished=()):
    log = log_of(latency)
    chosen = Policies("logs-bc/h8", 8, LEVELS, "logs-bc/h8_prefix")
    tail = design.tails(design.require_usable(log, 30.0, 50), SCALE)
    found = pages.Advice(log, design.logs.describe(log, 30.0), SCALE, chosen, tail, outcome, {"a2c2": "no head"}, ())
    return dataclasses.replace(found, unfinished=unfinished)


def world_of(rates, episodes=100):
    """Episodes of methods that are solved in this share, alike on all levels, in pairs that are nested."""
    levels = tuple(f"level {number}" for number in range(len(next(iter(rates.values())))))
    solved = {
        method: tuple((np.arange(episodes) < rate * episodes).astype(float) for rate in its)
        for method, its in rates.items()
    }
    return Outcomes(levels, solved)
