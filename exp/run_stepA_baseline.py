"""Step A: the policy without any delay, and a video; see `rtc.programs.tail_baseline`."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.tail_baseline")
