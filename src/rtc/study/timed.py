"""Runs groups of a study's arms one after the other, as long as there is time."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tqdm import tqdm

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


def run(study: Study, args: StudyArguments, groups: Mapping[str, Sequence[Arm]], seconds: float) -> Rest:
    """Computes the cells that are missing, or all of them with `args.overwrite`, group by group.

    A group is begun if, going by the slowest one so far, at least half of it falls within the time; the first one is,
    unless there is no time at all. Cells are kept, so that another run goes on where this one stopped. A group in which
    a NaN or infinity appears ends there, and the next one is begun.

    Args:
        study: the study that all arms belong to.
        args: how, as `StudyArguments.of` gives it.
        groups: arms that share a compiled program, by a name.
        seconds: wall time; 0 computes nothing.

    Returns:
        The groups that are incomplete.

    Raises:
        ConflictError: results of another configuration are in the way.
    """
    todo = {name: _planned(study, args, arms) for name, arms in groups.items()}
    todo = {name: cells for name, cells in todo.items() if cells}
    started, slowest, rest = time.monotonic(), 0.0, Rest()
    with _bar(sum(map(len, todo.values()))) as bar:
        for name, cells in todo.items():
            spent = time.monotonic() - started
            if spent + slowest / 2 >= seconds:
                rest.late.append(name)
                continue
            bar.set_description(name)
            try:
                runner.run_cells(cells, overwrite=args.overwrite, done=lambda _line: bar.update())
            except NonFiniteError as error:
                rest.broken[name] = str(error)
            slowest = max(slowest, time.monotonic() - started - spent)
            if bar.disable:
                print(f"{name}: {len(cells)} cells, {time.monotonic() - started - spent:.0f} s", flush=True)
    return rest


def _planned(study: Study, args: StudyArguments, arms: Sequence[Arm]) -> list[PlannedCell]:
    cells = planning.cells(study, args, arms)
    return [cell for cell in cells if args.overwrite or cell.standing().status != "complete"]


def _bar(total: int) -> tqdm:
    """A bar on a terminal, where there is something to do."""
    return tqdm(total=total, unit="cell", smoothing=0.1, disable=total == 0 or not sys.stderr.isatty())
