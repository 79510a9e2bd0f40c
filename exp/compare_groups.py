"""Paired comparison of two groups of cells; see `rtc.programs.compare_groups`."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.compare_groups")
