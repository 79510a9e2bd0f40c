"""Tail control as earlier studies simulated it, and as it is: the comparison behind docs/protocol.md."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from rtc import methods
from rtc.bench import shared_delay
from rtc.control.controller import ExecutionConfig
from rtc.delay import profiles as delays_profiles
from rtc.delay import sampling
from rtc.report import catalogue
from rtc.shared import commands, files, provenance, tables
from rtc.study import evaluation, preparation, statistics
from rtc.study import subject as subjects
from rtc.study.evaluation import EvalConfig

INTRODUCTION = """\
# Tail control, simulated in two ways

`shared`: one delay for the whole batch, cut to the execute horizon s, known to the method; `own`: every environment
has its own delays, a long one postpones the next query and starves ticks, and the method plans with the largest of the
last ten. Solve rates of {episodes} episodes ({seeds} seeds), s = {horizon}, in percent with Wilson's 95 % interval;
`std`: standard deviation over seeds.
"""


@dataclass(frozen=True)
class Arguments:
    """Command line of reproduce_shared_delay.

    Attributes:
        methods: execution methods.
        profiles: delay profiles.
        seeds: seeds, one batch each.
        num_evals: episodes per seed.
        execute_horizon: s.
        run_path: run of the policy.
        level_path: world file or level name.
        output: the table.
    """

    methods: tuple[str, ...] = ("naive", "realtime")
    profiles: tuple[str, ...] = ("long_tail", "tail_controlled")
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    num_evals: int = 256
    execute_horizon: int = 1
    run_path: str = "logs-bc/grasp_easy_h4"
    level_path: str = "grasp_easy"
    output: Path = Path("exp_runs/shared_delay.md")


def row(args: Arguments, subject: subjects.FlowSubject, method: str, profile: str, shared: bool) -> dict[str, object]:
    """One simulation of one condition."""
    config = EvalConfig(
        num_evals=args.num_evals,
        method=method,
        delay_profile=delays_profiles.profile(profile),
        execution=ExecutionConfig(execute_horizon=args.execute_horizon),
        model=subject.policy.config,
    )
    env, policy = preparation.observed(subject.level, subject.policy, config.physics)
    rates, successes = [], 0
    for seed in args.seeds:
        if shared:
            won = shared_delay.solved(
                env,
                policy,
                methods.make(method),
                sampling.make_process(config.delay_profile),
                seed=seed,
                episodes=args.num_evals,
                execute_horizon=args.execute_horizon,
                num_steps=config.num_flow_steps,
                action_noise=config.execution.action_noise,
            )
        else:
            won = evaluation.evaluate(config, subject.level, subject.policy, seed=seed).records.solved
        rates.append(float(won.mean()))
        successes += int(won.sum())
    solved = statistics.wilson(successes, len(args.seeds) * args.num_evals)
    kind = "shared" if shared else "own"
    return {"delays": kind, "method": method, "profile": profile, "solved": catalogue.rate(solved)} | {
        "std": f"{100 * statistics.seed_std(rates):.2f}"
    }


def run(args: Arguments) -> None:
    started = time.time()
    subject = subjects.load(args.run_path, args.level_path)
    rows = [
        row(args, subject, method, profile, shared)
        for shared in (True, False)
        for method in args.methods
        for profile in args.profiles
    ]
    sizes = {"seeds": len(args.seeds), "episodes": len(args.seeds) * args.num_evals, "horizon": args.execute_horizon}
    table = tables.format_table(pd.DataFrame(rows))
    text = "\n".join([INTRODUCTION.format(**sizes), table, "", provenance.footer(started)])
    files.atomic_write(args.output, text)
    print(table)
    commands.open_first(args.output)


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
