"""The published delay curve: 12 levels, constant delays d = 0 ... 4, s = max(d, 1), every execution method.

Finished cells are kept in <output-root>/cells/ and not computed again; tables and figure cover what is there.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rtc import methods, report
from rtc.programs import plugins
from rtc.shared import commands, paths
from rtc.shared.paths import WorldRules
from rtc.shared.validation import require_choice
from rtc.study import runner, subject
from rtc.study.arguments import StudyArguments, keep_report
from rtc.study.evaluation import DEFAULT_SLOTS, EvalConfig
from rtc.study.outcome import Outcome
from rtc.study.protocols import published_curve
from rtc.study.study import EPISODES, PREFIX_RUN, RUN, Study
from rtc.worlds.kinetix.levels import LEVEL_NAMES


@dataclass(frozen=True)
class Arguments:
    """Command line of run_delay_sweep; the defaults are the protocol.

    Attributes:
        levels: names of levels, or paths of world files.
        world_rules: how Kinetix dumps among the levels are read: as written (dump, the default) or as Kinetix's
            importer builds them.
        delays: inference delays d in control ticks, constant and known to the controller.
        methods: execution methods.
        grid: evaluate `grid_methods` at every s from max(d, 1) to H - d too.
        grid_methods: methods of the grid, those of them that are among `methods`.
        num_evals: episodes per point.
        num_flow_steps: Euler steps per chunk.
        start_noise: perturbation of the start states; 0 starts every episode alike.
        run_path: run of the policies.
        prefix_run_path: run of the policies trained with simulated delay, for trained_prefix.
        num_slots: episodes simulated at a time, per device; results do not depend on it.
        left_out: measures of single episodes that are not kept beside the means of cells (returned_episode_returns,
            rms_ddelta_action), so that the outcomes of many episodes are small.
        output_root: where cells, tables and the figure go.
        overwrite: compute cells again although others, or finished ones, are in their place.
        report_only: write tables and figures of the cells that are there.
        plugin: Python files that register methods of your own (docs/adding-a-method.md).
    """

    levels: tuple[str, ...] = LEVEL_NAMES
    world_rules: WorldRules | None = None
    delays: tuple[int, ...] = (0, 1, 2, 3, 4)
    methods: tuple[str, ...] = (
        "naive",
        "realtime",
        "hard_masking",
        "trained_prefix",
        "bid",
        "carried_noise",
        "foresee_learned",
        "head_only",
        "a2c2",
        "foresee_learned+a2c2",
        "foresee_simulator",
    )
    grid: bool = False
    grid_methods: tuple[str, ...] = ("naive", "realtime", "a2c2")
    num_evals: int = EPISODES
    num_flow_steps: int = 5
    start_noise: float = 0.0
    run_path: str = RUN
    prefix_run_path: str = PREFIX_RUN
    num_slots: int = DEFAULT_SLOTS
    left_out: tuple[str, ...] = ()
    output_root: str = "exp_runs/delay_sweep"
    overwrite: bool = False
    report_only: bool = False
    plugin: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        for name in self.grid_methods:
            require_choice("grid_methods entry", name, methods.METHODS)
        if not self.grid and self.grid_methods != Arguments.grid_methods:
            raise ValueError(f"grid_methods={self.grid_methods!r} has no effect without a grid: give --grid too")

    def of_study(self) -> StudyArguments:
        """The same for the runner."""
        return StudyArguments(
            levels=self.levels,
            seeds=(0,),
            num_evals=self.num_evals,
            run_path=self.run_path,
            prefix_run_path=self.prefix_run_path,
            num_slots=self.num_slots,
            output_root=self.output_root,
            overwrite=self.overwrite,
            plugin=self.plugin,
        )

    def study(self) -> Study:
        """What is evaluated."""
        if not self.methods or not self.levels:
            raise ValueError("there are no cells to run: give at least one each of methods, levels and delays")
        first = methods.run_for(self.methods[0], self.run_path, self.prefix_run_path)
        chunk = subject.load(first, self.levels[0]).chunk_size
        base = EvalConfig(num_flow_steps=self.num_flow_steps, start_noise=self.start_noise)
        grid_methods = [one for one in self.methods if self.grid and one in self.grid_methods]
        return published_curve.study(self.methods, grid_methods, self.delays, chunk, base, self.levels, self.left_out)


def run(args: Arguments) -> None:
    """Computes what is missing and writes the report."""
    levels = paths.under(args.world_rules, args.levels)
    args = dataclasses.replace(args, levels=levels, world_rules=None)
    keep_report(args, Arguments(), args.output_root, Arguments.output_root)
    study, how = args.study(), args.of_study()
    if not args.report_only:
        runner.run(study, how)
    outcome = Outcome.read(study, how)
    outcome.keep(how.root)
    page = report.write(study, outcome, Path(args.output_root))
    commands.open_first(page)


def main(argv: Sequence[str] | None = None) -> None:
    plugins.start(Arguments, run, __doc__, argv)
