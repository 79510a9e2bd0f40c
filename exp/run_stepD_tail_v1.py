"""Step D, tail_v1; see `rtc.programs.tail_matrix`."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.tail_matrix")
