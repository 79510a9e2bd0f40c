"""Holds worlds against each other: do methods do in other simulators what they do on Kinetix's levels?

python exp/compare_worlds.py

reads the archives of the studies with constant delays, runs nothing, and writes exp_runs/transfer.md.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rtc.report import transfer
from rtc.shared import commands, provenance
from rtc.shared.validation import require_int
from rtc.study import archive
from rtc.study.transfer import Place

# Of the studies in exp_runs/ by their folders.
WORLDS = (
    Place("Kinetix", "delay_sweep", "d{d}_s{s}"),
    Place("LIBERO-Spatial", "study_libero_delay", "delay_{d}"),
    Place("Gymnasium", "study_gymnasium", "delay_{d}"),
)


@dataclass(frozen=True)
class Arguments:
    """Command line of compare_worlds.

    Attributes:
        delays: constant delays, in control ticks.
        root: folder of the studies; the page goes there too.
    """

    delays: tuple[int, ...] = (1, 2, 4)
    root: Path = Path("exp_runs")

    def __post_init__(self):
        for delay in self.delays:
            require_int("delays entry", delay, low=0)


def run(args: Arguments) -> None:
    """Writes the page."""
    started = time.time()
    places = [Place(one.name, args.root / one.root, one.profile) for one in WORLDS]
    cells = [cell for one in places for cell in archive.read(one.root).cells.values()]
    origin = provenance.cells_origin(cells) if cells else ""
    commands.open_first(transfer.write(args.root, places, args.delays, origin, started))


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
