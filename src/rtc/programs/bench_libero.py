"""Speed of LIBERO's simulation on state observations, robosuite's own step against the one that skips what is unused.

python exp/bench_libero.py
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rtc.bench import libero_steps
from rtc.shared import commands, provenance, tables
from rtc.shared.validation import require_int


@dataclass(frozen=True)
class Arguments:
    """Command line of bench_libero.

    Attributes:
        task: number of the task in libero_spatial.
        ticks: control ticks per repeat.
        repeats: repeats, after one that is not counted.
    """

    task: int = 0
    ticks: int = 200
    repeats: int = 3

    def __post_init__(self):
        require_int("task", self.task, low=0, high=9)
        require_int("ticks", self.ticks, low=1, high=900)
        require_int("repeats", self.repeats, low=1)


def run(args: Arguments) -> None:
    print(tables.format_table(libero_steps.compare(args.task, args.ticks, args.repeats)))
    print(provenance.footer())


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
