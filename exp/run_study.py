"""Runs a study, a TOML file: `python exp/run_study.py methods`; see `rtc.programs.study`."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.study")
