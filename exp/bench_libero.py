"""Speed of LIBERO's simulation on state observations, robosuite's own step against the fast one."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.bench_libero")
