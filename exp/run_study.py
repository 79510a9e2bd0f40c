"""Runs a study that is written as a TOML file, see `rtc/study_file.py`: `python exp/run_study.py my_study.toml`."""

import sys

from rtc import cli, study_file, study_program


def main() -> None:
    """Takes the file from the command line; what follows it are the options of any study."""
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        raise SystemExit(f"{__doc__}\n\nusage: python exp/run_study.py FILE [options]; FILE --help lists the options")
    with cli.plain_errors():
        study = study_file.read(sys.argv[1])
    study_program.main(study, study.question or study.title, argv=sys.argv[2:])


if __name__ == "__main__":
    main()
