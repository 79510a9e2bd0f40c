"""The program of a study: computes the cells that are missing, then writes its report."""

from collections.abc import Callable, Sequence

from rtc import cli, launch, study_report
from rtc.study import Outcome, Study, StudyArguments, root_of, tasks
from rtc.study_report import Figures


def run(study: Study, args: StudyArguments, draw: Callable[[Study, Outcome], Figures] | None = None) -> None:
    """Runs a study; `draw` makes its own figures, see `study_report.write`."""
    if not args.report_only:
        launch.run(tasks(study, args), args.launcher)
    study_report.write(study, Outcome.read(study, args), root_of(study, args), draw)


def main(
    study: Study,
    description: str | None,
    draw: Callable[[Study, Outcome], Figures] | None = None,
    argv: Sequence[str] | None = None,
) -> None:
    """Parses the command line (`argv`, by default `sys.argv`) and runs a study."""
    cli.start(StudyArguments, lambda args: run(study, args, draw), description, argv)
