"""Wall-clock time of RSD at batch 1 on this device: every way to decode, and one pass against its number of tokens."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from rtc import cli, provenance, report, results
from rtc.rsd import arms, bench, figures
from rtc.rsd.experiment import Runs

INTRODUCTION = """\
# RSD at batch 1

Milliseconds per query on an otherwise idle device, in episodes that execute whole chunks (`run_episode_with_chunks`);
arms take turns. `expected passes` is M - K·a: M blocks, K drafted ones, a the share of them that was accepted whole.
The speculative arms call draft and verification separately, the others are one program per query.
"""


@dataclass(frozen=True)
class Arguments:
    """Command line of bench_rsd.

    Attributes:
        level: level whose episodes are run.
        queries: queries per arm, at least.
        repeats: passes per number of tokens.
        runs: where the policies are.
        output_root: where tables and figure go.
    """

    level: str = "grasp_easy"
    queries: int = 2000
    repeats: int = 300
    runs: Runs = field(default_factory=Runs)
    output_root: Path = Path("exp_runs/rsd_bench")


def run(args: Arguments) -> None:
    started, root = time.time(), results.require_writable(args.output_root)
    engines = {name: bench.engine_of(args.runs.tokens, arm, args.level) for name, arm in arms.ARMS.items()}
    episodes = bench.run_episodes(engines, args.level, args.queries)
    flow_ms = bench.flow_ms(args.runs.flow, args.level, args.queries)
    stats = {name: engine.get_stats() for name, engine in engines.items()}
    passes = bench.pass_times(args.runs.tokens, args.level, args.repeats)
    facts = {
        "pass_ms": passes["shipped"].iloc[-1]["p50"],
        "draft_ms": passes["draft"].iloc[-1]["p50"],
        "flow_ms": flow_ms["p50"],
        "flow": flow_ms,
        "stats": stats,
        **provenance.provenance(started),
    }
    results.atomic_write(root / "bench.json", json.dumps(facts, indent=2, default=str) + "\n")
    curve = pd.concat([table.assign(model=name) for name, table in passes.items()])
    results.atomic_write(root / "pass_times.csv", results.to_csv(curve))
    figures.pass_times(passes, root / "figures" / "pass_times")
    text = [
        INTRODUCTION,
        report.format_table(bench.table(stats, episodes, flow_ms)) + "\n",
        bench.DEVIATION_TEXT,
        report.format_table(bench.deviation_table(engines, args.level)) + "\n",
        bench.PASS_TEXT,
        report.format_table(bench.pass_table(passes)) + "\n",
        "![Time of one pass](figures/pass_times.png)\n",
        provenance.footer(started),
    ]
    results.atomic_write(root / "summary.md", "\n".join(text))
    print(f"wrote {root / 'summary.md'}")


if __name__ == "__main__":
    cli.start(Arguments, run, __doc__)
