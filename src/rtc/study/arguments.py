"""What the command line of a study may change."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtc.shared import commands, launchers, paths
from rtc.shared.paths import WorldRules
from rtc.study.evaluation import DEFAULT_SLOTS
from rtc.study.study import PREFIX_RUN, RUN, Study

# Options that change neither which cells there are nor what is in them.
_HARMLESS = {"num_slots", "output_root", "root", "baseline_root", "overwrite", "launcher", "report_only", "preview"}
_HARMLESS |= {"wandb", "plugin", "grid", "grid_methods"}
_REPORTS = ("summary.md", "results_all.csv", "results.csv")


def keep_report(args: Any, protocol: Any, root: str | Path, own_root: str | Path) -> None:
    """Keeps the results of a protocol from being replaced by those of a part or a variant of it.

    Args:
        args: a program's arguments, a dataclass.
        protocol: the same with the protocol's settings.
        root: where results go.
        own_root: where those of the protocol belong.

    Raises:
        ValueError: these are other settings, `root` is the protocol's own and holds results.
    """
    changed = commands.changes(args, protocol, _HARMLESS)
    there = [Path(root) / name for name in _REPORTS if (Path(root) / name).exists()]
    if changed and there and not args.overwrite and Path(root).resolve() == Path(own_root).resolve():
        given, usual = commands.shown(args, changed), commands.shown(protocol, changed)
        flags = (
            "--output-root or --overwrite"
            if hasattr(args, "output_root")
            else "--protocol.root or --protocol.overwrite"
        )
        raise ValueError(
            f"{given}: the protocol has {usual}, whose results are in {there[0]}. Nothing was changed: give {flags}"
        )


@dataclass(frozen=True)
class StudyArguments:
    """Command line of a study; the defaults are its protocol.

    Attributes:
        levels: names of levels, or paths of world files; by default the study's. Others need an output root of their
            own where there is a report, as do other seeds and runs.
        seeds: seeds of all randomness, by default the study's.
        num_evals: episodes per arm, level and seed, by default the study's; others need an output root of their own.
        run_path: run of the policies.
        prefix_run_path: run of the policies trained with simulated delay, for methods that need them.
        num_slots: episodes simulated at a time, per device; results do not depend on it.
        output_root: where cells, tables and figures go; by default exp_runs/<study>.
        overwrite: compute cells again although others, or finished ones, are in their place.
        launcher: how the cells are distributed.
        report_only: write tables and figures of the cells that are there.
        preview: also write a video of one episode.
        wandb: log the report to Weights & Biases too; needs WANDB_MODE=online or offline, as it is disabled by
            default.
        plugin: Python files that register methods of your own (docs/adding-a-method.md).
        world_rules: how Kinetix dumps among the levels are read: as written (dump, the default) or as Kinetix's
            importer builds them.
    """

    levels: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    num_evals: int | None = None
    run_path: str = RUN
    prefix_run_path: str = PREFIX_RUN
    num_slots: int = DEFAULT_SLOTS
    output_root: str | None = None
    overwrite: bool = False
    launcher: launchers.LauncherConfig = field(default_factory=launchers.LauncherConfig)
    report_only: bool = False
    preview: bool = True
    wandb: bool = False
    plugin: tuple[Path, ...] = ()
    world_rules: WorldRules | None = None

    def of(self, study: Study) -> "StudyArguments":
        """The same with everything that was left to the study.

        Raises:
            ValueError: other episodes than the study's would replace its cells, or other cells its report.
        """
        if self.output_root is None and self.num_evals not in (None, study.num_evals):
            raise ValueError(
                f"num_evals={self.num_evals}, but {study.name} has {study.num_evals}: give an --output-root of its "
                "own, so that the study's cells stay"
            )
        own_root = f"exp_runs/{study.name}"
        filled = dataclasses.replace(
            self,
            levels=paths.under(self.world_rules, self.levels or study.levels),
            world_rules=None,
            seeds=self.seeds or study.seeds,
            num_evals=study.num_evals if self.num_evals is None else self.num_evals,
            output_root=self.output_root or own_root,
        )
        protocol = StudyArguments(levels=study.levels, seeds=study.seeds, num_evals=study.num_evals)
        keep_report(filled, protocol, filled.output_root, own_root)
        return filled

    @property
    def root(self) -> Path:
        """Where the results go; known once a study has filled it in."""
        return Path(self.output_root)
