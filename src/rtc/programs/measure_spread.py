"""Measures how much the chunks of policies differ between draws and between neighbouring queries; writes the table.

python exp/measure_spread.py
python exp/measure_spread.py --run-paths logs-bc/h8 logs-bc/recipe/r8 --levels cartpole_thrust
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from rtc.report import page
from rtc.report.page import Page, Section
from rtc.shared import commands, files, provenance, runtime
from rtc.study import spread
from rtc.study import subject as subjects
from rtc.worlds.kinetix.levels import LEVEL_NAMES


@dataclass(frozen=True)
class Arguments:
    """Command line of measure_spread.

    Attributes:
        run_paths: runs of policies.
        levels: names of levels, or paths of world files.
        draws: chunks per observation.
        episodes: episodes per policy.
        seed: of all noise.
        output_root: where the table goes.
    """

    run_paths: tuple[str, ...] = ("logs-bc/h8",)
    levels: tuple[str, ...] = LEVEL_NAMES
    draws: int = 8
    episodes: int = 64
    seed: int = 0
    output_root: str = "exp_runs/spread"


def run(args: Arguments) -> None:
    started, root = time.time(), files.require_writable(args.output_root)
    rows = []
    for level in args.levels:
        runtime.make_room()
        for run_path in args.run_paths:
            subject = subjects.load(run_path, level)
            found = spread.measure(subject, draws=args.draws, episodes=args.episodes, seed=args.seed)
            rows.append({"level": subject.level.name, "run": run_path} | {k: round(v, 4) for k, v in found.items()})
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    files.atomic_write(root / "spread.csv", files.to_csv(table))
    about = [*(part or "" for part in [spread.__doc__]), *(spread.measure.__doc__ or "").split("Returns:")[1:]]
    text = "\n\n".join(" ".join(part.split("Raises:")[0].split()) for part in about)
    sections = [Section("", [text, table])]
    text_page = Page("Spread and revision of chunks", sections, provenance.footer(started))
    commands.open_first(page.write(root, {"en": text_page}, {}))


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
