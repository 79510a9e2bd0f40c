"""Measures how long one query takes on this device, at batch 1 and per method, and writes traces for delay profiles.

    python exp/measure_latency.py
    python src/eval_flow.py --run-path logs-bc/grasp_easy_h4 ... --config.delay-profile.mode trace \\
        --config.delay-profile.trace-path exp_runs/latency/realtime.csv
"""

import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rtc import methods
from rtc.bench import latency
from rtc.programs import plugins
from rtc.programs.available import available
from rtc.report import page
from rtc.report.page import Page, Section
from rtc.shared import commands, files, provenance
from rtc.shared.validation import require_int
from rtc.study import costs
from rtc.study import subject as subjects
from rtc.study.evaluation import EvalConfig
from rtc.study.subject import FlowSubject

INTRODUCTION = """\
Milliseconds from the call to the chunk in the host's memory, at batch 1, one query after the other, on an otherwise
idle device; methods take turns. `cold start` is a method's first query, with tracing and compilation (or a look into
its cache); it is not among the others. `<method>.csv` holds every query, for profiles of mode `trace`. Methods that
look ahead do so for one tick. `act p50`: the median time of choosing one action, of methods that do so at every tick.
`Mmul`: millions of multiplications, of a query, of each tick that it looks ahead beyond the first, and of choosing an
action.
"""


@dataclass(frozen=True)
class Arguments:
    """Command line of measure_latency.

    Attributes:
        run_path: run of the policies.
        prefix_run_path: run of the policies trained with simulated delay, for the methods that need them.
        level_path: world file or level name.
        methods: methods to measure; by default all that look at no simulator and whose networks are there, those of
            plugins included.
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
    methods: tuple[str, ...] = ()
    num_flow_steps: int = 5
    queries: int = 2000
    warm_up: int = 10
    block: int = 200
    output_root: str = "exp_runs/latency"
    profile_dir: str | None = None
    plugin: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        for name, low in (("queries", 1), ("warm_up", 0), ("block", 1)):
            require_int(name, getattr(self, name), low=low)


def subject_of(args: Arguments, name: str) -> tuple[EvalConfig, FlowSubject]:
    """A method's configuration and policy.

    Raises:
        ValueError: the method looks at the simulator, or lacks a network.
        FileNotFoundError: there is no run of policies that it needs.
    """
    run_path = methods.run_for(name, args.run_path, args.prefix_run_path)
    subject = subjects.load(run_path, args.level_path)
    config = EvalConfig(method=name, num_flow_steps=args.num_flow_steps, model=subject.policy.config)
    method = methods.make(name)
    if method.privileged or method.network_evaluations(1) == 0:
        why = "looks at the simulator" if method.privileged else "asks no policy"
        raise ValueError(f"methods={name!r} {why}: its time is not that of a query; leave it out")
    subject.check(config)
    return config, subject


def measured(args: Arguments) -> dict[str, tuple[EvalConfig, FlowSubject]]:
    """By method, what is measured; without a choice, what can be."""
    if args.methods:
        return {name: subject_of(args, name) for name in args.methods}
    return available(lambda name: subject_of(args, name))


def multiplications(config: EvalConfig, subject: FlowSubject) -> dict[str, float]:
    """The columns of what a method multiplies, in millions."""
    env, policy, controller = subject.prepare(config)
    found = costs.of(policy, controller.method, env, config.num_flow_steps)
    values = {"query": found.query + found.ahead, "ahead": found.ahead, "act": found.tick}
    return {f"Mmul {name}": value / costs.MILLION for name, value in values.items()}


def run(args: Arguments) -> None:
    commands.keep_page(args, Path(args.output_root) / "summary.md", "output_root", harmless=("plugin", "profile_dir"))
    started, root = time.time(), files.require_writable(args.output_root)
    chosen = measured(args)
    asked = {name: latency.query_function(*one) for name, one in chosen.items()}
    acting = {name: latency.act_function(*one) for name, one in chosen.items() if methods.make(name).acts}
    how = args.queries, args.warm_up, args.block
    acts = {name: found.row() for name, found in latency.measure(acting, *how).items()}
    rows = []
    for name, found in latency.measure(asked, *how).items():
        files.atomic_write(root / f"{name}.csv", files.to_csv(found.trace().round(6)))
        act = {"act p50": acts[name]["p50"] if name in acts else None}
        rows.append({"method": name, **found.row(), **act, **multiplications(*chosen[name])})
        if args.profile_dir is not None:
            latency.profile(asked[name], f"{args.profile_dir}/{name}")
    table = pd.DataFrame(rows)
    facts = {"arguments": dataclasses.asdict(args), "latency_ms": rows, **provenance.provenance(started)}
    files.atomic_write(root / "latency.json", json.dumps(facts, indent=2) + "\n")
    text = Page("Latency of one query", [Section("", [INTRODUCTION, table])], provenance.footer(started))
    commands.open_first(page.write(root, {"en": text}, {}))


def main(argv: Sequence[str] | None = None) -> None:
    plugins.start(Arguments, run, __doc__, argv)
