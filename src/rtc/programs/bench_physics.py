"""How fast the specialised physics is, against Kinetix's own step, level by level; writes the table.

Three programs per level, with the same random actions and episodes that start over: Kinetix as shipped (one JAX
device, `vmap` over environments), the same divided over one device per core, and the specialised step divided over
those. They alternate in one process, so that a drift of the machine's speed hits all of them; medians count.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rtc.bench import alternation, throughput
from rtc.shared import commands, files, provenance, tables
from rtc.shared.validation import require_some
from rtc.worlds.kinetix import levels


@dataclass(frozen=True)
class Arguments:
    """Command line of bench_physics.

    Attributes:
        levels: levels to measure.
        stock_envs: environments at a time of the stock engine, over all devices.
        envs: environments at a time of the specialised step, per device.
        stock_ticks: control ticks per run of the stock engine.
        ticks: control ticks per run of the specialised step.
        repeats: runs of each program, after one that is not counted.
        output: the table.
        against: root of another checkout; both are measured in turn and only the comparison is written.
        rounds: runs of each checkout.
    """

    levels: tuple[str, ...] = levels.LEVEL_NAMES
    stock_envs: int = 256
    envs: int = 128
    stock_ticks: int = 8
    ticks: int = 256
    repeats: int = 5
    output: Path = Path("exp_runs/bench_physics.md")
    against: Path | None = None
    rounds: int = 2

    def __post_init__(self) -> None:
        require_some("levels", self.levels)


def run(args: Arguments) -> None:
    commands.keep_page(args, args.output, "output")
    if args.against is not None:
        alternation.write("exp/bench_physics.py", args, "Simulation speed")
        return
    started, rows = time.time(), []
    stock = throughput.StockPrograms(args.stock_envs, args.stock_ticks)
    for name in args.levels:
        level = levels.load(name)
        rows.append({"level": name} | throughput.compare(level, stock, args.envs, args.ticks, args.repeats))
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    medians = table[[column for column in table if column.startswith("×")]].median()
    summary = ", ".join(f"{column} {value:.0f}" for column, value in medians.items())
    text = f"# Simulation speed\n\n{__doc__}\n{tables.format_table(table)}\n\nMedian over levels: {summary}.\n\n"
    files.atomic_write(args.output, text + provenance.footer(started))
    print(f"{tables.format_table(table)}\n{summary}")
    commands.open_first(args.output)


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
