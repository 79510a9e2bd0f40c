"""Checks how often the intervals of the reports err, on episodes whose true difference is known."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.check_statistics")
