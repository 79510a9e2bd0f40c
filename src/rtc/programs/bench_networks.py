"""How near policies and training come to the machine's limit, on one core or on all; writes the table.

The programs alternate in one process, which is bound to one core unless `--all-cores` is given, so that a drift of the
machine's speed hits all of them; medians count. The limit is the fastest of as many large matrix products there.
Queries are those of a policy of the shipped size that reads the varying entries of grasp_easy's observation; updates
are of the shipped and of the published size.
"""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rtc.bench import alternation, networks
from rtc.shared import commands, files, launchers, provenance, tables
from rtc.training import cloning, ppo_training
from rtc.training.cloning import CloningConfig
from rtc.training.expert import ExpertConfig

PUBLISHED = "cloning, published size"


@dataclass(frozen=True)
class Arguments:
    """Command line of bench_networks.

    Attributes:
        batch: queries at a time.
        chunk_sizes: H of the policies.
        repeats: runs of each program, after one that is not counted.
        published: measure updates of the published size too.
        all_cores: bind the process to no core, so that matrix products use all of them.
        output: the table.
        against: root of another checkout; both are measured in turn and only the comparison is written.
        rounds: runs of each checkout.
    """

    batch: int = 64
    chunk_sizes: tuple[int, ...] = (4, 8)
    repeats: int = 20
    published: bool = True
    all_cores: bool = False
    output: Path = Path("exp_runs/bench_networks.md")
    against: Path | None = None
    rounds: int = 2


def run(args: Arguments) -> None:
    commands.keep_page(args, args.output, "output")
    if args.against is not None:
        alternation.write("exp/bench_networks.py", args, "Networks against the machine's limit")
        return
    started, small = time.time(), cloning.SMALL_MODEL
    workloads = {networks.LIMIT: networks.limit()}
    for size in args.chunk_sizes:
        workloads |= networks.queries(dataclasses.replace(small, action_chunk_size=size), args.batch)
    shipped = dataclasses.replace(small, action_chunk_size=8)
    workloads["cloning, shipped size"] = networks.updates(CloningConfig(model=shipped), 10)
    expert = ExpertConfig(tuple(range(networks.VARYING)))
    workloads["PPO"] = networks.ppo(ppo_training.TrainConfig(), expert)
    if args.published:
        workloads[PUBLISHED] = networks.updates(cloning.PUBLISHED, 1)
    times = networks.measure(workloads, args.repeats)
    texts = [_hours(times[PUBLISHED])] if args.published else []
    table = tables.format_table(pd.DataFrame(networks.rows(workloads, times)))
    text = "\n\n".join(["# Networks against the machine's limit", __doc__.strip(), table, *texts])
    files.atomic_write(args.output, f"{text}\n\n{provenance.footer(started)}")
    print(table, *texts, sep="\n")
    commands.open_first(args.output)


def _hours(update_us: float) -> str:
    """What a level of the published size takes, from the time of an update."""
    config = cloning.PUBLISHED
    updates = config.num_epochs * (1_000_000 // config.batch_size)
    hours = update_us * updates / 3.6e9
    cores = len(launchers.usable_cores())
    return f"A level of the published size, {updates} updates: {hours:.1f} hours on {cores} core(s), at this rate."


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
