"""Records demonstrations of LIBERO on state observations by the scripted expert; docs/libero.md says what it needs.

python exp/libero_demonstrations.py
python exp/libero_demonstrations.py --config.noise 0 --config.push-ticks 0 --config.episodes 20 --folder exp_runs/tmp_x
"""

import multiprocessing
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd

from rtc.shared import commands, files, launchers, tables
from rtc.shared.validation import require_int
from rtc.study import statistics
from rtc.training import libero_demonstrations as demonstrations
from rtc.training.libero_demonstrations import RecordingConfig, StateDemonstrations, find_source
from rtc.worlds.libero import setup_check


@dataclass(frozen=True)
class Arguments:
    """Command line of libero_demonstrations.

    Attributes:
        config: how much to record and how.
        tasks: numbers of the tasks; all of them by default.
        folder: where the files go, one per task.
        processes: tasks that are recorded at the same time, each with 1.6 GB of memory; by default one per CPU core.
        resume: keep the tasks that are recorded; --no-resume records them again.
    """

    config: RecordingConfig = field(default_factory=RecordingConfig)
    tasks: tuple[int, ...] | None = None
    folder: Path = Path("logs-expert/libero_spatial")
    processes: int | None = None
    resume: bool = True

    def __post_init__(self):
        highest = find_source(self.config.suite).home.suite.num_tasks - 1
        for task in self.tasks or ():
            require_int("tasks entry", task, low=0, high=highest)
        if self.processes is not None:
            require_int("processes", self.processes, low=1)


def record(task: int, config: RecordingConfig, folder: Path) -> int:
    """Records a task, in a process of its own; returns its number."""
    source = find_source(config.suite)
    environment = source.opened(task)
    try:
        data = demonstrations.record(environment, source.expert(config.seed, task), task, config)
    finally:
        environment.close()
    demonstrations.save(demonstrations.path_of(folder, task), data)
    return task


def table(recordings: Iterable[StateDemonstrations]) -> pd.DataFrame:
    """Per task and for all of them: episodes, how many are solved with the 95 % Wilson interval, mean length."""
    found = list(recordings)
    groups = [(str(data.task), [data]) for data in found] + ([("all", found)] if len(found) > 1 else [])
    rows = []
    for name, group in groups:
        episodes, solved = sum(len(data.seed) for data in group), sum(data.num_solved for data in group)
        rate = statistics.wilson(solved, episodes)
        rows.append(
            {
                "task": name,
                "episodes": episodes,
                "solved": solved,
                "solved (%)": tables.interval(100 * rate.value, 100 * rate.low, 100 * rate.high, 1),
                "mean length (ticks)": sum(data.ticks for data in group) / episodes,
                "size (MB)": sum(data.facts["bytes"] for data in group) / 1e6,
            }
        )
    return pd.DataFrame(rows)


def recorded(args: Arguments, *, wait: bool = False) -> dict[int, Path]:
    """Records the tasks that are not there yet; returns all files, by task.

    Args:
        args: what to record.
        wait: for another process that records there.

    Raises:
        ValueError: what is there was recorded otherwise, or LIBERO is needed and not installed.
    """
    tasks = args.tasks or tuple(range(find_source(args.config.suite).home.suite.num_tasks))
    files.require_writable(args.folder)
    with files.lock(args.folder, wait):
        files.remove_leftovers(args.folder)
        paths = {task: demonstrations.path_of(args.folder, task) for task in tasks}
        missing = [
            task for task in tasks if not args.resume or demonstrations.recorded(paths[task], args.config) is None
        ]
        if missing:
            setup_check.require(images=False)
        _record_all(missing, args)
    return paths


def run(args: Arguments) -> None:
    paths = recorded(args)
    found = [demonstrations.load(path) for path in paths.values()]
    sized = [
        data._replace(facts=data.facts | {"bytes": path.stat().st_size})
        for data, path in zip(found, paths.values(), strict=True)
    ]
    print(tables.format_table(table(sized)))
    commands.open_first(next(iter(paths.values())))


def _record_all(tasks: Sequence[int], args: Arguments) -> None:
    if not tasks:
        return
    workers = min(len(tasks), args.processes or len(launchers.usable_cores()))
    # Started anew, and not copied: JAX has threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for task in pool.map(partial(record, config=args.config, folder=args.folder), tasks):
            print(f"task {task}: {demonstrations.path_of(args.folder, task)}", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
