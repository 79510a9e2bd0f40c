"""Holds worlds against each other: do methods do in other simulators what they do on Kinetix's levels?"""

from program import start

if __name__ == "__main__":
    start("rtc.programs.compare_worlds")
