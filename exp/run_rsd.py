"""RSD on the benchmark: what the layers are worth, ways to decode, and the closed loop with the decoding's own delays.

Finished cells are kept in <root>/cells/<level>/ and not computed again. Needs the times of exp/bench_rsd.py.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from rtc.programs import rsd
from rtc.programs.rsd import Protocol
from rtc.shared import commands


@dataclass(frozen=True)
class Arguments:
    """Command line of run_rsd.

    Attributes:
        protocol: what to evaluate.
        bench: what exp/bench_rsd.py measured.
    """

    protocol: Protocol = field(default_factory=Protocol)
    bench: Path = Path("exp_runs/rsd_bench/bench.json")


def run(args: Arguments) -> None:
    if not args.bench.exists():
        raise FileNotFoundError(f"no times of passes at {args.bench}: run `python exp/bench_rsd.py` first")
    rsd.run(args.protocol, json.loads(args.bench.read_text()))


if __name__ == "__main__":
    commands.start(Arguments, run, __doc__)
