"""Policies where two answers are right, in LIBERO's simulation: success, which answer, changes of mind, and a report.

python exp/several_answers.py

The policies are made by `bash exp/train_choice.sh`. Cells that are missing are computed, which needs LIBERO on state
observations (docs/libero.md); a killed run goes on where it was.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

from rtc.programs import study as program
from rtc.shared import commands
from rtc.study.arguments import StudyArguments
from rtc.study.protocols import libero_choice
from rtc.study.protocols.libero_choice import Policies


@dataclass(frozen=True)
class Arguments(StudyArguments):
    """Command line of several_answers.

    Attributes:
        policies: where the policies are.
    """

    policies: Policies = field(default_factory=Policies)

    def __post_init__(self):
        for name in ("run_path", "prefix_run_path"):
            if getattr(self, name) != getattr(StudyArguments, name):
                raise ValueError(f"{name}={getattr(self, name)!r} has no effect here: give policies.<kind>")


def run(args: Arguments) -> None:
    """Computes what is missing and writes the report."""
    names = (one.name for one in dataclasses.fields(StudyArguments))
    program.run(libero_choice.study(args.policies), StudyArguments(**{name: getattr(args, name) for name in names}))


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
