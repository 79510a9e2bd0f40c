"""Step E: the verdict on tail_v1; see `rtc.programs.tail_summary`."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.tail_summary")
