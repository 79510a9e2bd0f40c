"""Evaluates a policy on a suite: every task, a number of trials each; resumable, results as CSV.

The directory of a run, `<root>/<policy>/<suite>/`, holds

    episodes.csv   one row per finished trial; a trial is done once it is here
    queries.csv    one row per query of these trials, with its latency: also a latency trace for delay profiles
    summary.csv    success rates with 95 % Wilson intervals and latencies, per task and for the suite
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

from rtc.shared import files, provenance
from rtc.shared.files import PathLike
from rtc.shared.tables import percentiles
from rtc.shared.validation import require_int
from rtc.study import statistics
from rtc.worlds.libero.adapter import Observation
from rtc.worlds.libero.constants import IMAGE_PIXELS, PROPRIO_DIM, Suite
from rtc.worlds.libero.episodes import Episode, run_episode
from rtc.worlds.libero.policies import LiberoPolicy
from rtc.worlds.libero.simulator import TaskSource

EPISODES, QUERIES, SUMMARY, FACTS = "episodes.csv", "queries.csv", "summary.csv", "run.json"
WHOLE_SUITE = "all"
RESULT_MODULES = tuple(
    f"rtc/libero/{name}.py"
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
    """Runs the trials that are not done yet and writes the summary; returns the directory with the results.

    Args:
        root: results go to `<root>/<policy>/<suite>/`.
        overwrite: start over if results of another configuration are there.

    Raises:
        ValueError: results of another configuration are there, another process is writing them, a task has too few
            initial states, or the policy's answer is no chunk.
    """
    started = time.time()
    directory = files.require_writable(Path(root) / plan.policy / plan.suite.name)
    with files.lock(directory):
        record = Record(directory)
        inputs = _inputs(plan, source)
        record.claim(inputs, overwrite)
        names = source.task_names()
        pending = {task: record.pending(task, plan.num_trials) for task in plan.tasks}
        if any(pending.values()):
            warm_up(policy)
        for task_id, trials in pending.items():
            if trials:
                _run_task(plan, source, policy, record, task_id, names[task_id], trials)
        table = summarise(record.episodes, record.queries)
        files.atomic_write(directory / SUMMARY, files.to_csv(table))
        record.write_facts({"inputs": inputs, "last_run": provenance.provenance(started)})
    return directory


def warm_up(policy: LiberoPolicy) -> None:
    """One query on black images, which is not counted: the first one pays for compilation and set-up."""
    black = np.zeros((IMAGE_PIXELS, IMAGE_PIXELS, 3), np.uint8)
    policy.predict(Observation(black, black, np.zeros(PROPRIO_DIM), "do nothing"))


def _inputs(plan: Plan, source: TaskSource) -> dict[str, Any]:
    """What an episode's outcome depends on, besides its task and trial."""
    values = {
        "policy": plan.policy,
        "settings": plan.settings,
        "suite": plan.suite,
        "versions": source.versions(),
        "code": provenance.code_version(modules=RESULT_MODULES),
    }
    return json.loads(provenance.canonical_json(values))


def _run_task(
    plan: Plan,
    source: TaskSource,
    policy: LiberoPolicy,
    record: "Record",
    task_id: int,
    task: str,
    pending: Sequence[int],
) -> None:
    states, instruction = source.initial_states(task_id), source.instruction(task_id)
    if len(states) < plan.num_trials:
        raise ValueError(f"num_trials={plan.num_trials}: {task} has {len(states)} initial states; use at most as many")
    with source.environment(task_id) as env:
        for trial in range(pending[-1] + 1):
            if trial not in pending:
                # A reset draws the place of furniture, which is no part of the initial state, from one random stream
                # per task: it must be drawn for finished trials too.
                env.reset()
                continue
            episode = run_episode(env, policy, plan.suite, instruction, states[trial], plan.policy)
            record.add({"task_id": task_id, "task": task, "trial": trial}, episode)
            outcome = "success" if episode.success else "failure"
            print(f"{plan.suite.name} {task_id} ({instruction}), trial {trial}: {outcome} after {episode.steps} steps")


class Record:
    """Finished trials on disk; episodes.csv decides which are."""

    def __init__(self, directory: Path):
        self._directory = directory
        self.episodes = self._read(EPISODES)
        self.queries = self._read(QUERIES)
        if len(self.queries):
            # Queries are written first: a run killed in between leaves some of a trial that is not done.
            done = (
                set(zip(self.episodes["task_id"], self.episodes["trial"], strict=True)) if len(self.episodes) else set()
            )
            keep = [pair in done for pair in zip(self.queries["task_id"], self.queries["trial"], strict=True)]
            self.queries = self.queries[keep]

    def _read(self, name: str) -> pd.DataFrame:
        path = self._directory / name
        return files.read_csv(path) if path.is_file() else pd.DataFrame()

    def claim(self, inputs: dict[str, Any], overwrite: bool) -> None:
        """Makes sure that what is here has the same inputs, or that nothing is.

        Raises:
            ValueError: it has others, and `overwrite` is off; the message names them.
        """
        path = self._directory / FACTS
        found = json.loads(path.read_text())["inputs"] if path.is_file() else {}
        if found == inputs:
            return
        if len(self.episodes) and not overwrite:
            changed = [name for name in inputs if found.get(name) != inputs[name]]
            raise ValueError(
                f"{self._directory} holds results with another {', '.join(changed)}: choose another --output-root, or "
                "start over with --overwrite"
            )
        for name in (EPISODES, QUERIES, SUMMARY):
            (self._directory / name).unlink(missing_ok=True)
        self.episodes = self.queries = pd.DataFrame()
        self.write_facts({"inputs": inputs})

    def write_facts(self, facts: dict[str, Any]) -> None:
        files.atomic_write(self._directory / FACTS, json.dumps(facts, indent=2) + "\n")

    def pending(self, task_id: int, num_trials: int) -> list[int]:
        """Trials of a task that are not done."""
        done = set(self.episodes[self.episodes["task_id"] == task_id]["trial"]) if len(self.episodes) else set()
        return [trial for trial in range(num_trials) if trial not in done]

    def add(self, identity: dict[str, Any], episode: Episode) -> None:
        """Puts a finished trial on disk."""
        row = {**identity, "success": int(episode.success), "steps": episode.steps, "queries": len(episode.queries)}
        rows = [
            {**identity, "query": number, "step": query.step, "latency_ms": query.latency_ms, **query.stats}
            for number, query in enumerate(episode.queries)
        ]
        self.queries = pd.concat([self.queries, pd.DataFrame(rows)], ignore_index=True)
        self.episodes = pd.concat([self.episodes, pd.DataFrame([row])], ignore_index=True)
        files.atomic_write(self._directory / QUERIES, files.to_csv(self.queries))
        files.atomic_write(self._directory / EPISODES, files.to_csv(self.episodes))


def summarise(episodes: pd.DataFrame, queries: pd.DataFrame) -> pd.DataFrame:
    """One row per task and a last one for all: episodes, success rate with its 95 % Wilson interval, steps, latency.

    The last row pools the trials of the tasks; its interval holds for these tasks.
    """
    groups = [(task_id, group["task"].iloc[0], group) for task_id, group in episodes.groupby("task_id")]
    rows = [_summary_row(name, group, queries[queries["task_id"] == task_id]) for task_id, name, group in groups]
    return pd.DataFrame([*rows, _summary_row(WHOLE_SUITE, episodes, queries)])


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
