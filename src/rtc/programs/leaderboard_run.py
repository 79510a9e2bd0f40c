"""Runs a method under the leaderboard's protocol and writes an entry: `exp-delta leaderboard run METHOD`.

    exp-delta leaderboard run blend --plugin my_methods.py

writes exp_runs/leaderboard/blend: the cells, episodes.parquet and entry.json, and a copy of the plugin. A killed run
goes on where it was. docs/leaderboard.md has all steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from rtc.delay.estimators import EstimatorConfig
from rtc.methods import MethodOptions
from rtc.programs import plugins
from rtc.shared import commands, launchers
from rtc.study import entries, runner
from rtc.study.arguments import StudyArguments
from rtc.study.entries import Entry
from rtc.study.evaluation import DEFAULT_SLOTS
from rtc.study.outcome import Outcome
from rtc.study.study import PREFIX_RUN, RUN


@dataclass(frozen=True)
class Arguments:
    """Command line of leaderboard run.

    Attributes:
        method: name of the method.
        label: its name in the table, by default the method's.
        protocol: the study whose profiles, levels, seeds, episodes and horizons it meets.
        method_options: numbers of the method.
        estimator: what it is told about the delay; the first value is the profile's median.
        plugin: the Python file that registers the method, for one of your own.
        run_path: run of the policies.
        prefix_run_path: run of the policies trained with simulated delay, for methods that need them.
        num_evals: episodes per cell, for a trial: the check wants the protocol's.
        levels: levels, for a trial: the check wants the protocol's.
        num_slots: episodes simulated at a time, per device; results do not depend on it.
        output_dir: folder of the entry, by default exp_runs/leaderboard/<label>.
        launcher: how the cells are distributed.
        overwrite: compute cells again although others, or finished ones, are in their place.
    """

    method: tyro.conf.Positional[str]
    label: str = ""
    protocol: str = entries.PROTOCOL
    method_options: MethodOptions = field(default_factory=MethodOptions)
    estimator: EstimatorConfig = field(default_factory=EstimatorConfig)
    plugin: tuple[Path, ...] = ()
    run_path: str = RUN
    prefix_run_path: str = PREFIX_RUN
    num_evals: int | None = None
    levels: tuple[str, ...] = ()
    num_slots: int = DEFAULT_SLOTS
    output_dir: Path | None = None
    launcher: launchers.LauncherConfig = field(default_factory=launchers.LauncherConfig)
    overwrite: bool = False

    def __post_init__(self) -> None:
        if len(self.plugin) > 1:
            raise ValueError(
                f"plugin={[str(path) for path in self.plugin]} has {len(self.plugin)} files: an entry has one"
            )

    @property
    def entry(self) -> Entry:
        plugin = self.plugin[0].name if self.plugin else None
        return Entry(self.method, self.label, self.protocol, self.method_options, self.estimator, plugin)


def run(args: Arguments) -> None:
    """Computes what is missing, and writes the entry."""
    entry = args.entry
    study = entries.study(entry)
    how = StudyArguments(
        levels=args.levels,
        num_evals=args.num_evals,
        run_path=args.run_path,
        prefix_run_path=args.prefix_run_path,
        num_slots=args.num_slots,
        output_root=str(args.output_dir or entries.FOLDER / entry.name),
        overwrite=args.overwrite,
        launcher=args.launcher,
        plugin=args.plugin,
    ).of(study)
    runner.run(study, how, keep_going=True)
    Outcome.read(study, how, required=None).keep(how.root)
    entries.write(how.root, entry, args.plugin[0] if args.plugin else None)
    print(f"check it: exp-delta leaderboard check {how.root}")
    commands.open_first(how.root / entries.NAME)


def main(argv: Sequence[str] | None = None) -> None:
    plugins.start(Arguments, run, __doc__, argv)
