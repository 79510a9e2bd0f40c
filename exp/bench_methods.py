"""What every execution method costs in the simulator, against naive execution; writes exp_runs/bench_methods.md."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.bench_methods")
