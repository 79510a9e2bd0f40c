"""The program of a study: computes the cells that are missing, then writes its report."""

import dataclasses
from collections.abc import Callable, Sequence

from rtc import cli, launch, study_report, tracking
from rtc.study import Outcome, Study, StudyArguments, root_of, tasks
from rtc.study_report import Figures


def run(study: Study, args: StudyArguments, draw: Callable[[Study, Outcome], Figures] | None = None) -> None:
    """Runs a study; `draw` makes its own figures, see `study_report.write`."""
    failure = None
    if not args.report_only:
        try:
            launch.run_all(tasks(study, args), args.launcher)
        except ChildProcessError as error:  # the report covers what is there
            failure = error
    outcome, root = Outcome.read(study, args), root_of(study, args)
    study_report.write(study, outcome, root, draw)
    if failure is not None:
        raise failure
    if args.wandb:
        tables = {
            "comparisons": study_report.comparison_table(study, outcome),
            "means": study_report.mean_table(study, outcome),
            "side_effects": study_report.side_effect_table(study, outcome),
            "levels": study_report.level_table(study, outcome),
        }
        tracking.log_report(study.name, dataclasses.asdict(args), tables, root)


def main(
    study: Study,
    description: str | None,
    draw: Callable[[Study, Outcome], Figures] | None = None,
    argv: Sequence[str] | None = None,
) -> None:
    """Parses the command line (`argv`, by default `sys.argv`) and runs a study."""
    cli.start(StudyArguments, lambda args: run(study, args, draw), description, argv)
