"""Where the time of tail_v1 goes: one control tick of the closed loop, part by part, and the whole matrix."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.bench_tail_v1")
