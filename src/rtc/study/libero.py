"""Evaluates a policy on a LIBERO suite: every task, a number of trials each; resumable, results as CSV.

Every trial is a cell: `<root>/<policy>/<suite>/cells/<task>/no_delay/<policy>/seed_<trial>/`, with queries.csv, a row
per query and its latency. From the cells that are complete come, in `<root>/<policy>/<suite>/`,

    episodes.csv   one row per finished trial
    queries.csv    one row per query of these trials: also a latency trace for delay profiles
    summary.csv    success rates and latencies, per task with 95 % Wilson intervals, and for the suite
    run.json       what the numbers depend on, and where they come from
"""

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rtc.shared import files, identity, provenance
from rtc.shared.files import PathLike
from rtc.shared.tables import percentiles
from rtc.shared.validation import require_int
from rtc.study import cells as store
from rtc.study import runner, statistics
from rtc.study.cells import Cell
from rtc.study.runner import ConflictError
from rtc.worlds.libero.adapter import Observation
from rtc.worlds.libero.constants import IMAGE_PIXELS, PROPRIO_DIM, Suite
from rtc.worlds.libero.episodes import Episode, run_episode
from rtc.worlds.libero.policies import LiberoPolicy
from rtc.worlds.libero.simulator import TaskSource

EPISODES, QUERIES, SUMMARY, FACTS = "episodes.csv", "queries.csv", "summary.csv", "run.json"
WHOLE_SUITE = "all"
# The simulation waits for the policy.
PROFILE = "no_delay"
_CODE = tuple(
    f"rtc.worlds.libero.{name}"
    for name in ("adapter", "constants", "episodes", "oft_worker", "openvla_oft", "policies", "simulator")
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to evaluate.

    Attributes:
        suite: the suite.
        policy: name of the policy.
        settings: what the policy's answers depend on, as plain values.
        num_trials: trials per task; trial i starts from the task's i-th initial state.
        task_ids: numbers of the tasks; None takes all.
    """

    suite: Suite
    policy: str
    settings: dict[str, Any]
    num_trials: int
    task_ids: tuple[int, ...] | None = None

    def __post_init__(self):
        require_int("num_trials", self.num_trials, low=1)
        for task_id in self.task_ids or ():
            require_int("task_ids entry", task_id, low=0, high=self.suite.num_tasks - 1)

    @property
    def tasks(self) -> Sequence[int]:
        return range(self.suite.num_tasks) if self.task_ids is None else sorted(set(self.task_ids))


def evaluate(plan: Plan, source: TaskSource, policy: LiberoPolicy, root: PathLike, overwrite: bool = False) -> Path:
    """Runs the trials that are not done yet and writes the tables; returns the directory with them.

    Args:
        root: results go to `<root>/<policy>/<suite>/`.
        overwrite: replace trials of another configuration.

    Raises:
        ConflictError: trials of another configuration are in the way.
        ValueError: another process is writing here, a task has too few initial states, or the policy's answer is no
            chunk.
    """
    started = time.time()
    directory = files.require_writable(Path(root) / plan.policy / plan.suite.name)
    with files.lock(directory):
        run = _Run(plan, source, policy, directory)
        pending = {task: run.pending(task, overwrite) for task in plan.tasks}
        if any(pending.values()):
            warm_up(policy)
        for task_id, trials in pending.items():
            if trials:
                run.task(task_id, trials)
        episodes, queries = run.finished()
        tables = {EPISODES: episodes, QUERIES: queries, SUMMARY: summarise(episodes, queries)}
        for name, table in tables.items():
            files.atomic_write(directory / name, files.to_csv(table))
        facts = {"inputs": run.common, "last_run": provenance.provenance(started)}
        files.atomic_write(directory / FACTS, json.dumps(store.plain(facts), indent=2) + "\n")
    return directory


def warm_up(policy: LiberoPolicy) -> None:
    """One query on black images, which is not counted: the first one pays for compilation and set-up."""
    black = np.zeros((IMAGE_PIXELS, IMAGE_PIXELS, 3), np.uint8)
    policy.predict(Observation(black, black, np.zeros(PROPRIO_DIM), "do nothing"))


class _Run:
    """A plan that is being worked on, and its trials on disk."""

    def __init__(self, plan: Plan, source: TaskSource, policy: LiberoPolicy, directory: Path):
        self._plan, self._source, self._policy, self._directory = plan, source, policy, directory
        self._names = source.task_names()
        # What an episode's outcome depends on, besides its task and trial.
        self.common = {
            "config": {"policy": plan.policy, "settings": plan.settings, "suite": plan.suite},
            "versions": source.versions(),
            store.CODE: identity.code_version(_CODE),
        }

    def _cell(self, task_id: int, trial: int) -> Cell:
        return Cell(PROFILE, self._plan.policy, trial, f"{self._plan.suite.name}_{task_id}")

    def _place(self, task_id: int, trial: int) -> Path:
        return store.cell_dir(self._directory / "cells" / f"task_{task_id:02d}", self._cell(task_id, trial))

    def pending(self, task_id: int, overwrite: bool) -> list[int]:
        """Trials of a task that have to be run."""
        trials = []
        for trial in range(self._plan.num_trials):
            place = self._place(task_id, trial)
            there = store.standing(place, self._cell(task_id, trial), self.common)
            if there.status == "other" and not overwrite:
                raise ConflictError(
                    f"{place}: {there.reason}. Nothing was changed: choose another --output-root, or replace it with "
                    "--overwrite"
                )
            if there.status != "complete":
                trials.append(trial)
        return trials

    def task(self, task_id: int, pending: Sequence[int]) -> None:
        """Runs some trials of a task."""
        plan, source = self._plan, self._source
        states, instruction = source.initial_states(task_id), source.instruction(task_id)
        if len(states) < plan.num_trials:
            raise ValueError(
                f"num_trials={plan.num_trials}: {self._names[task_id]} has {len(states)} initial states; use at most "
                "as many"
            )
        with source.environment(task_id) as env:
            for trial in range(pending[-1] + 1):
                if trial not in pending:
                    # A reset draws the place of furniture, which is no part of the initial state, from one random
                    # stream per task: it must be drawn for finished trials too.
                    env.reset()
                    continue
                started = time.time()
                episode = run_episode(env, self._policy, plan.suite, instruction, states[trial], plan.policy)
                self._write(task_id, trial, episode, started)
                outcome = "success" if episode.success else "failure"
                runner.report(
                    f"{plan.suite.name} {task_id} ({instruction}), trial {trial}: {outcome} after {episode.steps} steps"
                )

    def _write(self, task_id: int, trial: int, episode: Episode, started: float) -> None:
        outcome = {"success": int(episode.success), "steps": episode.steps, "queries": len(episode.queries)}
        queries = [
            {"query": number, "step": query.step, "latency_ms": query.latency_ms, **query.stats}
            for number, query in enumerate(episode.queries)
        ]
        store.write_cell(
            self._place(task_id, trial),
            self._cell(task_id, trial),
            self.common,
            {**outcome, "task_id": task_id, "task": self._names[task_id]},
            pd.DataFrame([{"episode": trial, **outcome}]),
            provenance.provenance(started),
            leading=tuple(outcome),
            attachments={QUERIES: files.to_csv(pd.DataFrame(queries)).encode()},
        )

    def finished(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """All complete trials of this configuration, and their queries, by task and trial."""
        rows, queries = [], []
        for place in store.complete_cells(self._directory / "cells"):
            if store.standing(place, None, self.common).status == "complete":
                cell = store.read_cell(place)
                trial = {"task_id": cell.result["task_id"], "task": cell.result["task"], "trial": cell.cell.seed}
                rows.append(trial | {name: cell.result[name] for name in ("success", "steps", "queries")})
                table = files.read_csv(place / QUERIES)
                for name, value in reversed(trial.items()):
                    table.insert(0, name, value)
                queries.append(table)
        return pd.DataFrame(rows), pd.concat(queries, ignore_index=True)


def summarise(episodes: pd.DataFrame, queries: pd.DataFrame) -> pd.DataFrame:
    """One row per task and a last one for all: episodes, success rate with its 95 % Wilson interval, steps, latency.

    The last row pools the trials of the tasks, which differ in difficulty: it has no interval.
    """
    groups = [(task_id, group["task"].iloc[0], group) for task_id, group in episodes.groupby("task_id")]
    rows = [_summary_row(name, group, queries[queries["task_id"] == task_id]) for task_id, name, group in groups]
    whole = _summary_row(WHOLE_SUITE, episodes, queries) | {"success_low": np.nan, "success_high": np.nan}
    return pd.DataFrame([*rows, whole])


def _summary_row(task: str, episodes: pd.DataFrame, queries: pd.DataFrame) -> dict[str, Any]:
    successes = int(episodes["success"].sum())
    rate = statistics.wilson(successes, len(episodes))
    return {
        "task": task,
        "episodes": len(episodes),
        "successes": successes,
        "success_rate": rate.value,
        "success_low": rate.low,
        "success_high": rate.high,
        "mean_steps": float(episodes["steps"].mean()),
        "queries": len(queries),
        **{f"latency_p{level}_ms": value for level, value in percentiles(queries["latency_ms"].to_numpy()).items()},
    }
