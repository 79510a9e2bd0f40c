"""Runs the cells of an experiment: checks everything first, skips what is done, resumes after a kill."""

import contextlib
import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from rtc import methods
from rtc.control import timeline
from rtc.control.records import NEVER, Records
from rtc.control.timeline import EpisodeTrace
from rtc.policies import checkpoints
from rtc.policies.flow import FlowPolicy
from rtc.policies.mixer import ModelConfig
from rtc.shared import files, provenance
from rtc.study import cells as results_cells
from rtc.study import evaluation
from rtc.study.cells import Cell
from rtc.study.evaluation import EvalConfig, Evaluation
from rtc.worlds.kinetix import levels
from rtc.worlds.kinetix.levels import Level

# Read at once: a source file that is edited while a program runs has no part in what it computes.
CODE_VERSION = provenance.code_version()


@dataclass(frozen=True)
class Subject:
    """What is evaluated: one checkpoint on one level.

    Attributes:
        level: the level.
        level_path: how the user named it.
        policy: the policy.
        checkpoint: its file.
        checkpoint_sha256: hash of that file.
        training: the facts stored with the checkpoint.
        weak_checkpoint: the run's first one for the level, where it has an earlier one.
    """

    level: Level
    level_path: str
    policy: FlowPolicy
    checkpoint: Path
    checkpoint_sha256: str
    training: dict
    weak_checkpoint: Path | None = None

    @functools.cached_property
    def weak(self) -> FlowPolicy | None:
        """The policy of `weak_checkpoint`, for methods that compare with one."""
        return None if self.weak_checkpoint is None else checkpoints.load_policy(self.weak_checkpoint)[0]


@dataclass(frozen=True)
class PlannedCell:
    """A cell and the configuration that fills it."""

    cell: Cell
    config: EvalConfig


def load_subject(run_path: str | Path, level_path: str, step: int = -1, model: ModelConfig | None = None) -> Subject:
    """Loads a level and a run's policy for it.

    Args:
        run_path: directory of the run, logs-bc/<run>.
        level_path: world file or level name.
        step: epoch of the checkpoint; -1 takes the last one.
        model: the size that the policy must have; None takes it as it is.

    Raises:
        ValueError: unknown level, malformed world file, damaged checkpoint or one of another size.
        FileNotFoundError: no such world file, run or epoch.
    """
    level = levels.load(level_path)
    path = checkpoints.policy_path(run_path, level_path, step)
    policy, training = checkpoints.load_policy(path)
    if model is not None:
        # How a policy was trained is a fact of the checkpoint, not a choice of who evaluates it; pickles lack it.
        known = model if path.suffix == ".pkl" else replace(model, simulated_delay=policy.config.simulated_delay)
        policy, training = checkpoints.load_policy(path, known)
    early = checkpoints.first_policy_path(run_path, level_path)
    weak = None if early == path else early
    return Subject(level, level_path, policy, path, checkpoints.sha256(path), training, weak)


def plan_inputs(planned: PlannedCell, subject: Subject) -> dict:
    """Everything that a cell's results depend on; its hash is the cell's fingerprint."""
    inputs = {
        "config": {**planned.config.identity(), "seed": planned.cell.seed},
        "checkpoint_sha256": subject.checkpoint_sha256,
        "level_sha256": subject.level.sha256,
        "code_version": CODE_VERSION,
    }
    if _needs_weak_policy(planned.config) and subject.weak_checkpoint is not None:
        inputs["config"]["weak_sha256"] = checkpoints.sha256(subject.weak_checkpoint)
    return inputs


def _needs_weak_policy(config: EvalConfig) -> bool:
    return methods.make(config.method, config.method_options).needs_weak_policy


def weak_policy(config: EvalConfig, subject: Subject) -> FlowPolicy | None:
    """The weak policy, if the method needs one and the run has one."""
    return subject.weak if _needs_weak_policy(config) else None


def run_cells(
    root: str | Path, plan: Sequence[PlannedCell], subject: Subject, *, overwrite: bool = False, shared: bool = False
) -> dict[Cell, Path]:
    """Computes the cells that are not there yet and returns the directories of all of them.

    Args:
        root: output root of the experiment.
        plan: the cells, in order. Those of one method should follow each other.
        subject: policy and level.
        overwrite: compute cells again although they are there.
        shared: others may write to `root` at the same time; a cell that one of them computes is waited for.

    Raises:
        ValueError: an empty plan, a cell twice, a method that does not fit the policy, an unreadable trace, or
            another run in `root`.
        OSError: `root` cannot be written to.
        NonFiniteError: a NaN or infinity appeared; the cells before it are kept.
    """
    _check_plan(plan, subject)
    root = files.require_writable(root)
    places = {planned.cell: results_cells.cell_dir(root, planned.cell) for planned in plan}
    inputs = {planned.cell: plan_inputs(planned, subject) for planned in plan}

    def why(planned: PlannedCell) -> str | None:
        wanted = provenance.fingerprint(**inputs[planned.cell])
        problem = results_cells.cell_problem(places[planned.cell], planned.cell, wanted)
        return "complete, but overwrite is on" if overwrite and problem is None else problem

    with contextlib.nullcontext() if shared else files.lock(root):
        if not shared:
            files.remove_leftovers(root)
        todo = []
        for planned in plan:
            problem = why(planned)
            if problem is None:
                print(f"skip {planned.cell}: complete in {places[planned.cell]}")
            else:
                print(f"compute {planned.cell}: {problem}")
                todo.append(planned)
        print(f"{len(todo)} of {len(plan)} cells to compute")
        with tqdm(todo, unit="cell", disable=not todo) as progress:
            for planned in progress:
                progress.set_description(str(planned.cell))
                place = places[planned.cell]
                with files.lock(place, wait=True) if shared else contextlib.nullcontext():
                    # Whoever held the cell may have computed it.
                    if why(planned) is not None:
                        files.remove_leftovers(place)
                        _compute(root, planned, subject, inputs[planned.cell])
    return places


def _check_plan(plan: Sequence[PlannedCell], subject: Subject) -> None:
    if not plan:
        raise ValueError("there are no cells to run: give at least one each of profiles, methods and seeds")
    cells = [planned.cell for planned in plan]
    twice = [cell for cell in cells if cells.count(cell) > 1]
    if twice:
        raise ValueError(f"cell {twice[0]} is planned twice: name profiles, methods and seeds once each")
    for planned in plan:
        evaluation.check_policy(planned.config, subject.policy, weak_policy(planned.config, subject))
        evaluation.controller_for(planned.config)


def _compute(root: Path, planned: PlannedCell, subject: Subject, inputs: dict) -> None:
    started = time.time()
    weak = weak_policy(planned.config, subject)
    outcome = evaluation.evaluate(planned.config, subject.level, subject.policy, weak=weak, seed=planned.cell.seed)
    trace = episode_trace(outcome.records, interesting_episode(outcome), planned.cell, subject)
    timing = {"wall_s": outcome.wall_s, "slot_utilisation": outcome.utilisation}
    origin = {"checkpoint": str(subject.checkpoint), "level_path": subject.level_path}
    results_cells.write_cell(
        root,
        planned.cell,
        provenance.fingerprint(**inputs),
        outcome.summary.row | timing,
        outcome.summary.episodes,
        outcome.summary.delay_counts,
        provenance.provenance(started) | origin,
        inputs=inputs,
        attachments={results_cells.TRACE: timeline.to_bytes(trace)},
    )


def interesting_episode(outcome: Evaluation) -> int:
    """The episode to show: solved if one is, with as many starved ticks as the median of those that starve."""
    frame = outcome.summary.episodes
    solved = frame[frame["returned_episode_solved"] == 1]
    pool = solved if len(solved) else frame
    starving = pool[pool["starved_ticks"] > 0]
    pool = starving if len(starving) else pool
    ordered = pool.sort_values(["starved_ticks", "episode"])
    return int(ordered.index[(len(ordered) - 1) // 2])


def episode_trace(records: Records, episode: int, cell: Cell, subject: Subject) -> EpisodeTrace:
    """One episode of a cell; of its actions, the dimensions that the level binds."""
    length = int(records.length[episode])
    delay = records.delay[episode, :length]
    return EpisodeTrace(
        query=delay != NEVER,
        delay=delay,
        planned_delay=records.planned[episode, :length],
        length_executed=records.interval[episode, :length],
        age=records.age[episode, :length],
        action=records.actions[episode, :length][:, subject.level.bound_actions],
        horizon=subject.policy.action_chunk_size,
        seed=cell.seed,
        episode=episode,
        description=f"{cell.level}, {cell}, episode {episode}",
    )
