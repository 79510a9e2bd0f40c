"""Which of two right answers episodes took (`rtc.worlds.modes`), in cells and over those of an arm."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rtc.control.host import ExternalEnvironment
from rtc.shared import provenance
from rtc.study import identity, statistics
from rtc.study.cells import CellData
from rtc.study.evaluation import EvalConfig, Evaluation
from rtc.study.statistics import Interval
from rtc.study.subject import Subject
from rtc.worlds import modes
from rtc.worlds.kinetix.routes import ROUTES
from rtc.worlds.kinetix.routes import noted as noted_routes


def noted(found: Evaluation, environment: ExternalEnvironment) -> Evaluation:
    """The evaluation, with columns of what its environment noted of the episodes (`notes`), if it notes anything."""
    notes = getattr(environment, "notes", None)
    return found if notes is None else with_columns(found, [notes[one] for one in found.summary.episodes["episode"]])


def with_columns(found: Evaluation, notes: list[dict[str, float]]) -> Evaluation:
    """The evaluation, with these columns of every episode, in their order, and those of the cell."""
    frame = found.summary.episodes
    for name in modes.COLUMNS:
        frame[name] = [one[name] for one in notes]
    found.summary.row.update(modes.summary({name: frame[name].to_numpy(float) for name in modes.COLUMNS}))
    return found


def completed(found: Evaluation, subject: Subject, config: EvalConfig, seed: int) -> Evaluation:
    """The evaluation, with these columns on a level with two routes: its episodes are run again, with their poses."""
    routes = ROUTES.get(subject.level.name)
    if routes is None:
        return found
    episodes = found.summary.episodes["episode"].to_numpy()
    records = subject.rollout(config, seed=seed, episodes=episodes, num_slots=config.num_slots, record_poses=True)
    solved = np.asarray(records.solved)
    return with_columns(found, noted_routes(routes, records.poses, np.asarray(records.actions), solved))


def code(found: str, level: str, config: EvalConfig) -> str:
    """The digest of a cell's code, with that which says what routes its episodes took, where the level has two."""
    if level not in ROUTES:
        return found
    own = identity.code_from(("rtc.worlds.kinetix.routes.noted", "rtc.worlds.kinetix.routes.ROUTES"), config)
    return provenance.sha256(f"{found} {own}".encode())


@dataclass(frozen=True)
class Tally:
    """What the episodes of some cells took.

    Attributes:
        counts: episodes that reached answer 0, answer 1, and none.
        second: share of answer 1 among those that reached one, with its Wilson interval; NaN where none did.
        switched: share of episodes that changed their mind once at least, with its Wilson interval.
        switches: mean number of changes, with its bootstrap interval.
        places: where each decided, on the line from -1 (answer 0) to 1; NaN for those that did not.
        answers: the answer that each reached, or NONE.
    """

    counts: tuple[int, int, int]
    second: Interval
    switched: Interval
    switches: Interval
    places: np.ndarray
    answers: np.ndarray


def has_modes(cells: Iterable[CellData]) -> bool:
    """Whether these cells are of worlds with two right answers."""
    return all(modes.ANSWER in cell.episodes for cell in cells)


def tally(cells: Iterable[CellData]) -> Tally:
    """What the episodes of these cells took."""
    frame = pd.concat([cell.episodes for cell in cells], ignore_index=True)
    answers, switches = frame[modes.ANSWER].to_numpy(int), frame[modes.SWITCHES].to_numpy(float)
    counts = tuple(int((answers == which).sum()) for which in (0, 1, modes.NONE))
    reached = counts[0] + counts[1]
    nothing = Interval(float("nan"), float("nan"), float("nan"))
    return Tally(
        counts,
        statistics.wilson(counts[1], reached) if reached else nothing,
        statistics.wilson(int((switches > 0).sum()), len(switches)),
        statistics.bootstrap_mean(switches),
        frame[modes.PLACE].to_numpy(float),
        answers,
    )
