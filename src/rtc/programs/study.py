"""Runs a study, a TOML file: `python exp/run_study.py methods` (or `exp-delta study methods`), or a path to a file of
your own (docs/studies.md).

The cells that are missing are computed, then its video and its report are written.
"""

import dataclasses
import sys
from collections.abc import Sequence

from rtc import report
from rtc.programs import plugins
from rtc.report import preview
from rtc.shared import commands, tracking
from rtc.study import cells as store
from rtc.study import files, plan, runner
from rtc.study.arguments import StudyArguments
from rtc.study.outcome import Outcome
from rtc.study.study import Study


def run(study: Study, args: StudyArguments) -> None:
    """Runs a study and writes its report; the report covers what is there, whatever failed."""
    args, failure = args.of(study), None
    if not args.report_only:
        try:
            runner.run(study, args, keep_going=True)
        except ChildProcessError as error:
            failure = error
    outcome = Outcome.read(study, args)
    if args.preview and outcome.cells:
        write_preview(study, outcome, args)
    page = report.write(study, outcome, args.root)
    outcome.keep(args.root)
    if failure is not None:
        raise failure
    if args.wandb:
        tracking.log_report(study.name, dataclasses.asdict(args), report.tables(study, outcome), args.root)
    commands.open_first(page)


def write_preview(study: Study, outcome: Outcome, args: StudyArguments) -> None:
    """Writes preview.mp4: an episode of the arm that starves most, on the first level."""
    name, level, seed = outcome.levels[0], args.levels[0], args.seeds[0]
    there = [one for one in study.arms if one.decoding is None and _recorded(outcome, (name, *one.key))]
    if there:
        worst = max(there, key=lambda one: outcome.cells[name, *one.key][0].result["starved_fraction"])
        shown = plan.planned(study, args, worst, level, seed)
        preview.write(args.root / "preview.mp4", shown.subject, shown.config, shown.directory / store.TRACE)


def _recorded(outcome: Outcome, key: tuple[str, str, str]) -> bool:
    """Whether an episode of this cell was recorded tick by tick; archives hold none."""
    return key in outcome.cells and outcome.cells[key][0].trace is not None


def main(argv: Sequence[str] | None = None) -> None:
    """Takes the file from the command line; what follows it are the options of any study."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if not argv or argv[0].startswith("-"):
        known = ", ".join(sorted(path.stem for path in files.FOLDER.glob("*.toml")))
        usage = "usage: exp-delta study STUDY [options]; STUDY --help lists the options"
        raise SystemExit(f"{__doc__}\n{usage}\nstudies: {known}")
    with commands.plain_errors():
        plugins.load(argv[1:])
        study = files.read(argv[0])
    commands.start(StudyArguments, lambda args: run(study, args), study.question or study.title, argv[1:])
