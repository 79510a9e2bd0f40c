"""Runs a study that is written as a TOML file, see `rtc/study_file.py`: `python exp/run_study.py my_study.toml`."""

import sys

from rtc.programs import study as study_program
from rtc.shared import commands
from rtc.study import files


def main() -> None:
    """Takes the file from the command line; what follows it are the options of any study."""
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        raise SystemExit(f"{__doc__}\n\nusage: python exp/run_study.py FILE [options]; FILE --help lists the options")
    with commands.plain_errors():
        study = files.read(sys.argv[1])
    study_program.main(study, study.question or study.title, argv=sys.argv[2:])


if __name__ == "__main__":
    main()
