"""Policies where two answers are right: success, which answer, changes of mind, and a report.

python exp/several_answers.py
python exp/several_answers.py --place routes

The first is on LIBERO's tasks, whose policies are made by `bash exp/train_choice.sh`, and needs LIBERO on state
observations (docs/libero.md); the second on a level of Kinetix: `bash exp/train_routes.sh`. Cells that are missing are
computed; a killed run goes on where it was.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rtc.programs import study as program
from rtc.shared import commands
from rtc.study.arguments import StudyArguments
from rtc.study.protocols import several_answers


@dataclass(frozen=True)
class Arguments(StudyArguments):
    """Command line of several_answers.

    Attributes:
        place: where: LIBERO's tasks with two right answers, or the level of Kinetix with two routes.
        policies: folder of the policies, with `h8`, `h8_prefix`, `l1` and `tokens`; by default that of the place.
        kinds: kinds of policies: flow, l1, rsd, fast; some of them need an output root of their own.
    """

    place: Literal["libero", "routes"] = "libero"
    policies: str | None = None
    kinds: tuple[str, ...] = several_answers.KINDS

    def __post_init__(self):
        for name in ("run_path", "prefix_run_path"):
            if getattr(self, name) != getattr(StudyArguments, name):
                raise ValueError(f"{name}={getattr(self, name)!r} has no effect here: give policies")


def run(args: Arguments) -> None:
    """Computes what is missing and writes the report."""
    names = [one.name for one in dataclasses.fields(StudyArguments)]
    study = several_answers.study(several_answers.PLACES[args.place], args.policies, args.kinds)
    how = StudyArguments(**{name: getattr(args, name) for name in names})
    page = Path(how.of(study).output_root) / "summary.md"
    harmless = {*names} - {"output_root"}
    commands.keep_page(args, page, "output_root", usual=Arguments(place=args.place), harmless=harmless)
    program.run(study, how)


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
