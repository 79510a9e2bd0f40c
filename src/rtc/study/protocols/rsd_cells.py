"""Cells of the RSD experiment: one way to decode, on one level, under one timing."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rtc.control import executor, metrics
from rtc.control.controller import ExecutionConfig, make_controller
from rtc.control.metrics import Summary
from rtc.control.records import NEVER, Records
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.delay.sampling import make_process
from rtc.methods.decode import ALL_LAYERS, Decode, decode
from rtc.policies.tokens import checkpoints
from rtc.shared import provenance, runtime
from rtc.study import cells, evaluation, runner
from rtc.study.cells import Cell, CellData
from rtc.study.evaluation import EvalConfig
from rtc.study.protocols import rsd_arms
from rtc.study.protocols.rsd_arms import Arm

_MODULES = ("agent", "arms", "checkpoints", "engine", "experiment", "policy", "rfsq", "rules")
CODE_VERSION = provenance.code_version(
    modules=(*provenance.RESULT_MODULES, *(f"rtc/rsd/{module}.py" for module in _MODULES))
)
FLOW, FLOW_PREFIX = "flow", "flow_prefix"


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
class Condition:
    """What a cell evaluates.

    Attributes:
        profile: name of the timing, a folder.
        name: name of the way to decode, a folder; `flow` and `flow_prefix` are the flow policies.
        arm: how tokens are decoded; None for the flow policies.
        layers: leading layers that become actions.
        conditioned: tell the token policy which actions are committed.
        delay: delay of the flow policies, and of tokens unless `pass_ticks` is given.
        pass_ticks, draft_ticks, overhead_ticks: control ticks that a pass of the main model, one of the draft and the
            rest of a query take; None: see `delay`.
        execution: how chunks are executed.
    """

    profile: str
    name: str
    arm: Arm | None = None
    layers: int = ALL_LAYERS
    conditioned: bool = True
    delay: DelayProfileConfig = field(default_factory=DelayProfileConfig)
    pass_ticks: float | None = None
    draft_ticks: float = 0.0
    overhead_ticks: float = 0.0
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)

    def method(self, agent: Any) -> Decode:
        """The method of a token arm."""
        return decode(
            self.arm.make_rule(agent),
            max_passes=self.arm.max_passes,
            layers=self.layers,
            conditioned=self.conditioned,
            pass_ticks=self.pass_ticks,
            draft_ticks=self.draft_ticks,
            overhead_ticks=self.overhead_ticks,
        )

    def cell(self, level: str, seed: int = 0) -> Cell:
        return Cell(self.profile, self.name, seed, level)


def inputs(condition: Condition, level: str, runs: Runs, num_evals: int, seed: int) -> dict[str, Any]:
    """Everything that a cell's results depend on."""
    if condition.arm is None:
        subject = runner.load_subject(_flow_run(condition, runs), level)
        checkpoint = subject.checkpoint_sha256
    else:
        checkpoint = "+".join(checkpoints.sha256(path) for path in rsd_arms.files(runs.tokens, condition.arm, level))
    config = {**asdict(condition), "num_evals": num_evals, "seed": seed}
    return {
        "config": config,
        "checkpoint_sha256": checkpoint,
        "level_sha256": rsd_arms.observed(level)[0].sha256,
        "code_version": CODE_VERSION,
    }


def _flow_run(condition: Condition, runs: Runs) -> str:
    return runs.flow_prefix if condition.name == FLOW_PREFIX else runs.flow


def run(root: Path, condition: Condition, level: str, runs: Runs, num_evals: int, seed: int = 0) -> CellData:
    """Computes a cell unless it is there, and reads it.

    Args:
        root: folder of this level's cells.
        condition: what to evaluate.
        level: name of the level.
        runs: where the policies are.
        num_evals: episodes.
        seed: seed of the episodes; conditions with the same seed are paired.
    """
    cell = condition.cell(level, seed)
    what = inputs(condition, level, runs, num_evals, seed)
    fingerprint = provenance.fingerprint(**what)
    if not cells.is_complete(root, cell, fingerprint):
        started = time.time()
        runtime.make_room()
        evaluate = _flow if condition.arm is None else _tokens
        summary, passes = evaluate(condition, level, runs, num_evals, seed)
        row = summary.row | {f"passes_{count}": share for count, share in passes.items()}
        about = provenance.provenance(started) | {"level_path": level}
        row |= {"wall_s": time.time() - started}
        cells.write_cell(root, cell, fingerprint, row, summary.episodes, summary.delay_counts, about, inputs=what)
        print(f"{level} {cell}: solved {summary.row['returned_episode_solved']:.3f}")
    return cells.read_cell(cells.cell_dir(root, cell), cell, fingerprint)


def _flow(
    condition: Condition, level: str, runs: Runs, num_evals: int, seed: int
) -> tuple[Summary, Mapping[int, float]]:
    subject = runner.load_subject(_flow_run(condition, runs), level)
    prefix = condition.name == FLOW_PREFIX and condition.conditioned
    config = EvalConfig(
        num_evals=num_evals,
        method="trained_prefix" if prefix else "naive",
        delay_profile=condition.delay,
        execution=condition.execution,
        model=subject.policy.config,
    )
    outcome = evaluation.evaluate(config, subject.level, subject.policy, seed=seed)
    return outcome.summary, {}


def _tokens(
    condition: Condition, level: str, runs: Runs, num_evals: int, seed: int
) -> tuple[Summary, Mapping[int, float]]:
    (loaded, env), agent = rsd_arms.observed(level), rsd_arms.load_agent(runs.tokens, condition.arm, level)
    estimator = EstimatorConfig().make()
    controller = make_controller(condition.method(agent), make_process(condition.delay), estimator, condition.execution)
    episodes = np.arange(num_evals)
    records = executor.rollout(env, agent, controller, seed=seed, episodes=episodes, num_steps=1)
    evaluation.require_finite(records, f"level {level}, arm {condition.name}, seed {seed}")
    summary = metrics.summarise(
        records,
        episodes,
        chunk_size=agent.action_chunk_size,
        bound_actions=loaded.bound_actions,
        evaluations=lambda passes: passes,
        bootstrap_evaluations=len(agent.main.config.blocks),
    )
    return summary, pass_shares(records)


def pass_shares(records: Records) -> dict[int, float]:
    """Share of the queries by their number of passes."""
    values, counts = np.unique(records.flow_steps[records.delay != NEVER], return_counts=True)
    return {int(value): float(count / counts.sum()) for value, count in zip(values, counts, strict=True)}


def shuffled(cell: CellData) -> DelayProfileConfig:
    """A delay profile with the delays of a cell's queries, drawn independently of everything else."""
    counts = cell.delay_counts
    total = sum(counts.values())
    delays = tuple(sorted(counts))
    return DelayProfileConfig(
        mode="mixture", base_delays=delays, base_probs=tuple(counts[delay] / total for delay in delays), p_spike=0.0
    )
