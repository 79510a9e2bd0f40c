"""Evaluates cloned flow policies under inference delay and writes one row of results per level and setting.

    python src/eval_flow.py --run-path logs-bc/<run> --output-dir exp_runs/tmp_eval

evaluates the naive method without delay. `--profile long_tail` or `--config.delay-profile.*` choose the delay,
`--config.method` the method, and `--sweep` runs the published grid instead: every constant, known delay d with every
execute horizon s that fits the chunk, for naive, realtime, bid and hard_masking.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from rtc.delay import profiles
from rtc.delay.profiles import DelayProfileConfig
from rtc.shared import commands, files
from rtc.shared import tables as report
from rtc.study import cells as results_cells
from rtc.study import runner
from rtc.study.cells import Cell
from rtc.study.evaluation import EvalConfig, evaluate
from rtc.study.protocols import published_curve
from rtc.study.runner import PlannedCell
from rtc.worlds.kinetix.levels import LEVEL_NAMES

__all__ = ["Arguments", "DelayProfileConfig", "EvalConfig", "evaluate", "run"]

SWEEP_METHODS = ("naive", "realtime", "bid", "hard_masking")
MAX_SWEPT_DELAY = 4


@dataclass(frozen=True)
class Arguments:
    """Command line of eval_flow.

    Attributes:
        run_path: directory of the run, logs-bc/<run>.
        level_paths: world files or level names.
        output_dir: where results.csv and the cells go; finished cells are not computed again.
        seed: seed of all randomness.
        profile: a named delay profile instead of config.delay_profile.
        sweep: run the published grid of constant delays and execute horizons.
        overwrite: compute cells again although they are there.
        config: the evaluation.
        config_file: TOML file with fields of the evaluation; flags win over it.
    """

    run_path: str
    level_paths: tuple[str, ...] = LEVEL_NAMES
    output_dir: str = "eval_output"
    seed: int = 0
    profile: str | None = None
    sweep: bool = False
    overwrite: bool = False
    config: EvalConfig = field(default_factory=EvalConfig)
    config_file: str | None = None


def plan(args: Arguments, level_name: str) -> list[PlannedCell]:
    """The cells of one level.

    Raises:
        ValueError: unknown profile.
    """
    if args.sweep:
        if args.profile is not None:
            raise ValueError(f"sweep=True and profile={args.profile!r}: the sweep sets the delays, so leave one out")
        size = args.config.model.action_chunk_size
        points = published_curve.grid(range(min(MAX_SWEPT_DELAY, size // 2) + 1), size)
        return published_curve.plan(level_name, SWEEP_METHODS, points, args.config, args.seed)
    config, name = args.config, "custom"
    if args.profile is not None:
        if config.delay_profile != DelayProfileConfig():
            raise ValueError(f"profile={args.profile!r} and config.delay_profile both set the delay: leave one out")
        config, name = dataclasses.replace(config, delay_profile=profiles.profile(args.profile)), args.profile
    elif config.delay_profile == DelayProfileConfig():
        name = "no_delay"
    return [PlannedCell(Cell(name, config.method, args.seed, level_name), config)]


def run(args: Arguments) -> None:
    """Evaluates every level, writes `<output_dir>/results.csv` and prints its table."""
    step, model = args.config.step, args.config.model
    subjects = [runner.load_subject(args.run_path, path, step, model) for path in args.level_paths]
    names = [subject.level.name for subject in subjects]
    if len(set(names)) < len(names):
        raise ValueError(f"level_paths name {names}: results are kept by level name, so give each name once")
    tables = []
    for subject in subjects:
        cells = plan(args, subject.level.name)
        root = Path(args.output_dir) / subject.level.name
        runner.run_cells(root, cells, subject, overwrite=args.overwrite)
        tables.append(results_cells.collect(root, [planned.cell for planned in cells]))
    table = pd.concat(tables, ignore_index=True)
    path = Path(args.output_dir) / "results.csv"
    files.atomic_write(path, files.to_csv(table))
    print(report.format_table(table[list(results_cells.MAIN_COLUMNS)]))
    print(f"results: {path}")


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv, default=lambda: commands.from_file(Arguments, argv))
