"""RSD on the benchmark: what the layers are worth, ways to decode, and the closed loop with the decoding's own delays.

Estimators start from 1 tick here, not from the median as in other studies: how long a query's own passes take is not
known before the run.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rtc.control.controller import ExecutionConfig
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.policies.tokens import checkpoints
from rtc.shared.paths import level_name
from rtc.shared.validation import require_some
from rtc.study import subject, tokens
from rtc.study.arguments import StudyArguments
from rtc.study.evaluation import EvalConfig
from rtc.study.protocols import layouts
from rtc.study.questions import Comparison
from rtc.study.study import Arm, Study
from rtc.study.tokens import MODELS, Decoding

LEVELS: tuple[str, ...] = ("grasp_easy", "hard_lunar_lander", "mjc_walker")
FLOW, FLOW_PREFIX = "flow", "flow_prefix"
DEPTH, NO_DELAY, ASSUMED, MEASURED = "depth", "no_delay", "assumed", "measured"
DECODINGS: Mapping[str, Decoding] = MappingProxyType(
    {
        "parallel": Decoding("parallel"),
        "layers": Decoding("layers"),
        "blocks": Decoding("blocks"),
        "blocks_greedy": Decoding("blocks", rule="greedy"),
        "exact": Decoding("blocks", speculative=True),
        "greedy": Decoding("blocks", speculative=True, rule="greedy"),
        "index_1": Decoding("blocks", speculative=True, rule="index", tolerance=1),
        "action_0.1": Decoding("blocks", speculative=True, rule="action", tolerance=0.1),
        "deadline_1": Decoding("blocks", speculative=True, max_passes=1),
        "deadline_2": Decoding("blocks", speculative=True, max_passes=2),
        "deadline_1_greedy": Decoding("blocks", speculative=True, rule="greedy", max_passes=1),
        "draft": Decoding("draft"),
    }
)
ABOUT: Mapping[str, str] = MappingProxyType(
    {
        FLOW: "flow policy, 5 steps",
        "parallel": "all tokens in one pass, independent of each other",
        "layers": "autoregressive, a block per layer",
        "blocks": "autoregressive, four blocks",
        "blocks_greedy": "the same, most probable tokens",
        "exact": "speculative, lossless",
        "greedy": "speculative, lossless, most probable tokens",
        "index_1": "lossy, greedy: codes may be a cell off",
        "action_0.1": "lossy, greedy: actions may move by 0.1 at each block's depth",
        "deadline_1": "lossy: what one pass has verified",
        "deadline_2": "lossy: what two passes have verified",
        "deadline_1_greedy": "lossy, greedy: what one pass has verified",
        "draft": "lossy: the draft alone, three layers",
    }
)
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
SHUFFLED = "exact"
# Network passes of the flow policy's query, and of the autoregressive one whose duration sets the tick.
FLOW_PASSES, TICK_PASSES = 5, 4
_STARTING_AT_1 = EstimatorConfig(kind="window_max", initial=1)


@dataclass(frozen=True)
class Timing:
    """How long things take in a closed loop, in control ticks.

    Attributes:
        name: the profile.
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

    @property
    def of_tokens(self) -> dict[str, float]:
        """What a `Decoding` is told."""
        return {name: getattr(self, name) for name in ("pass_ticks", "draft_ticks", "overhead_ticks")}


def assumed_timing(pass_ticks: float, draft_share: float) -> Timing:
    """What one may hope for on an accelerator: nothing but passes, and a cheap draft."""
    text = (
        f"Assumed, not measured: a pass of the main model takes {pass_ticks:g} ticks, one of the draft {draft_share:g} "
        f"of that, each of the flow policy's {FLOW_PASSES} passes as long as one of the main model; nothing else takes "
        "time."
    )
    return Timing(ASSUMED, pass_ticks, draft_share * pass_ticks, 0.0, FLOW_PASSES * pass_ticks, text)


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
    return Timing(MEASURED, ticks["pass"], ticks["draft"], ticks["overhead"], ticks["flow"], text)


@dataclass(frozen=True)
class Runs:
    """Where the policies are.

    Attributes:
        tokens: tokenizer and token policies.
        flow: flow policies; `flow_prefix`: those trained with simulated delay.
    """

    tokens: Path = Path("logs-bc/rsd")
    flow: str = "logs-bc/h8"
    flow_prefix: str = "logs-bc/h8_prefix"


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
        overwrite: compute cells again although others, or finished ones, are in their place.
        report_only: write tables and figures of the cells that are there.
    """

    levels: tuple[str, ...] = LEVELS
    num_evals: int = 1024
    execute_horizon: int = 4
    closed_horizon: int = 1
    pass_ticks: float = 0.75
    draft_share: float = 0.1
    runs: Runs = field(default_factory=Runs)
    root: Path = Path("exp_runs/rsd")
    overwrite: bool = False
    report_only: bool = False

    def __post_init__(self) -> None:
        require_some("levels", self.levels)

    def arguments(self) -> StudyArguments:
        """For the runner."""
        return StudyArguments(
            levels=self.levels,
            num_evals=self.num_evals,
            output_root=str(self.root),
            overwrite=self.overwrite,
            report_only=self.report_only,
            preview=False,
        )

    def config(self, horizon: int, **changes: Any) -> EvalConfig:
        """What the arms have in common."""
        return EvalConfig(
            num_evals=self.num_evals,
            estimator=_STARTING_AT_1,
            execution=ExecutionConfig(execute_horizon=horizon),
            **changes,
        )

    def tokens(self, profile: str, label: str, decoding: Decoding, horizon: int, **changes: Any) -> Arm:
        """An arm of a token policy."""
        run_path = str(self.runs.tokens)
        return Arm(profile, label, self.config(horizon), run_path=run_path, decoding=decoding, **changes)

    def depth(self) -> list[Arm]:
        """One to all layers of the same tokens; nothing is committed, as there is no delay."""
        plain = replace(DECODINGS["blocks"], conditioned=False)
        return [
            self.tokens(DEPTH, f"layers_{n}", replace(plain, layers=n), self.execute_horizon)
            for n in range(1, MODELS["blocks"].num_layers + 1)
        ]

    def without_delay(self) -> list[Arm]:
        """The flow policy and every way to decode tokens, without delay."""
        flow = Arm(NO_DELAY, FLOW, self.config(self.execute_horizon), run_path=self.runs.flow)
        return [
            flow,
            *(
                self.tokens(NO_DELAY, name, replace(decoding, conditioned=False), self.execute_horizon)
                for name, decoding in DECODINGS.items()
            ),
        ]

    def closed_loop(self, timing: Timing) -> list[Arm]:
        """Every query delayed by its own passes, and delays of the same law that know nothing of the query."""
        delay = DelayProfileConfig(fixed_delay=math.ceil(timing.flow_ticks))
        flow = [
            Arm(timing.name, name, self.config(self.closed_horizon, delay_profile=delay, method=method), run_path=run)
            for name, method, run in (
                (FLOW, "naive", self.runs.flow),
                (FLOW_PREFIX, "trained_prefix", self.runs.flow_prefix),
            )
        ]
        conditions = (("", False), ("_prefix", True))
        own = [
            self.tokens(
                timing.name,
                name + suffix,
                replace(DECODINGS[name], conditioned=conditioned, **timing.of_tokens),
                self.closed_horizon,
            )
            for name in IN_CLOSED_LOOP
            for suffix, conditioned in conditions
        ]
        shuffled = [
            self.tokens(
                timing.name,
                f"{SHUFFLED}{suffix}_shuffled",
                replace(DECODINGS[SHUFFLED], conditioned=conditioned),
                self.closed_horizon,
                delays_of=(timing.name, SHUFFLED + suffix),
            )
            for suffix, conditioned in conditions
        ]
        return [*flow, *own, *shuffled]


def study(protocol: Protocol, bench: Mapping[str, Any]) -> Study:
    """The experiment.

    Args:
        protocol: what to evaluate.
        bench: times of single passes and queries, from exp/bench_rsd.py.
    """
    timings = (assumed_timing(protocol.pass_ticks, protocol.draft_share), measured_timing(bench))
    arms = [*protocol.depth(), *protocol.without_delay()]
    comparisons = [Comparison((NO_DELAY, a), (NO_DELAY, b), family=NO_DELAY) for a, b in OPEN]
    for timing in timings:
        arms += protocol.closed_loop(timing)
        comparisons += [Comparison((timing.name, a), (timing.name, b), family=timing.name) for a, b in CLOSED]
    text = f"{protocol.num_evals} episodes per level and cell; 95 % intervals over episodes (one training seed)."
    return Study(
        name="rsd",
        title="RSD: speculative decoding of action tokens",
        title_zh="RSD：动作词元的推测解码",
        question="",
        question_zh="",
        arms=tuple(arms),
        comparisons=tuple(comparisons),
        levels=protocol.levels,
        num_evals=protocol.num_evals,
        about=ABOUT,
        figures=(),
        sections=layouts.rsd(
            text,
            (protocol.execute_horizon, protocol.closed_horizon),
            {timing.name: timing.text for timing in timings},
            training_text(protocol.runs, protocol.levels),
        ),
    )


def training_text(runs: Runs, levels: tuple[str, ...]) -> str:
    """Budgets of the policies that are compared, which differ."""
    flow = subject.load(runs.flow, levels[0]).training["training"]
    name = level_name(levels[0])
    facts = checkpoints.facts(tokens.policy_path(runs.tokens, "blocks", name))["training"]
    return (
        f"Flow policy: {flow['num_epochs']} epochs at a constant step size of {flow['learning_rate']:g}, all "
        f"demonstrations. Token policies: {facts['num_epochs']} epochs, step size {facts['learning_rate']:g} falling "
        "to 0, a tenth of the episodes held out; several times the flow policy's parameters. `flow_prefix` is the flow "
        "policy's fine-tune."
    )
