"""RSD on the benchmark: what the layers are worth, ways to decode, and the closed loop with delays of the decoding itself.

Finished cells are kept in <output-root>/<level>/ and not computed again.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from rtc import cli
from rtc.controller import ExecutionConfig
from rtc.delays import DelayProfileConfig
from rtc.rsd import arms, experiment, report
from rtc.rsd.arms import ARMS, MODELS
from rtc.rsd.experiment import FLOW, FLOW_PREFIX, Condition, Runs


@dataclass(frozen=True)
class Arguments:
    """Command line of run_rsd.

    Attributes:
        levels: levels to evaluate.
        num_evals: episodes per cell.
        execute_horizon: s of the comparison without delay, in ticks.
        closed_horizon: s of the closed loop.
        pass_ticks: control ticks that a pass of the main model takes in the closed loop.
        draft_share: duration of a draft's pass, in passes of the main model: the ratio on an accelerator that is an
            assumption here; the measured one comes from `bench`.
        bench: what exp/bench_rsd.py measured on this device.
        runs: where the policies are.
        output_root: where cells, tables and figures go.
    """

    levels: tuple[str, ...] = arms.LEVELS
    num_evals: int = 1024
    execute_horizon: int = 4
    closed_horizon: int = 1
    pass_ticks: float = 1.0
    draft_share: float = 0.1
    bench: Path = Path("exp_runs/rsd_bench/bench.json")
    runs: Runs = field(default_factory=Runs)
    output_root: Path = Path("exp_runs/rsd")


def cells(args: Arguments, conditions: list[Condition]) -> report.Cells:
    """The cells of all levels."""
    return {
        (level, condition.name): experiment.run(args.output_root / level, condition, level, args.runs, args.num_evals)
        for level in args.levels
        for condition in conditions
    }


def depth_conditions(args: Arguments) -> list[Condition]:
    """One to all layers of the same tokens."""
    execution = ExecutionConfig(execute_horizon=args.execute_horizon)
    layers = sum(MODELS["blocks"].blocks)
    return [
        Condition("depth", f"layers_{depth}", ARMS["blocks"], layers=depth, execution=execution)
        for depth in range(1, layers + 1)
    ]


def arm_conditions(args: Arguments) -> list[Condition]:
    """The flow policy and every way to decode tokens, without delay."""
    execution = ExecutionConfig(execute_horizon=args.execute_horizon)
    return [
        Condition("no_delay", FLOW, execution=execution),
        *(Condition("no_delay", name, arm, execution=execution) for name, arm in ARMS.items()),
    ]


def closed_conditions(args: Arguments, draft_share: float, flow_passes: float, profile: str) -> list[Condition]:
    """The closed loop, every query delayed by its own passes; the flow policy by as many passes as it is worth."""
    execution = ExecutionConfig(execute_horizon=args.closed_horizon)
    timing = {"execution": execution, "pass_ticks": args.pass_ticks, "draft_ticks": draft_share * args.pass_ticks}
    flow_delay = DelayProfileConfig(fixed_delay=experiment.as_ticks(flow_passes * args.pass_ticks))
    found = [Condition(profile, name, delay=flow_delay, execution=execution) for name in (FLOW, FLOW_PREFIX)]
    for name in ("blocks", "exact", "greedy", "deadline_1", "deadline_2"):
        for conditioned in (False, True):
            label = f"{name}_prefix" if conditioned else name
            found.append(Condition(profile, label, ARMS[name], conditioned=conditioned, **timing))
    return found


def shuffled_conditions(args: Arguments, own: report.Cells, level: str, profile: str) -> list[Condition]:
    """The same delays as in the cells with times of their own, drawn independently of what was asked."""
    execution = ExecutionConfig(execute_horizon=args.closed_horizon)
    return [
        Condition(
            profile,
            f"{label}_shuffled",
            ARMS["exact"],
            conditioned=conditioned,
            delay=experiment.shuffled(own[level, label]),
            execution=execution,
        )
        for label, conditioned in (("exact", False), ("exact_prefix", True))
    ]


def closed_loop(args: Arguments, profile: str, draft_share: float, flow_passes: float) -> report.Cells:
    """All cells of the closed loop under one timing."""
    own = cells(args, closed_conditions(args, draft_share, flow_passes, profile))
    extra = {}
    for level in args.levels:
        one_level = replace(args, levels=(level,))
        extra |= cells(one_level, shuffled_conditions(args, own, level, profile))
    return {
        (level, name): cell for level in args.levels for (there, name), cell in (own | extra).items() if there == level
    }


PAIRS = (
    ("flow_prefix", "flow"),
    ("exact_prefix", "exact"),
    ("exact", "blocks"),
    ("exact_prefix", "blocks_prefix"),
    ("exact", "exact_shuffled"),
    ("exact_prefix", "exact_prefix_shuffled"),
    ("deadline_2_prefix", "exact_prefix"),
    ("deadline_1_prefix", "exact_prefix"),
    ("exact_prefix", "flow_prefix"),
)


def run(args: Arguments) -> None:
    bench = json.loads(args.bench.read_text())
    depth, by_arm = cells(args, depth_conditions(args)), cells(args, arm_conditions(args))
    flow_passes = bench["flow_ms"] / bench["pass_ms"]
    assumed = closed_loop(args, "own", args.draft_share, flow_passes)
    measured = closed_loop(args, "own_measured", bench["draft_ms"] / bench["pass_ms"], flow_passes)
    what = {FLOW: "flow policy, 5 steps", **{name: arm.what for name, arm in ARMS.items()}}
    lossless = [("parallel", "blocks"), ("layers", "blocks"), ("exact", "blocks"), ("greedy", "blocks_greedy")]
    lossy = [(name, "exact") for name in ("deadline_1", "deadline_2", "draft")]
    lossy += [(name, "greedy") for name in ("index_1", "action_0.1")]
    episodes = f"{args.num_evals} episodes per level and cell; 95 % intervals."
    timing = (
        f"A pass of the main model takes {args.pass_ticks:g} control ticks; s = {args.closed_horizon}; delays are planned "
        f"with the largest of the last ten. The flow policy's query is worth {flow_passes:.2f} passes on this device."
    )
    sections = [
        report.section(
            "How many layers matter",
            f"Tokens of `blocks`, decoded from their leading layers only; s = {args.execute_horizon}. {episodes}",
            report.outcome_table(depth, {}, "layers").drop(columns="what"),
            "layers",
        ),
        report.section(
            "Ways to decode, without delay",
            f"s = {args.execute_horizon}. {episodes}",
            report.outcome_table(by_arm, what),
        ),
        report.section("Passes per query", "Of the main model.", report.passes_table(by_arm)),
        report.section("Differences", "Paired by episode.", report.gain_table(by_arm, lossless + lossy)),
    ]
    for heading, group, share in (
        ("Closed loop, a draft's pass assumed cheap", assumed, args.draft_share),
        ("Closed loop, as measured on this device", measured, bench["draft_ms"] / bench["pass_ms"]),
    ):
        text = f"{timing} A pass of the draft takes {share:.2f} of that."
        sections.append(report.section(heading, text, report.outcome_table(group, {}, "system").drop(columns="what")))
        sections.append(
            report.section(f"{heading}: differences", "Paired by episode.", report.gain_table(group, PAIRS))
        )
    drawn = {"layers": report.depth_figure(depth, by_arm)}
    report.write(
        args.output_root,
        "RSD: speculative decoding of action tokens",
        sections,
        [depth, by_arm, assumed, measured],
        drawn,
    )


if __name__ == "__main__":
    cli.start(Arguments, run, __doc__)
