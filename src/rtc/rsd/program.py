"""The RSD experiment: its conditions, and the page that reports them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rtc.controller import ExecutionConfig
from rtc.delays import DelayProfileConfig
from rtc.rsd import arms, experiment, report
from rtc.rsd.arms import ARMS, MODELS
from rtc.rsd.experiment import FLOW, FLOW_PREFIX, Condition, Runs
from rtc.rsd.report import Cells

LOSSLESS = (("parallel", "blocks"), ("layers", "blocks"), ("exact", "blocks"), ("greedy", "blocks_greedy"))
LOSSY = (
    *((name, "exact") for name in ("deadline_1", "deadline_2", "draft")),
    *((name, "greedy") for name in ("index_1", "action_0.1")),
)
CLOSED = (
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
IN_CLOSED_LOOP = ("blocks", "exact", "greedy", "deadline_1", "deadline_2")


@dataclass(frozen=True)
class Protocol:
    """What the experiment is made of.

    Attributes:
        levels: levels to evaluate.
        num_evals: episodes per cell.
        execute_horizon: s of the comparison without delay, in ticks.
        closed_horizon: s of the closed loop.
        pass_ticks: control ticks that a pass of the main model takes in the closed loop.
        draft_share: duration of a draft's pass in passes of the main model, as one may hope for on an accelerator: an
            assumption. The closed loop is run with the measured ratio too.
        runs: where the policies are.
        root: where cells go.
    """

    levels: tuple[str, ...] = arms.LEVELS
    num_evals: int = 1024
    execute_horizon: int = 4
    closed_horizon: int = 1
    pass_ticks: float = 1.0
    draft_share: float = 0.1
    runs: Runs = field(default_factory=Runs)
    root: Path = Path("exp_runs/rsd")

    def cells(self, conditions: Sequence[Condition]) -> Cells:
        """The cells of all levels, computed where they are not there yet."""
        return {
            (level, condition.name): experiment.run(self.root / level, condition, level, self.runs, self.num_evals)
            for level in self.levels
            for condition in conditions
        }

    @property
    def _open(self) -> ExecutionConfig:
        return ExecutionConfig(execute_horizon=self.execute_horizon)

    @property
    def _closed(self) -> ExecutionConfig:
        return ExecutionConfig(execute_horizon=self.closed_horizon)

    def depth(self) -> Cells:
        """One to all layers of the same tokens."""
        depths = range(1, MODELS["blocks"].num_layers + 1)
        arm = ARMS["blocks"]
        return self.cells([Condition("depth", f"layers_{n}", arm, layers=n, execution=self._open) for n in depths])

    def arms(self) -> Cells:
        """The flow policy and every way to decode tokens, without delay."""
        flow = Condition("no_delay", FLOW, execution=self._open)
        tokens = [Condition("no_delay", name, arm, execution=self._open) for name, arm in ARMS.items()]
        return self.cells([flow, *tokens])

    def closed_loop(self, profile: str, draft_share: float, flow_passes: float) -> Cells:
        """Every query delayed by its own passes, and the same delays shuffled.

        Args:
            profile: name of the timing.
            draft_share: duration of a draft's pass, in passes of the main model.
            flow_passes: duration of the flow policy's query, in passes of the main model.
        """
        flow_delay = DelayProfileConfig(fixed_delay=experiment.as_ticks(flow_passes * self.pass_ticks))
        flow = [Condition(profile, name, delay=flow_delay, execution=self._closed) for name in (FLOW, FLOW_PREFIX)]
        timing = {"pass_ticks": self.pass_ticks, "draft_ticks": draft_share * self.pass_ticks}
        tokens = [
            Condition(profile, name + suffix, ARMS[name], conditioned=bool(suffix), execution=self._closed, **timing)
            for name in IN_CLOSED_LOOP
            for suffix in ("", "_prefix")
        ]
        own = self.cells([*flow, *tokens])
        everything = {}
        for level in self.levels:
            shuffled = replace(self, levels=(level,)).cells(self._shuffled(own, level, profile))
            everything |= {key: cell for key, cell in own.items() if key[0] == level} | shuffled
        return everything

    def _shuffled(self, own: Cells, level: str, profile: str) -> list[Condition]:
        """The same delays as with times of their own, drawn independently of what was asked."""
        return [
            Condition(
                profile,
                f"{label}_shuffled",
                ARMS["exact"],
                conditioned=label.endswith("prefix"),
                delay=experiment.shuffled(own[level, label]),
                execution=self._closed,
            )
            for label in ("exact", "exact_prefix")
        ]


def _closed_sections(heading: str, timing: str, group: Cells) -> list[str]:
    table = report.outcome_table(group, {}, "system").drop(columns="what")
    differences = report.gain_table(group, CLOSED)
    return [
        report.section(heading, timing, table),
        report.section(f"{heading}: differences", "Paired by episode.", differences),
    ]


def run(protocol: Protocol, bench: dict[str, Any]) -> None:
    """Computes what is missing and writes tables, figures and page below `protocol.root`.

    Args:
        protocol: what to evaluate.
        bench: times of single passes, from exp/bench_rsd.py.
    """
    draft_share, flow_passes = bench["draft_ms"] / bench["pass_ms"], bench["flow_ms"] / bench["pass_ms"]
    depth, by_arm = protocol.depth(), protocol.arms()
    assumed = protocol.closed_loop("own", protocol.draft_share, flow_passes)
    measured = protocol.closed_loop("own_measured", draft_share, flow_passes)
    what = {FLOW: "flow policy, 5 steps", **{name: arm.what for name, arm in ARMS.items()}}
    episodes = f"s = {protocol.execute_horizon}; {protocol.num_evals} episodes per level and cell; 95 % intervals."
    timing = (
        f"A pass of the main model takes {protocol.pass_ticks:g} control ticks, one of the draft {{:.2f}} of that; the "
        f"flow policy's query is worth {flow_passes:.2f} passes on this device. s = {protocol.closed_horizon}; methods "
        "plan with the largest of the last ten delays."
    )
    sections = [
        report.section(
            "How many layers matter",
            f"Tokens of `blocks`, of which only the leading layers are decoded. {episodes}",
            report.outcome_table(depth, {}, "layers").drop(columns="what"),
            "layers",
        ),
        report.section("Ways to decode, without delay", episodes, report.outcome_table(by_arm, what)),
        report.section("Passes per query", "Of the main model.", report.passes_table(by_arm)),
        report.section("Differences", "Paired by episode.", report.gain_table(by_arm, (*LOSSLESS, *LOSSY))),
        *_closed_sections("Closed loop, a cheap draft assumed", timing.format(protocol.draft_share), assumed),
        *_closed_sections("Closed loop, times as measured on this device", timing.format(draft_share), measured),
    ]
    drawn = {"layers": report.depth_figure(depth, by_arm)}
    title = "RSD: speculative decoding of action tokens"
    report.write(protocol.root, title, sections, (depth, by_arm, assumed, measured), drawn)
