"""The RSD experiment: its conditions, and the page that reports them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rtc.control.controller import ExecutionConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.report import rsd
from rtc.report.rsd import Cells
from rtc.study.protocols import rsd_arms, rsd_cells
from rtc.study.protocols.rsd_arms import ARMS, MODELS, Arm
from rtc.study.protocols.rsd_cells import FLOW, FLOW_PREFIX, Condition, Runs

OPEN = (
    *((name, FLOW) for name in ("parallel", "layers", "blocks", "exact")),
    *((name, "blocks") for name in ("parallel", "layers", "exact")),
    ("greedy", "blocks_greedy"),
    *((name, "exact") for name in ("deadline_1", "deadline_2", "draft")),
    *((name, "greedy") for name in ("index_1", "action_0.1", "deadline_1_greedy")),
)
CLOSED = (
    (FLOW_PREFIX, FLOW),
    *((f"{name}_prefix", name) for name in ("parallel", "blocks", "exact")),
    *((f"exact{suffix}", f"{name}{suffix}") for suffix in ("", "_prefix") for name in ("blocks", "parallel", FLOW)),
    *((f"exact{suffix}", f"exact{suffix}_shuffled") for suffix in ("", "_prefix")),
    *((f"{name}{suffix}", f"exact{suffix}") for suffix in ("", "_prefix") for name in ("deadline_1", "deadline_2")),
)
IN_CLOSED_LOOP = ("parallel", "blocks", "exact", "greedy", "deadline_1", "deadline_2")
# Network passes of the flow policy's query, and of the autoregressive one whose duration sets the tick.
FLOW_PASSES, TICK_PASSES = 5, 4


@dataclass(frozen=True)
class Timing:
    """How long things take in a closed loop, in control ticks.

    Attributes:
        name: a folder.
        pass_ticks, draft_ticks: a pass of the main model and of the draft.
        overhead_ticks: the rest of a query.
        flow_ticks: a query of the flow policy.
        text: where this comes from.
    """

    name: str
    pass_ticks: float
    draft_ticks: float
    overhead_ticks: float
    flow_ticks: float
    text: str


def assumed_timing(pass_ticks: float, draft_share: float) -> Timing:
    """What one may hope for on an accelerator: nothing but passes, and a cheap draft."""
    text = (
        f"Assumed, not measured: a pass of the main model takes {pass_ticks:g} ticks, one of the draft {draft_share:g} "
        f"of that, each of the flow policy's {FLOW_PASSES} passes as long as one of the main model; nothing else takes "
        "time."
    )
    return Timing("assumed", pass_ticks, draft_share * pass_ticks, 0.0, FLOW_PASSES * pass_ticks, text)


def measured_timing(bench: Mapping[str, Any]) -> Timing:
    """The times of exp/bench_rsd.py, at a control rate at which autoregression over four blocks takes four ticks."""
    tick_ms = (bench["overhead_ms"] + TICK_PASSES * bench["pass_ms"]) / TICK_PASSES
    ticks = {name: round(bench[f"{name}_ms"] / tick_ms, 2) for name in ("pass", "draft", "flow")}
    # What is left of these four ticks, so that rounding cannot make them five.
    ticks["overhead"] = round(TICK_PASSES * (1 - ticks["pass"]), 2)
    text = (
        f"Measured at batch 1 on this device ({bench['git_commit'][:12]}), a control tick being a quarter of an "
        f"autoregressive query over four blocks: {tick_ms:.3f} ms. In ticks, a pass of the main model takes "
        f"{ticks['pass']:g}, one of the draft {ticks['draft']:g}, the rest of a query {ticks['overhead']:g}; a query "
        f"of the flow policy {ticks['flow']:g}. These come from a line through autoregressive queries; what "
        "speculation takes besides its passes is not in them."
    )
    return Timing("measured", ticks["pass"], ticks["draft"], ticks["overhead"], ticks["flow"], text)


@dataclass(frozen=True)
class Protocol:
    """What the experiment is made of.

    Attributes:
        levels: levels to evaluate.
        num_evals: episodes per cell.
        execute_horizon: s of the comparison without delay, in ticks.
        closed_horizon: s of the closed loop.
        pass_ticks: control ticks that a pass of the main model is assumed to take.
        draft_share: assumed duration of a draft's pass, in passes of the main model.
        runs: where the policies are.
        root: where results go; cells below `cells`.
    """

    levels: tuple[str, ...] = rsd_arms.LEVELS
    num_evals: int = 1024
    execute_horizon: int = 4
    closed_horizon: int = 1
    pass_ticks: float = 0.75
    draft_share: float = 0.1
    runs: Runs = field(default_factory=Runs)
    root: Path = Path("exp_runs/rsd")

    def cells(self, conditions: Sequence[Condition]) -> Cells:
        """The cells of all levels, computed where they are not there yet."""
        cells = self.root / "cells"
        return {
            (level, condition.name): rsd_cells.run(cells / level, condition, level, self.runs, self.num_evals)
            for level in self.levels
            for condition in conditions
        }

    def depth(self) -> Cells:
        """One to all layers of the same tokens."""
        depths, arm = range(1, MODELS["blocks"].num_layers + 1), ARMS["blocks"]
        names = {n: f"layers_{n}" for n in depths}
        return self.cells([self._without_delay("depth", names[n], arm, layers=n) for n in depths])

    def arms(self) -> Cells:
        """The flow policy and every way to decode tokens, without delay."""
        return self.cells([self._without_delay("no_delay", name, arm) for name, arm in {FLOW: None, **ARMS}.items()])

    def _without_delay(self, profile: str, name: str, arm: Arm | None, **options: Any) -> Condition:
        # Nothing is committed: the estimate, cautious at first, must not be taken for a delay.
        execution = ExecutionConfig(execute_horizon=self.execute_horizon)
        return Condition(profile, name, arm, conditioned=False, execution=execution, **options)

    def closed_loop(self, timing: Timing) -> Cells:
        """Every query delayed by its own passes, and delays of the same law that know nothing of the query."""
        flow_delay = DelayProfileConfig(fixed_delay=math.ceil(timing.flow_ticks))
        flow = [Condition(timing.name, name, delay=flow_delay, execution=self._closed) for name in (FLOW, FLOW_PREFIX)]
        ticks = {name: getattr(timing, name) for name in ("pass_ticks", "draft_ticks", "overhead_ticks")}
        tokens = [
            Condition(timing.name, name + suffix, ARMS[name], conditioned=bool(suffix), execution=self._closed, **ticks)
            for name in IN_CLOSED_LOOP
            for suffix in ("", "_prefix")
        ]
        own = self.cells([*flow, *tokens])
        everything = {}
        for level in self.levels:
            shuffled = replace(self, levels=(level,)).cells(self._shuffled(own, level, timing.name))
            everything |= {key: cell for key, cell in own.items() if key[0] == level} | shuffled
        return everything

    @property
    def _closed(self) -> ExecutionConfig:
        return ExecutionConfig(execute_horizon=self.closed_horizon)

    def _shuffled(self, own: Cells, level: str, profile: str) -> list[Condition]:
        """The same delays as with times of their own, drawn independently of what was asked."""
        return [
            Condition(
                profile,
                f"{label}_shuffled",
                ARMS["exact"],
                conditioned=label.endswith("prefix"),
                delay=rsd_cells.shuffled(own[level, label]),
                execution=self._closed,
            )
            for label in ("exact", "exact_prefix")
        ]


def _closed_sections(heading: str, timing: Timing, horizon: int, group: Cells) -> list[str]:
    text = (
        f"{timing.text} s = {horizon}; methods plan with the largest of the last ten delays. `_prefix`: told which "
        "actions are committed; `_shuffled`: delays drawn independently from the pooled law of the delays of `exact`."
    )
    outcomes = rsd.outcome_table(group, {}, "system").drop(columns="what")
    return [
        rsd.section(heading, text, outcomes),
        rsd.section(f"{heading}: delays", "Means over the levels.", rsd.delay_table(group)),
        rsd.section(f"{heading}: differences", "Paired by episode.", rsd.gain_table(group, CLOSED)),
    ]


def run(protocol: Protocol, bench: Mapping[str, Any]) -> None:
    """Computes what is missing and writes tables, figures and page below `protocol.root`.

    Args:
        protocol: what to evaluate.
        bench: times of single passes and queries, from exp/bench_rsd.py.
    """
    assumed, measured = assumed_timing(protocol.pass_ticks, protocol.draft_share), measured_timing(bench)
    depth, by_arm = protocol.depth(), protocol.arms()
    hoped, found = protocol.closed_loop(assumed), protocol.closed_loop(measured)
    what = {FLOW: "flow policy, 5 steps", **{name: arm.what for name, arm in ARMS.items()}}
    episodes = (
        f"s = {protocol.execute_horizon}; {protocol.num_evals} episodes per level and cell; 95 % intervals over "
        "episodes (one training seed)."
    )
    sections = [
        rsd.section(
            "How many layers matter",
            f"Tokens of `blocks`, of which only the leading layers are decoded. {episodes}",
            rsd.outcome_table(depth, {}, "layers").drop(columns="what"),
            "layers",
        ),
        rsd.section("Ways to decode, without delay", episodes, rsd.outcome_table(by_arm, what)),
        rsd.section("Passes per query", "Of the main model.", rsd.passes_table(by_arm)),
        rsd.section("Differences", "Paired by episode.", rsd.gain_table(by_arm, OPEN)),
        *_closed_sections("Closed loop, times assumed", assumed, protocol.closed_horizon, hoped),
        *_closed_sections("Closed loop, times measured", measured, protocol.closed_horizon, found),
        rsd.section("How the policies were trained", rsd.training_text(protocol.runs, protocol.levels)),
    ]
    drawn = {"layers": rsd.depth_figure(depth, by_arm)}
    title = "RSD: speculative decoding of action tokens"
    rsd.write(protocol.root, title, sections, (depth, by_arm, hoped, found), drawn)
