"""Checks the specialised physics against Kinetix's own step, level by level, and writes the table of differences."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.check_physics")
