"""Wall-clock time of RSD at batch 1 on this device: every way to decode, and what a pass costs."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.bench_rsd")
