"""The published delay curve; see `rtc.programs.delay_sweep`."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.delay_sweep")
