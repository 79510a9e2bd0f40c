"""RSD on the benchmark: what the layers are worth, ways to decode, and the closed loop with the decoding's own delays.

Finished cells are kept in <root>/cells/<level>/ and not computed again. Needs the times of exp/bench_rsd.py.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from rtc import cli
from rtc.rsd import program
from rtc.rsd.program import Protocol


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
    program.run(args.protocol, json.loads(args.bench.read_text()))


if __name__ == "__main__":
    cli.start(Arguments, run, __doc__)
