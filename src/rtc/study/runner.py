"""Runs a study: checks everything first, skips what is done, resumes after a kill."""

import dataclasses
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from tqdm import tqdm

from rtc import methods
from rtc.control import timeline
from rtc.control.records import NEVER, Records
from rtc.control.timeline import EpisodeTrace
from rtc.shared import files, launchers, provenance
from rtc.study import cells as store
from rtc.study import costs, modes
from rtc.study import plan as planning
from rtc.study.arguments import StudyArguments
from rtc.study.cells import Cell
from rtc.study.evaluation import Evaluation
from rtc.study.plan import PlannedCell
from rtc.study.statistics import SOLVED
from rtc.study.study import Arm, Study
from rtc.study.subject import Subject

# Words for a cell's status where it is computed.
_AGAIN = {"complete": "again", "older": "again: older code", "damaged": "again: damaged", "other": "replaced"}
Item = TypeVar("Item")


class ConflictError(ValueError):
    """Complete results of another configuration are where new ones would go."""


def run(study: Study, args: StudyArguments, *, keep_going: bool = False) -> None:
    """Computes the cells of a study that are not there yet.

    Args:
        study: what to evaluate.
        args: how, as `StudyArguments.of` gives it.
        keep_going: a failing task does not keep the others from running.

    Raises:
        ValueError: nothing to run, a method that does not fit its policy, an unreadable trace.
        ConflictError: results of another configuration are in the way.
        OSError: the output root cannot be written to; with `keep_going`, a ChildProcessError names tasks that failed.
        NonFiniteError: a NaN or infinity appeared; the cells before it are kept.
    """
    print(check(study, args), flush=True)
    failures = []
    for wave in tasks(study, args):
        if keep_going or args.launcher.kind != "local":
            try:
                launchers.run_all(wave, args.launcher)
            except ChildProcessError as error:  # the next wave has cells that do not need what failed
                failures.append(str(error))
        else:
            for task in wave:
                task.function(*task.arguments)
    if failures:
        raise ChildProcessError("\n".join(failures))


def check(study: Study, args: StudyArguments) -> str:
    """Finds everything that can be found wrong before any work, with the errors of `run`; says how much there is."""
    if not args.seeds or not args.levels:
        raise ValueError("there are no cells to run: give at least one each of profiles, methods, levels and seeds")
    if len(set(args.seeds)) < len(args.seeds):
        raise ValueError(f"seeds={args.seeds}: name each of them once")
    planning.check_levels(study, args, [planning.load(study.arms[0], args, level).level.name for level in args.levels])
    planned = list(planning.known(study, args))
    files.require_writable(args.root)
    found = [cell.standing() for cell in planned]
    taken = [(cell, there) for cell, there in zip(planned, found, strict=True) if there.status == "other"]
    if taken and not args.overwrite:
        raise ConflictError(conflict(taken, args))
    counts = {name: sum(there.status == name for there in found) for name in ("complete", "older")}
    total = len(study.arms) * len(args.levels) * len(args.seeds)
    todo = total if args.overwrite else total - counts["complete"]
    old = f", {counts['older']} of them again as the code has changed" if counts["older"] else ""
    waiting = total - len(planned)
    late = f" ({waiting} of them wait for the delays of others and may be there already)" if waiting else ""
    return f"{todo} of {total} cells to compute{old}{late}"


def conflict(taken: Sequence[tuple[PlannedCell, store.Standing]], args: StudyArguments) -> str:
    """What is in the way, and what to do."""
    (first, there), more = taken[0], f" (and {len(taken) - 1} more cells)" if len(taken) > 1 else ""
    return (
        f"{first.directory}{more}: {there.reason}. Nothing was changed: give another --output-root (--output-dir) for "
        "the new results, or --overwrite to replace what is there"
    )


def tasks(study: Study, args: StudyArguments) -> list[list[launchers.Task]]:
    """One task per level and group of arms that share a policy and a compiled program, in waves.

    The second wave has the arms that meet the delays of others.
    """
    waves = []
    for dependent in (False, True):
        groups: dict[tuple[str, str], list[Arm]] = {}
        for one in study.arms:
            if (one.delays_of is not None) == dependent:
                groups.setdefault((planning.run_of(one, args), _program(one)), []).append(one)
        waves.append(
            [
                launchers.Task(f"{level}, {program}, {run_path}", run_arms, (study, args, level, tuple(arms)))
                for level in args.levels
                for (run_path, program), arms in groups.items()
            ]
        )
    return [wave for wave in waves if wave]


def _program(one: Arm) -> str:
    """What tells compiled programs apart."""
    if one.decoding is None:
        return one.config.method
    return " with ".join(one.decoding.models)


def run_arms(study: Study, args: StudyArguments, level: str, arms: tuple[Arm, ...]) -> None:
    """Computes the cells of some arms on one level that are not there yet."""
    for path in args.plugin:  # in a job of its own, nothing has been loaded yet
        methods.load_plugin(path)
    one_level = dataclasses.replace(args, levels=(level,))
    run_cells(list(planning.cells(study, one_level, arms)), overwrite=args.overwrite)


def run_cells(
    planned: Sequence[PlannedCell], *, overwrite: bool = False, done: Callable[[str], None] | None = None
) -> None:
    """Computes cells unless they are there; what another process computes at the same time is waited for.

    Args:
        planned: the cells.
        overwrite: compute those that are there, too.
        done: is told of every cell in a line, in place of a bar and printed lines of their own.

    Raises:
        ConflictError: results of another configuration have come in the way.
        NonFiniteError: a NaN or infinity appeared; the cells before it are kept.
    """
    todo = [cell for cell in planned if overwrite or cell.standing().status != "complete"]
    for cell in progress(todo) if done is None else todo:
        # Whoever holds the lock may be computing it.
        with files.lock(cell.directory, wait=True):
            there = cell.standing()
            if there.status == "complete" and not overwrite:
                continue
            if there.status == "other" and not overwrite:
                raise ConflictError(f"{cell.directory} {there.reason}")
            files.remove_leftovers(cell.directory)
            started = time.time()
            found = compute(cell, started)
        again = f" ({_AGAIN[there.status]})" if there.status in _AGAIN else ""
        solved = 100 * found.summary.row[SOLVED]
        tell = report if done is None else done
        tell(f"{cell.cell.level} {cell.cell}{again}: solved {solved:.1f} %, {time.time() - started:.1f} s")


def progress(todo: Sequence[Item]) -> Iterable[Item]:
    """The items with a bar on a terminal, and without one elsewhere."""
    return tqdm(todo, unit="cell") if todo and sys.stderr.isatty() else todo


def report(line: str) -> None:
    """Prints a line beside a bar, if there is one."""
    if sys.stderr.isatty():
        tqdm.write(line)
    else:
        print(line, flush=True)


def compute(planned: PlannedCell, started: float) -> Evaluation:
    """Evaluates a cell and writes it."""
    subject = planned.subject
    # First: what it cannot count, it refuses before the work.
    counted = subject.costs(planned.config)
    outcome = subject.evaluate(planned.config, planned.cell.seed)
    outcome = modes.completed(outcome, subject, planned.config, planned.cell.seed)
    trace = episode_trace(outcome.records, interesting_episode(outcome), planned.cell, subject)
    timing = {"wall_s": outcome.wall_s, "slot_utilisation": outcome.utilisation}
    store.write_cell(
        planned.directory,
        planned.cell,
        planned.inputs,
        outcome.summary.row | timing | costs.row(counted, outcome.summary, planned.config.delay_profile.tail.hedge),
        outcome.summary.episodes,
        provenance.provenance(started) | subject.origin(),
        delay_counts=outcome.summary.delay_counts,
        attachments={store.TRACE: timeline.to_bytes(trace)},
    )
    return outcome


def interesting_episode(outcome: Evaluation) -> int:
    """The episode to show: solved if one is, with as many starved ticks as the median of those that starve."""
    frame = outcome.summary.episodes
    solved = frame[frame[SOLVED] == 1]
    pool = solved if len(solved) else frame
    starving = pool[pool["starved_ticks"] > 0]
    pool = starving if len(starving) else pool
    ordered = pool.sort_values(["starved_ticks", "episode"])
    return int(ordered.index[(len(ordered) - 1) // 2])


def episode_trace(records: Records, episode: int, cell: Cell, subject: Subject) -> EpisodeTrace:
    """One episode of a cell; of its actions, the dimensions that the level binds."""
    length = int(records.length[episode])
    delay = records.delay[episode, :length]
    return EpisodeTrace(
        query=delay != NEVER,
        delay=delay,
        planned_delay=records.planned[episode, :length],
        length_executed=records.interval[episode, :length],
        age=records.age[episode, :length],
        action=records.actions[episode, :length][:, subject.level.bound_actions],
        horizon=subject.chunk_size,
        seed=cell.seed,
        episode=episode,
        description=f"{cell.level}, {cell}, episode {episode}",
    )
