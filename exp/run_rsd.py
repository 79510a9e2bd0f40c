"""RSD on the benchmark; see `rtc.programs.rsd`."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.rsd")
