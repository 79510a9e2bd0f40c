"""Runs groups of a study's arms one after the other, as long as there is time."""

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass, field

from tqdm import tqdm

from rtc.shared import launchers
from rtc.study import plan as planning
from rtc.study import runner
from rtc.study.arguments import StudyArguments
from rtc.study.evaluation import NonFiniteError
from rtc.study.plan import PlannedCell
from rtc.study.study import Arm, Study


@dataclass(frozen=True)
class Rest:
    """Groups that are incomplete.

    Attributes:
        late: those for which there was no time.
        broken: those in which a NaN or infinity appeared, with what was said of it.
    """

    late: list[str] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)


def run(
    study: Study,
    args: StudyArguments,
    groups: Mapping[str, Sequence[Arm]],
    seconds: float,
    processes: int | None = None,
) -> Rest:
    """Computes the cells that are missing, or all of them with `args.overwrite`, group by group.

    A group is begun if, going by the slowest one so far, at least half of it falls within the time; the first one is,
    unless there is no time at all. Cells are kept, so that another run goes on where this one stopped. A group in which
    a NaN or infinity appears ends there, and the next one is begun.

    Args:
        study: the study that all arms belong to.
        args: how, as `StudyArguments.of` gives it.
        groups: arms that share a compiled program, by a name.
        seconds: wall time; 0 computes nothing.
        processes: levels computed side by side, each by a process with cores of its own; by default as many as
            there are cores or levels. 1 computes them in this process.

    Returns:
        The groups that are incomplete.

    Raises:
        ConflictError: results of another configuration are in the way.
        ValueError: more processes than cores.
    """
    todo = {name: _planned(study, args, arms) for name, arms in groups.items()}
    todo = {name: cells for name, cells in todo.items() if cells}
    started, slowest, rest = time.monotonic(), 0.0, Rest()
    if not todo or not seconds:
        processes = 1
    elif processes is None:
        processes = min(len(args.levels), len(launchers.usable_cores()))
    with _bar(sum(map(len, todo.values()))) as bar, _computing(study, args, processes) as compute:
        for name, cells in todo.items():
            spent = time.monotonic() - started
            if spent + slowest / 2 >= seconds:
                rest.late.append(name)
                continue
            bar.set_description(name)
            try:
                compute(groups[name], cells, bar.update)
            except NonFiniteError as error:
                rest.broken[name] = str(error)
            slowest = max(slowest, time.monotonic() - started - spent)
            if bar.disable:
                print(f"{name}: {len(cells)} cells, {time.monotonic() - started - spent:.0f} s", flush=True)
    return rest


_Compute = Callable[[Sequence[Arm], Sequence[PlannedCell], Callable[[int], object]], None]


@contextlib.contextmanager
def _computing(study: Study, args: StudyArguments, processes: int) -> Iterator[_Compute]:
    """What computes a group: its arms, its missing cells, and who is told how many are done."""
    if processes == 1:
        yield lambda _arms, cells, tell: runner.run_cells(cells, overwrite=args.overwrite, done=lambda _line: tell(1))
        return
    with launchers.pool(processes) as workers:

        def compute(arms: Sequence[Arm], cells: Sequence[PlannedCell], tell: Callable[[int], object]) -> None:
            levels = dict.fromkeys(cell.cell.level for cell in cells)
            waiting = [workers.submit(_one_level, study, args, level, tuple(arms)) for level in levels]
            try:
                for done in futures.as_completed(waiting):
                    tell(done.result())
            finally:  # of a group that broke down, nothing more is begun
                for one in waiting:
                    one.cancel()

        yield compute


def _one_level(study: Study, args: StudyArguments, level: str, arms: tuple[Arm, ...]) -> int:
    """Computes the missing cells of one level in a process of a pool; how many there were."""
    todo = _planned(study, dataclasses.replace(args, levels=(level,)), arms)
    runner.run_cells(todo, overwrite=args.overwrite, done=lambda _line: None)
    return len(todo)


def _planned(study: Study, args: StudyArguments, arms: Sequence[Arm]) -> list[PlannedCell]:
    cells = planning.cells(study, args, arms)
    return [cell for cell in cells if args.overwrite or cell.standing().status != "complete"]


def _bar(total: int) -> tqdm:
    """A bar on a terminal, where there is something to do."""
    return tqdm(total=total, unit="cell", smoothing=0.1, disable=total == 0 or not sys.stderr.isatty())
