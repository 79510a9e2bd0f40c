"""What every execution method costs in the simulator, against naive execution: time per slot and control tick.

    python exp/bench_methods.py
    python exp/bench_methods.py --methods a2c2 foresee_simulator --level-path catapult

Methods and delays alternate, so that a drift of the machine's speed hits all of them; ratios mean more than times.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from rtc import methods
from rtc.bench import methods as bench
from rtc.programs.available import available
from rtc.report.page import Page, Section
from rtc.shared import commands, files, provenance
from rtc.shared.validation import require_int, require_some
from rtc.study import subject as subjects
from rtc.study.subject import FlowSubject

INTRODUCTION = """\
Episodes of {ticks} ticks on `{level}` with the policies of `{run}`, {slots} at a time per device; the delay d is
constant and known, s = max(d, 1). `ratio`: to naive execution at the same d. All delays share a method's program.
"""


@dataclass(frozen=True)
class Arguments:
    """Command line of bench_methods.

    Attributes:
        methods: execution methods beside naive; by default all whose networks are there.
        delays: constant delays, in ticks.
        ticks: length of an episode, in ticks.
        num_slots: episodes at a time, per device.
        repeats: runs of each, after one that does not count.
        run_path: run of the policies.
        prefix_run_path: run of the policies trained with simulated delay, for methods that need them.
        level_path: world file or level name.
        output: where the table goes.
    """

    methods: tuple[str, ...] = ()
    delays: tuple[int, ...] = (1, 4)
    ticks: int = 64
    num_slots: int = 64
    repeats: int = 5
    run_path: str = "logs-bc/h8"
    prefix_run_path: str = "logs-bc/h8_prefix"
    level_path: str = "grasp_easy"
    output: str = "exp_runs/bench_methods.md"

    def __post_init__(self):
        for name in ("ticks", "num_slots", "repeats"):
            require_int(name, getattr(self, name), low=1)
        require_some("delays", self.delays)
        for delay in self.delays:
            require_int("delays entry", delay, low=0)


def subject_of(args: Arguments, name: str) -> FlowSubject:
    """The policy that a method executes. Raises ValueError or FileNotFoundError where something is missing."""
    subject = subjects.load(methods.run_for(name, args.run_path, args.prefix_run_path), args.level_path)
    for delay in args.delays:
        subject.check(bench.at_delay(name, delay))
    return subject


def chosen(args: Arguments) -> dict[str, FlowSubject]:
    """By method, its policy; without a choice, all that can be measured."""
    if args.methods:
        return {name: subject_of(args, name) for name in dict.fromkeys((bench.NAIVE, *args.methods))}
    return {bench.NAIVE: subject_of(args, bench.NAIVE)} | available(lambda name: subject_of(args, name))


def run(args: Arguments) -> None:
    started = time.time()
    how = {"ticks": args.ticks, "num_slots": args.num_slots, "repeats": args.repeats}
    table = pd.DataFrame(bench.measure(chosen(args), args.delays, **how))
    text = INTRODUCTION.format(ticks=args.ticks, level=args.level_path, run=args.run_path, slots=args.num_slots)
    page = Page("What methods cost in the simulator", [Section("", [text, table])], provenance.footer(started))
    files.atomic_write(args.output, page.markdown())
    commands.open_first(args.output)


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
