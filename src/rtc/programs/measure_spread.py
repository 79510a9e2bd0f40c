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

INTRODUCTION = """\
Along episodes without delay that execute the first action of a fresh chunk per tick, with the benchmark's action noise
and flow steps, several more chunks are drawn at every tick. The noise of a draw belongs to the ticks that its actions
are for, and stays with them from query to query. Root mean squares, in units of actions, over ticks and bound actions:

- `spread_first`, `spread_chunk`: standard deviation over draws, of a chunk's first action and of all its actions;
- `revision`: change of what a draw has for a tick between two neighbouring queries;
- `ahead_<l>`: what a draw has for the tick l ticks later, against its first action in that tick's own query;
- `fresh_<l>`: the same against another draw's, as in use.
"""


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
    loaded = [(run_path, subjects.load(run_path, level)) for level in args.levels for run_path in args.run_paths]
    rows = []
    for run_path, subject in loaded:
        runtime.make_room()
        found = spread.measure(subject, draws=args.draws, episodes=args.episodes, seed=args.seed)
        rows.append({"level": subject.level.name, "run": run_path} | {k: round(v, 4) for k, v in found.items()})
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    files.atomic_write(root / "spread.csv", files.to_csv(table))
    text = Page("Spread and revision of chunks", [Section("", [INTRODUCTION, table])], provenance.footer(started))
    commands.open_first(page.write(root, {"en": text}, {}))


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
