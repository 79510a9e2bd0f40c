"""Paired comparison of two groups of cells, which may lie in different experiments.

    python exp/compare_groups.py --candidate exp_runs/a/long_tail/realtime --reference exp_runs/b/long_tail/realtime

Episodes are paired by seed and number; they share their random numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rtc.report import catalogue
from rtc.shared import commands
from rtc.study import cells, pairs, statistics
from rtc.study.cells import CellData
from rtc.study.statistics import Interval

METRICS = (
    "returned_episode_solved",
    "returned_episode_returns",
    "returned_episode_lengths",
    "rms_ddelta_action",
    "max_ddelta_action",
)
# What two groups must have in common to be paired.
SHARED = ("level_sha256", "checkpoint_sha256")


@dataclass(frozen=True)
class Arguments:
    """Command line of compare_groups.

    Attributes:
        candidate: directory of a group, <experiment>/<profile>/<method>.
        reference: directory of the group to subtract.
    """

    candidate: str
    reference: str


def read_group(directory: str) -> list[CellData]:
    """The cells of a group, by seed. Raises ValueError where there is none, one is damaged or a folder is no seed's."""
    places = list(Path(directory).glob("seed_*"))
    for place in places:
        if not place.name.removeprefix("seed_").isdecimal():
            raise ValueError(f"{place} is no cell seed_<n>: move it out of the group")
    places.sort(key=lambda place: int(place.name.removeprefix("seed_")))
    if not places:
        raise ValueError(f"{directory} holds no cells seed_<n>: give <experiment>/<profile>/<method>")
    return [cells.read_cell(place) for place in places]


def require_pairs(candidate: Sequence[CellData], reference: Sequence[CellData]) -> None:
    """Raises ValueError where episodes of two groups do not belong together."""
    pairs = [[(cell.cell.seed, *cell.episodes["episode"]) for cell in group] for group in (candidate, reference)]
    if pairs[0] != pairs[1]:
        raise ValueError("candidate and reference hold other seeds or episodes: they cannot be paired")
    for name in SHARED:
        if len({cell.inputs[name] for cell in (*candidate, *reference)}) > 1:
            what = "levels" if name == "level_sha256" else "policies"
            raise ValueError(f"candidate and reference are of different {what} ({name}): they cannot be paired")


def run(args: Arguments) -> None:
    """Prints the solve rates and the paired differences."""
    candidate, reference = read_group(args.candidate), read_group(args.reference)
    require_pairs(candidate, reference)
    for name, group in (("candidate", candidate), ("reference", reference)):
        rate = statistics.solve_rate(group)
        print(f"{name}: solved {rate.value:.1%} [{rate.low:.1%}, {rate.high:.1%}] of {getattr(args, name)}")
    for column in METRICS:
        metric, found = catalogue.metric(column), pairs.group_difference(candidate, reference, column)
        interval = Interval(found["difference"], found["low"], found["high"])
        print(f"{metric.difference_heading}: {metric.interval(interval, signed=True)} over {found['pairs']} pairs")


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
