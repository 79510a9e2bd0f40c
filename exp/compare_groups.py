"""Paired comparison of two groups of cells, which may lie in different experiments.

    python exp/compare_groups.py --candidate exp_runs/a/long_tail/realtime --reference exp_runs/b/long_tail/realtime

Episodes are paired by seed and number; they share their random numbers.
"""

from dataclasses import dataclass
from pathlib import Path

from rtc.shared import commands
from rtc.study import cells, statistics
from rtc.study.cells import CellData
from rtc.study.protocols import tail_v1


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
    """The cells of a group, by seed. Raises ValueError where there is none or one is damaged."""
    places = sorted(Path(directory).glob("seed_*"), key=lambda place: int(place.name.removeprefix("seed_")))
    if not places:
        raise ValueError(f"{directory} holds no cells seed_<n>: give <experiment>/<profile>/<method>")
    return [cells.read_cell(place) for place in places]


def run(args: Arguments) -> None:
    candidate, reference = read_group(args.candidate), read_group(args.reference)
    pairs = [[(c.cell.seed, *c.episodes["episode"]) for c in group] for group in (candidate, reference)]
    if pairs[0] != pairs[1]:
        raise ValueError("candidate and reference hold other seeds or episodes: they cannot be paired")
    for name, group in (("candidate", candidate), ("reference", reference)):
        rate = statistics.solve_rate(group)
        print(f"{name}: solved {rate.value:.1%} [{rate.low:.1%}, {rate.high:.1%}] of {getattr(args, name)}")
    for metric in tail_v1.DIFFERENCE_METRICS:
        found = statistics.group_difference(candidate, reference, metric.column)
        value, low, high = (metric.show(found[key], "+") for key in ("difference", "low", "high"))
        print(f"{metric.label}: {value} [{low}, {high}] over {found['pairs']} pairs")


if __name__ == "__main__":
    commands.start(Arguments, run, __doc__)
