"""Studies: arms (delay profile and method) compared on the same episodes of several levels, with a stated question.

A study names its primary metric and its comparisons beforehand. Its cells lie in
`<output-root>/cells/<level>/<profile>/<method>/seed_<n>/`; finished ones are not computed again.
"""

import contextlib
import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Int, Key

from rtc import methods
from rtc.control import metrics
from rtc.delay import profiles as delays_profiles
from rtc.delay import sampling
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.delay.sampling import DelayProcess
from rtc.shared import launchers, provenance
from rtc.shared.validation import require_choice, require_int
from rtc.study import cells as results
from rtc.study import runner, statistics
from rtc.study.cells import Cell, CellData, CellError
from rtc.study.evaluation import DEFAULT_SLOTS, EvalConfig
from rtc.study.runner import PlannedCell, Subject
from rtc.study.statistics import Interval

# Where policies with chunks of 8 are, and those that learned to complete a prefix.
RUN, PREFIX_RUN = "logs-bc/h8", "logs-bc/h8_prefix"
# Per arm and level: on six levels 3,072 pairs, so that a difference of 2 points in their mean can be told from none.
EPISODES = 512
# Draws for the median of a delay profile.
DRAWS = 10_001
# Levels of the studies on random delay.
DELAY_LEVELS = ("grasp_easy", "catapult", "hard_lunar_lander", "chain_lander", "catcher_v3", "car_launch")


@dataclass(frozen=True)
class Arm:
    """One condition of a study.

    Attributes:
        profile: name of the delay condition, for tables and directories.
        method: name of what meets it.
        config: the evaluation; episodes, slots and model are filled in when it runs, the step is the last one.
        run_path: run of its policies; None takes the study's run, or its prefix run where the method needs one.
    """

    profile: str
    method: str
    config: EvalConfig
    run_path: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.profile, self.method


def starting_at_median(delay: DelayProfileConfig, estimator: EstimatorConfig | None = None) -> EstimatorConfig:
    """An estimator that expects the profile's median delay of the first query, as whoever runs such a system would.

    An estimator that starts from more is wrong for as long as its window: for ten queries, often half of an episode.
    """
    return (estimator or EstimatorConfig()).starting_at(_median_delay(delay))


@functools.cache
def _median_delay(delay: DelayProfileConfig) -> int:
    drawn = _first_delays(sampling.make_process(delay), jax.random.split(jax.random.key(0), DRAWS))
    return int(np.median(np.asarray(drawn)))


@jax.jit
def _first_delays(process: DelayProcess, keys: Key[Array, " n"]) -> Int[Array, " n"]:
    drawn = jax.vmap(lambda key: sampling.sample(process, sampling.init(key))[0].delay)(keys)
    return jnp.minimum(drawn, process.deadline)


def arm(
    profile: str,
    method: str,
    label: str | None = None,
    *,
    delay: DelayProfileConfig | None = None,
    run_path: str | None = None,
    **changes: Any,
) -> Arm:
    """An arm of a delay profile and a method.

    Methods that plan with a delay take the largest of the last ten, starting from the profile's median, unless
    `changes` has another estimator.

    Args:
        profile: its name.
        method: name of the execution method.
        label: name of the method in tables, where it is more than that.
        delay: the profile; None takes the one that the benchmark knows by this name.
        run_path: run of the policies, see `Arm`.
        changes: further fields of `EvalConfig`.
    """
    delay = delays_profiles.profile(profile) if delay is None else delay
    changes.setdefault("estimator", starting_at_median(delay))
    return Arm(profile, label or method, EvalConfig(delay_profile=delay, method=method, **changes), run_path)


@dataclass(frozen=True)
class Comparison:
    """A difference that the study was made to measure: candidate minus reference, each a (profile, method).

    Attributes:
        less: another difference that is subtracted, to ask whether two differences are equal.
    """

    candidate: tuple[str, str]
    reference: tuple[str, str]
    less: "Comparison | None" = None

    @property
    def arms(self) -> tuple[tuple[str, str], ...]:
        """All arms that it needs."""
        return self.candidate, self.reference, *(self.less.arms if self.less else ())

    def __str__(self) -> str:
        if self.less:
            return f"[{dataclasses.replace(self, less=None)}] - [{self.less}]"
        (profile, method), (other_profile, other_method) = self.candidate, self.reference
        if profile == other_profile:
            return f"{method} - {other_method} ({profile})"
        if method == other_method:
            return f"{profile} - {other_profile} ({method})"
        return f"{method} ({profile}) - {other_method} ({other_profile})"


@dataclass(frozen=True)
class Study:
    """A question and what is evaluated to answer it.

    Attributes:
        name: its directory below exp_runs.
        title, title_zh: headings.
        question, question_zh: what is asked, in a sentence or two.
        arms: the conditions.
        comparisons: the differences that answer it; p values are corrected for their number.
        levels: names of levels.
        primary: the metric that decides, a column of episodes.csv.
        num_evals: episodes per arm, level and seed.
        seeds: seeds of all randomness.
    """

    name: str
    title: str
    title_zh: str
    question: str
    question_zh: str
    arms: tuple[Arm, ...]
    comparisons: tuple[Comparison, ...]
    levels: tuple[str, ...] = DELAY_LEVELS
    primary: str = statistics.SOLVED
    num_evals: int = EPISODES
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self):
        require_int("num_evals", self.num_evals, low=1)
        require_choice("primary", self.primary, metrics.EPISODE_MEANS)
        keys = [one.key for one in self.arms]
        if len(set(keys)) < len(keys):
            raise ValueError(f"arms of {self.name} share a name: {sorted({k for k in keys if keys.count(k) > 1})}")
        for comparison in self.comparisons:
            for key in comparison.arms:
                if key not in keys:
                    raise ValueError(f"comparison {comparison} of {self.name}: there is no arm {key}")

    @property
    def profiles(self) -> list[str]:
        return list(dict.fromkeys(one.profile for one in self.arms))

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(one.method for one in self.arms))


@dataclass(frozen=True)
class StudyArguments:
    """Command line of a study; the defaults are its protocol.

    Attributes:
        levels: names of levels; by default the study's.
        seeds: seeds of all randomness, by default the study's.
        num_evals: episodes per arm, level and seed, by default the study's; others need an output root of their own.
        run_path: run of the policies.
        prefix_run_path: run of the policies trained with simulated delay, for methods that need them.
        num_slots: episodes simulated at a time, per device; results do not depend on it.
        output_root: where cells, tables and figures go; by default exp_runs/<study>.
        launcher: how the cells are distributed.
        report_only: write tables and figures of the cells that are there.
        preview: also write a video of one episode.
        wandb: log the report to Weights & Biases too; needs WANDB_MODE=online or offline, as it is disabled by
            default.
    """

    levels: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    num_evals: int | None = None
    run_path: str = RUN
    prefix_run_path: str = PREFIX_RUN
    num_slots: int = DEFAULT_SLOTS
    output_root: str | None = None
    launcher: launchers.LauncherConfig = field(default_factory=launchers.LauncherConfig)
    report_only: bool = False
    preview: bool = True
    wandb: bool = False

    def of(self, study: Study) -> "StudyArguments":
        """The same with everything that was left to the study.

        Raises:
            ValueError: other episodes than the study's would replace its cells.
        """
        if self.output_root is None and self.num_evals not in (None, study.num_evals):
            raise ValueError(
                f"num_evals={self.num_evals}, but {study.name} has {study.num_evals}: give an --output-root of its "
                "own, so that the study's cells stay"
            )
        return dataclasses.replace(
            self,
            levels=self.levels or study.levels,
            seeds=self.seeds or study.seeds,
            num_evals=study.num_evals if self.num_evals is None else self.num_evals,
            output_root=self.output_root or f"exp_runs/{study.name}",
        )

    @property
    def root(self) -> Path:
        """Where the results go; known once a study has filled it in."""
        return Path(self.output_root)


@functools.lru_cache(maxsize=8)
def load(run_path: str, level: str) -> Subject:
    """A level and a run's policy for it; arms share them."""
    return runner.load_subject(run_path, f"worlds/l/{level}.json")


def run_of(one: Arm, args: StudyArguments) -> str:
    """The run whose policies an arm executes."""
    if one.run_path is not None:
        return one.run_path
    return methods.run_for(one.config.method, args.run_path, args.prefix_run_path)


def tasks(study: Study, args: StudyArguments) -> list[launchers.Task]:
    """One task per level and group of arms that share a policy and a compiled program."""
    groups: dict[tuple[str, str], list[Arm]] = {}
    for one in study.arms:
        groups.setdefault((run_of(one, args), one.config.method), []).append(one)
    return [
        launchers.Task(f"{level}, {method}, {run_path}", run_arms, (args, level, run_path, tuple(arms)))
        for level in args.levels
        for (run_path, method), arms in groups.items()
    ]


def run_arms(args: StudyArguments, level: str, run_path: str, arms: tuple[Arm, ...]) -> None:
    """Computes the cells of some arms on one level that are not there yet."""
    subject = load(run_path, level)
    cells = [planned(one, args, level, seed, subject) for one in arms for seed in args.seeds]
    runner.run_cells(args.root / "cells" / level, cells, subject, shared=True)


def planned(one: Arm, args: StudyArguments, level: str, seed: int, subject: Subject) -> PlannedCell:
    """An arm's cell on one level."""
    settings = {"num_evals": args.num_evals, "num_slots": args.num_slots, "model": subject.policy.config}
    return PlannedCell(Cell(*one.key, seed, level), dataclasses.replace(one.config, **settings))


@dataclass(frozen=True)
class Outcome:
    """The finished cells of a study, by (level, profile, method): one per seed."""

    study: Study
    cells: Mapping[tuple[str, str, str], tuple[CellData, ...]]

    @classmethod
    def read(cls, study: Study, args: StudyArguments) -> "Outcome":
        """Reads the cells that are complete and of this protocol; arms that lack a seed on a level are left out there.

        Raises:
            ValueError: they were computed by different versions of the code.
        """
        found: dict[tuple[str, str, str], tuple[CellData, ...]] = {}
        for level in args.levels:
            for one in study.arms:
                subject = load(run_of(one, args), level)
                cells = [planned(one, args, level, seed, subject) for seed in args.seeds]
                with contextlib.suppress(CellError):
                    found[level, *one.key] = tuple(_read(args.root, cell, subject) for cell in cells)
        versions = {cell.inputs["code_version"] for cells in found.values() for cell in cells}
        if len(versions) > 1:
            raise ValueError(f"{args.root} has cells of {len(versions)} versions of the code: run it again")
        return cls(study, found)

    @property
    def levels(self) -> list[str]:
        """Levels with finished cells."""
        return list(dict.fromkeys(level for level, _, _ in self.cells))

    def complete(self, *keys: tuple[str, str]) -> bool:
        """Whether all levels have these arms."""
        return bool(self.levels) and all((level, *key) in self.cells for level in self.levels for key in keys)

    def episodes(self, level: str, key: tuple[str, str], metric: str) -> Float[np.ndarray, " n"]:
        """A metric of all episodes, in order of seed and episode."""
        return np.concatenate([cell.episodes[metric].to_numpy(float) for cell in self.cells[level, *key]])

    def mean(self, key: tuple[str, str], metric: str) -> Interval:
        """Mean over the levels of a per-episode metric."""
        return statistics.mean_over_levels([self.episodes(level, key, metric) for level in self.levels])

    def difference(self, comparison: Comparison, metric: str) -> statistics.PairedTest:
        """Paired difference, in the mean over the levels."""
        return statistics.paired_test([self.pairs(comparison, metric, level) for level in self.levels])

    def pairs(self, comparison: Comparison, metric: str, level: str) -> Float[np.ndarray, " n"]:
        """The differences of the episodes of one level."""
        candidate, reference = (
            self.episodes(level, key, metric) for key in (comparison.candidate, comparison.reference)
        )
        less = self.pairs(comparison.less, metric, level) if comparison.less else 0.0
        return candidate - reference - less

    def cell_mean(self, key: tuple[str, str], column: str) -> float:
        """Mean over levels and seeds of a column of results.csv."""
        return float(np.mean([cell.result[column] for level in self.levels for cell in self.cells[level, *key]]))

    def evaluations_per_chunk(self, key: tuple[str, str]) -> float:
        """Network evaluations per chunk that arrived, mean over levels and seeds; abandoned queries cost, too."""

        def of(episodes: pd.DataFrame) -> float:
            # Every episode starts with a chunk that is there from the beginning.
            arrived = episodes["num_queries"] - episodes["abandoned_queries"] + 1
            return episodes["flow_evals"].sum() / arrived.sum()

        return float(np.mean([of(cell.episodes) for level in self.levels for cell in self.cells[level, *key]]))

    def rows(self) -> pd.DataFrame:
        """All result rows, for results_all.csv."""
        return pd.DataFrame([cell.result for cells in self.cells.values() for cell in cells])


def _read(root: Path, wanted: PlannedCell, subject: Subject) -> CellData:
    """A cell, if it was computed as planned.

    Raises:
        CellError: it is missing or damaged, or was computed from another configuration, level or policy.
    """
    cell = wanted.cell
    found = results.read_cell(results.cell_dir(root / "cells" / cell.level, cell), cell)
    inputs = json.loads(provenance.canonical_json(runner.plan_inputs(wanted, subject)))
    for name in inputs.keys() - {"code_version"}:
        if found.inputs.get(name) != inputs[name]:
            raise CellError(f"{cell} on {cell.level} was computed with another {name}")
    return found


def versus(candidates: Sequence[str], reference: str, profiles: Sequence[str]) -> tuple[Comparison, ...]:
    """Each candidate method against one reference method, under every profile."""
    return tuple(Comparison((p, m), (p, reference)) for p in profiles for m in candidates if m != reference)
