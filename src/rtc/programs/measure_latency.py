"""Measures how long one query takes on this device, at batch 1 and per method, and writes traces for delay profiles.

    python exp/measure_latency.py
    python src/eval_flow.py --run-path logs-bc/grasp_easy_h4 ... --config.delay-profile.mode trace \\
        --config.delay-profile.trace-path exp_runs/latency/realtime.csv
"""

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from rtc import methods
from rtc.bench import latency
from rtc.programs import plugins
from rtc.report import page
from rtc.report.page import Page, Section
from rtc.shared import commands, files, provenance
from rtc.study import subject as subjects
from rtc.study.evaluation import EvalConfig

INTRODUCTION = """\
Milliseconds from the call to the chunk in the host's memory, at batch 1, one query after the other, on an otherwise
idle device; methods take turns. `cold start` is a method's first query, with tracing and compilation (or a look into
its cache); it is not among the others. `<method>.csv` holds every query, for profiles of mode `trace`.
"""


def _plain() -> tuple[str, ...]:
    """The methods that look at no simulator and need no other network than the weak policy of a run."""
    made = {name: methods.make(name) for name in methods.METHODS}
    return tuple(name for name, one in made.items() if not one.privileged and set(one.assets()) <= {"weak"})


@dataclass(frozen=True)
class Arguments:
    """Command line of measure_latency.

    Attributes:
        run_path: run of the policies.
        prefix_run_path: run of the policies trained with simulated delay, for the methods that need them.
        level_path: world file or level name.
        methods: methods to measure; by default all that need no network besides the policy, those of plugins included.
        num_flow_steps: flow steps per query.
        queries: queries that count, per method.
        warm_up: queries before each block.
        block: queries of a method before it is the next one's turn.
        output_root: where traces and the table go.
        profile_dir: also record 20 queries of each method with jax.profiler and write the trace there.
        plugin: Python files that register methods of your own (docs/adding-a-method.md).
    """

    run_path: str = "logs-bc/h8"
    prefix_run_path: str = "logs-bc/h8_prefix"
    level_path: str = "grasp_easy"
    methods: tuple[str, ...] = field(default_factory=_plain)
    num_flow_steps: int = 5
    queries: int = 2000
    warm_up: int = 10
    block: int = 200
    output_root: str = "exp_runs/latency"
    profile_dir: str | None = None
    plugin: tuple[Path, ...] = ()


def query_function(args: Arguments, name: str) -> Callable[[int], object]:
    """What answers the queries of one method."""
    run_path = methods.run_for(name, args.run_path, args.prefix_run_path)
    subject = subjects.load(run_path, args.level_path)
    config = EvalConfig(method=name, num_flow_steps=args.num_flow_steps, model=subject.policy.config)
    if methods.make(name).privileged:
        raise ValueError(f"methods={name!r} looks at the simulator: its time is not that of a query; leave it out")
    return latency.query_function(config, subject)


def run(args: Arguments) -> None:
    started, root = time.time(), files.require_writable(args.output_root)
    ask = {name: query_function(args, name) for name in args.methods}
    rows = []
    for name, found in latency.measure(ask, args.queries, args.warm_up, args.block).items():
        files.atomic_write(root / f"{name}.csv", files.to_csv(found.trace().round(6)))
        rows.append({"method": name, **found.row()})
        if args.profile_dir is not None:
            latency.profile(ask[name], f"{args.profile_dir}/{name}")
    table = pd.DataFrame(rows)
    facts = {"arguments": dataclasses.asdict(args), "latency_ms": rows, **provenance.provenance(started)}
    files.atomic_write(root / "latency.json", json.dumps(facts, indent=2) + "\n")
    text = Page("Latency of one query", [Section("", [INTRODUCTION, table])], provenance.footer(started))
    commands.open_first(page.write(root, {"en": text}, {}))


def main(argv: Sequence[str] | None = None) -> None:
    plugins.start(Arguments, run, __doc__, argv)
