"""The program of a study: computes the cells that are missing, then writes its video and its report."""

import dataclasses
from collections.abc import Callable, Sequence

from rtc.report import preview, study_page
from rtc.report.study_page import Figures
from rtc.shared import commands, launchers, tracking
from rtc.study import cells
from rtc.study.study import Outcome, Study, StudyArguments, load, planned, run_of, tasks


def run(study: Study, args: StudyArguments, draw: Callable[[Study, Outcome], Figures] | None = None) -> None:
    """Runs a study; `draw` makes its own figures, see `study_report.write`."""
    args, failure = args.of(study), None
    if not args.report_only:
        try:
            launchers.run_all(tasks(study, args), args.launcher)
        except ChildProcessError as error:  # the report covers what is there
            failure = error
    outcome = Outcome.read(study, args)
    if args.preview and outcome.cells:
        write_preview(study, outcome, args)
    study_page.write(study, outcome, args.root, draw)
    if failure is not None:
        raise failure
    if args.wandb:
        tables = {
            "comparisons": study_page.comparison_table(study, outcome),
            "means": study_page.mean_table(study, outcome),
            "side_effects": study_page.side_effect_table(study, outcome),
            "levels": study_page.level_table(study, outcome),
        }
        tracking.log_report(study.name, dataclasses.asdict(args), tables, args.root)


def write_preview(study: Study, outcome: Outcome, args: StudyArguments) -> None:
    """Writes preview.mp4: an episode of the arm that starves most, on the first level."""
    level, seed = outcome.levels[0], args.seeds[0]
    there = [one for one in study.arms if (level, *one.key) in outcome.cells]
    worst = max(there, key=lambda one: outcome.cells[level, *one.key][0].result["starved_fraction"])
    subject = load(run_of(worst, args), level)
    wanted = planned(worst, args, level, seed, subject)
    trace = cells.cell_dir(args.root / "cells" / level, wanted.cell) / cells.TRACE
    preview.write(args.root / "preview.mp4", subject, wanted.config, trace)


def main(
    study: Study,
    description: str | None,
    draw: Callable[[Study, Outcome], Figures] | None = None,
    argv: Sequence[str] | None = None,
) -> None:
    """Parses the command line (`argv`, by default `sys.argv`) and runs a study."""
    commands.start(StudyArguments, lambda args: run(study, args, draw), description, argv)
