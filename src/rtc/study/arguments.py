"""What the command line of a study may change."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from rtc.shared import launchers
from rtc.study.evaluation import DEFAULT_SLOTS
from rtc.study.study import PREFIX_RUN, RUN, Study


@dataclass(frozen=True)
class StudyArguments:
    """Command line of a study; the defaults are its protocol.

    Attributes:
        levels: names of levels, or paths of world files; by default the study's.
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

    def of(self, study: Study) -> "StudyArguments":
        """The same with everything that was left to the study.

        Raises:
            ValueError: other episodes than the study's would replace its cells.
        """
        if self.output_root is None and self.num_evals not in (None, study.num_evals):
            raise ValueError(
                f"num_evals={self.num_evals}, but {study.name} has {study.num_evals}: give an --output-root of its "
                "own, so that the study's cells stay"
            )
        return dataclasses.replace(
            self,
            levels=self.levels or study.levels,
            seeds=self.seeds or study.seeds,
            num_evals=study.num_evals if self.num_evals is None else self.num_evals,
            output_root=self.output_root or f"exp_runs/{study.name}",
        )

    @property
    def root(self) -> Path:
        """Where the results go; known once a study has filled it in."""
        return Path(self.output_root)
