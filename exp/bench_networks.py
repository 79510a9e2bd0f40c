"""How near policies and training come to the machine's limit, on one core or on all; writes the table."""

import os
import sys

from program import start

if __name__ == "__main__":
    if "--all-cores" not in sys.argv:
        # Before JAX counts the cores.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    start("rtc.programs.bench_networks")
