"""How many slots the executor should use: warm wall time of one tail_v1 cell per method and number of slots."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.bench_slots")
