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

from rtc import worlds
from rtc.delay import profiles
from rtc.delay.profiles import DelayProfileConfig
from rtc.programs import plugins
from rtc.shared import commands, paths, tables
from rtc.shared.paths import WorldRules
from rtc.shared.validation import require_some
from rtc.study import cells, plan, runner, subject
from rtc.study.arguments import StudyArguments
from rtc.study.evaluation import EvalConfig, evaluate
from rtc.study.protocols import published_curve
from rtc.study.study import Arm, Study
from rtc.worlds.kinetix.levels import LEVEL_NAMES

__all__ = ["Arguments", "DelayProfileConfig", "EvalConfig", "evaluate", "run"]

SWEEP_METHODS = ("naive", "realtime", "bid", "hard_masking")
MAX_SWEPT_DELAY = 4
NO_DELAY, CUSTOM = "no_delay", "custom"


@dataclass(frozen=True)
class Arguments:
    """Command line of eval_flow.

    Attributes:
        run_path: directory of the run, logs-bc/<run>.
        level_paths: level names, or paths of world files.
        world_rules: how Kinetix dumps among the levels are read: as written (dump, the default) or as Kinetix's
            importer builds them.
        policy: file of the policy instead of the run's, for a level of your own; one level only.
        output_dir: where results.csv and the cells go; finished cells are not computed again, and runs with other
            settings go beside them.
        name: what the delay is called in tables and directories; by default the profile's name, no_delay or custom.
        seed: seed of all randomness.
        profile: a named delay profile instead of config.delay_profile.
        sweep: run the published grid of constant delays and execute horizons.
        overwrite: compute cells again although they are there.
        config: the evaluation.
        config_file: TOML file with fields of the evaluation; flags win over it.
        plugin: Python files that register methods of your own (docs/adding-a-method.md).
    """

    run_path: str
    level_paths: tuple[str, ...] = LEVEL_NAMES
    world_rules: WorldRules | None = None
    policy: str | None = None
    output_dir: str = "eval_output"
    name: str | None = None
    seed: int = 0
    profile: str | None = None
    sweep: bool = False
    overwrite: bool = False
    config: EvalConfig = field(default_factory=EvalConfig)
    config_file: str | None = None
    plugin: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        require_some("level_paths", self.level_paths)
        if self.policy is not None and len(self.level_paths) != 1:
            raise ValueError(f"policy={self.policy!r} is for one level: give it with --level-paths <one level>")
        if self.sweep and (self.profile is not None or self.name is not None):
            given = "profile" if self.profile is not None else "name"
            value = getattr(self, given)
            raise ValueError(f"sweep=True and {given}={value!r}: the sweep sets the delays, so leave one out")
        if self.sweep:
            _check_left_to_the_sweep(self.config)
        if self.profile is not None and self.config.delay_profile != DelayProfileConfig():
            raise ValueError(f"profile={self.profile!r} and config.delay_profile both set the delay: leave one out")


def _check_left_to_the_sweep(config: EvalConfig) -> None:
    """Raises ValueError where the evaluation has something that the sweep sets itself."""
    plain = EvalConfig()
    for name in ("method", "delay_profile", "estimator"):
        if getattr(config, name) != getattr(plain, name):
            raise ValueError(f"config.{name} has no effect with sweep=True, which sets it: leave one out")
    if config.execution.execute_horizon != plain.execution.execute_horizon:
        raise ValueError("config.execution.execute_horizon has no effect with sweep=True, which sets it: leave one out")


def arms(args: Arguments, chunk_size: int) -> list[Arm]:
    """What is evaluated on a level.

    Raises:
        ValueError: unknown profile.
    """
    if args.sweep:
        points = published_curve.grid(range(min(MAX_SWEPT_DELAY, chunk_size // 2) + 1), chunk_size)
        swept = published_curve.arms(SWEEP_METHODS, points, args.config)
        return [dataclasses.replace(one, policy=args.policy) for one in swept]
    config, name = args.config, CUSTOM
    if args.profile is not None:
        config, name = dataclasses.replace(config, delay_profile=profiles.profile(args.profile)), args.profile
    elif config.delay_profile == DelayProfileConfig():
        name = NO_DELAY
    return [Arm(args.name or name, config.method, config, policy=args.policy)]


def level_study(args: Arguments, level_path: str) -> tuple[Study, StudyArguments]:
    """The evaluation of one level, and how it runs."""
    config = args.config
    chunk = subject.load(args.run_path, level_path, config.step, config.model, args.policy).chunk_size
    study = Study(
        name="eval_flow",
        title="Evaluation",
        title_zh="评估",
        question="",
        question_zh="",
        arms=tuple(arms(args, chunk)),
        levels=(level_path,),
        num_evals=config.num_evals,
        layout="{level}",
    )
    how = StudyArguments(
        levels=(level_path,),
        seeds=(args.seed,),
        num_evals=config.num_evals,
        run_path=args.run_path,
        prefix_run_path=args.run_path,
        num_slots=config.num_slots,
        output_root=args.output_dir,
        overwrite=args.overwrite,
        plugin=args.plugin,
    )
    # A name that was given is a promise: where it is taken by another configuration, the runner says so.
    return (study if args.name else plan.distinct(study, how)), how


def run(args: Arguments) -> None:
    """Evaluates every level, writes all complete cells of the folder to `<output_dir>/results.csv` and prints them."""
    for path in args.level_paths:
        if worlds.is_hosted(path):
            raise ValueError(
                f"level_paths entry {path!r} is a world that is stepped from Python: name it in the levels of a study "
                "file (docs/studies.md)"
            )
    level_paths = paths.under(args.world_rules, args.level_paths)
    names = [paths.level_name(path) for path in level_paths]
    if len(set(names)) < len(names):
        raise ValueError(f"level_paths name {names}: results are kept by level name, so give each name once")
    evaluations = [level_study(args, path) for path in level_paths]
    for study, how in evaluations:
        runner.check(study, how)
    for study, how in evaluations:
        runner.run(study, how)
    table = cells.collect(args.output_dir, "results.csv")
    print(tables.format_table(table[list(cells.MAIN_COLUMNS)]))
    commands.open_first(Path(args.output_dir) / "results.csv")


def main(argv: Sequence[str] | None = None) -> None:
    plugins.start(Arguments, run, __doc__, argv, default=lambda: commands.from_file(Arguments, argv))
