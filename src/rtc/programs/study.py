"""Runs a study, a TOML file: `python exp/run_study.py methods` (or `exp-delta study methods`), or a path to a file of
your own (docs/studies.md).

The cells that are missing are computed, then its video and its report are written.
"""

import dataclasses
import sys
from collections.abc import Sequence

from rtc import report, worlds
from rtc.programs import plugins
from rtc.report import preview
from rtc.report.preview import Take
from rtc.shared import commands, tracking
from rtc.study import files, plan, runner
from rtc.study.arguments import StudyArguments
from rtc.study.outcome import Outcome
from rtc.study.questions import ArmKey
from rtc.study.study import Study


def run(study: Study, args: StudyArguments) -> None:
    """Runs a study and writes its report; the report covers what is there, whatever failed."""
    report.check(study)
    args, failure = args.of(study), None
    if not args.report_only:
        try:
            runner.run(study, args, keep_going=True)
        except ChildProcessError as error:
            failure = error
    outcome = Outcome.read(study, args)
    if args.preview and outcome.cells:
        write_preview(study, outcome, args)
    outcome.keep(args.root)
    page = report.write(study, outcome, args.root)
    if failure is not None:
        raise failure
    if args.wandb:
        tracking.log_report(study.name, dataclasses.asdict(args), report.tables(study, outcome), args.root)
    commands.open_first(page)


def write_preview(study: Study, outcome: Outcome, args: StudyArguments) -> None:
    """Writes preview.mp4: one episode of the first level, if that can be drawn, under the two arms of `previewed`."""
    if worlds.is_hosted(args.levels[0]):
        return
    keys = previewed(study, outcome)
    try:
        takes = [_take(study, outcome, args, key) for key in keys]
    except FileNotFoundError as error:
        print(f"no preview: {error}")
        return
    if takes:
        preview.write(args.root / "preview.mp4", takes, preview.typical(takes[0].cell))


def previewed(study: Study, outcome: Outcome) -> Sequence[ArmKey]:
    """The arms of the preview: those that the study names, else the comparison whose candidate starves most.

    Without comparisons it is the arm that starves most, alone. None where an arm that the study names has no finished
    cells on the level.
    """
    level = outcome.levels[0]
    there = {one.key for one in study.arms if one.decoding is None and (level, *one.key) in outcome.cells}

    def starved(key: ArmKey) -> float:
        return outcome.cells[level, *key][0].result["starved_fraction"]

    pairs = [
        (comparison.candidate, comparison.reference)
        for comparison in study.comparisons
        if comparison.less is None and there.issuperset(comparison.arms)
    ]
    if study.preview is not None:
        lacking = [" under ".join(reversed(key)) for key in study.preview if key not in there]
        if lacking:
            print(f"no preview: {study.name} names {', '.join(lacking)}, whose cells on {level} cannot be shown")
        return () if lacking else study.preview
    if pairs:
        return max(pairs, key=lambda pair: (starved(pair[0]), starved(pair[1])))
    return [max((one.key for one in study.arms if one.key in there), key=starved)] if there else []


def _take(study: Study, outcome: Outcome, args: StudyArguments, key: ArmKey) -> Take:
    planned = plan.planned(study, args, study.arm(key), args.levels[0], args.seeds[0])
    return Take(planned.subject, planned.config, outcome.cells[outcome.levels[0], *key][0])


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
