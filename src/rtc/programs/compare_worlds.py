"""Holds worlds against each other: do methods do in other simulators what they do on Kinetix's levels?

python exp/compare_worlds.py

reads the archives of the studies with constant and with random delays, runs nothing, and writes exp_runs/transfer.md.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rtc.delay import profiles as delay_profiles
from rtc.report import transfer
from rtc.shared import commands, provenance
from rtc.shared.validation import require_int
from rtc.study import archive
from rtc.study.transfer import DELAYS, PROFILES, RANDOM_WORLDS, WORLDS


@dataclass(frozen=True)
class Arguments:
    """Command line of compare_worlds.

    Attributes:
        delays: constant delays, in control ticks.
        profiles: names of profiles of random delays.
        root: folder of the studies; the page goes there too.
    """

    delays: tuple[int, ...] = DELAYS
    profiles: tuple[str, ...] = PROFILES
    root: Path = Path("exp_runs")

    def __post_init__(self):
        for delay in self.delays:
            require_int("delays entry", delay, low=0)
        for profile in self.profiles:
            delay_profiles.profile(profile)


def run(args: Arguments) -> None:
    """Writes the page."""
    commands.keep_page(args, args.root / "transfer.md", "root")
    started = time.time()
    constant, random = [[one.below(args.root) for one in places] for places in (WORLDS, RANDOM_WORLDS)]
    cells = [cell for one in (*constant, *random) for cell in archive.read(one.root).cells.values()]
    origin = provenance.cells_origin(cells) if cells else ""
    commands.open_first(transfer.write(args.root, constant, random, args.delays, args.profiles, origin, started))


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
