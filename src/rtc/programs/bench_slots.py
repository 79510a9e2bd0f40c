"""How many slots the executor should use: warm wall time of one tail_v1 cell per method and number of slots.

The settings alternate, so that a drift of the machine's speed hits all of them; medians are printed. Ratios between
rows mean more than their absolute values.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rtc.delay import profiles
from rtc.shared import commands, tables
from rtc.shared.validation import require_int, require_some
from rtc.study import evaluation
from rtc.study import subject as subjects
from rtc.study.evaluation import EvalConfig


@dataclass(frozen=True)
class Arguments:
    """Command line of bench_slots.

    Attributes:
        slots: numbers of slots per device to compare.
        methods: execution methods.
        num_evals: episodes per run.
        repeats: runs of each setting, after one that compiles.
        run_path: directory of the policy's run.
        level_path: world file or level name.
    """

    slots: tuple[int, ...] = (8, 16, 32, 64, 128)
    methods: tuple[str, ...] = ("naive", "realtime")
    num_evals: int = 256
    repeats: int = 3
    run_path: str = "logs-bc/grasp_easy_h4"
    level_path: str = "grasp_easy"

    def __post_init__(self) -> None:
        require_some("slots", self.slots)
        require_some("methods", self.methods)
        require_int("repeats", self.repeats, low=1)


def run(args: Arguments) -> None:
    subject = subjects.load(args.run_path, args.level_path)
    profile = profiles.profile("long_tail")
    base = EvalConfig(num_evals=args.num_evals, delay_profile=profile, model=subject.policy.config)
    settings = [
        dataclasses.replace(base, method=method, num_slots=slots) for method in args.methods for slots in args.slots
    ]
    runs = {config: [] for config in settings}
    for _ in range(1 + args.repeats):
        for config in settings:
            runs[config].append(evaluation.evaluate(config, subject.level, subject.policy))
    rows = [
        {
            "method": config.method,
            "slots": config.num_slots,
            "cold (s)": outcomes[0].wall_s,
            "warm (s)": float(np.median([outcome.wall_s for outcome in outcomes[1:]])),
            "slot utilisation": outcomes[0].utilisation,
        }
        for config, outcomes in runs.items()
    ]
    print(tables.format_table(pd.DataFrame(rows)))


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
