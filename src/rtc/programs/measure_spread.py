"""Measures how much the chunks of policies differ between draws and between neighbouring queries; writes the table.

python exp/measure_spread.py
python exp/measure_spread.py --run-paths logs-bc/recipe/r8 --levels cartpole_thrust --output-root exp_runs/tmp_spread
python exp/measure_spread.py --study recipe
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from rtc.report import page
from rtc.report.page import Page, Section
from rtc.shared import commands, files, provenance, runtime, tables
from rtc.shared.validation import require_some
from rtc.study import files as studies
from rtc.study import plan, predictors, spread
from rtc.study import subject as subjects
from rtc.study.arguments import StudyArguments
from rtc.study.outcome import Outcome
from rtc.worlds.kinetix.levels import LEVEL_NAMES

INTRODUCTION = """\
Along episodes without delay that execute the first action of a fresh chunk per tick, with the benchmark's action noise
and flow steps, several more chunks are drawn at every tick. The noise of a draw belongs to the ticks that its actions
are for, and stays with them from query to query. Root mean squares, in units of actions, over ticks and bound actions:

- `spread_first`, `spread_chunk`: standard deviation over draws, of a chunk's first action and of all its actions;
- `revision`: change of what a draw has for a tick between two neighbouring queries;
- `ahead_<l>`: what a draw has for the tick l ticks later, against its first action in that tick's own query;
- `fresh_<l>`: the same against another draw's, as in use.
"""
PREDICTION = """\
Mean over the levels of Spearman's rank correlation, over policies, between a measure and what {method} gains over
{reference} at that delay, with 95 % intervals that resample policies ({policies} trainings, whose sets of weights stay
together). A correlation is no cause. With so few trainings intervals are rough; they are not corrected for their
number.
"""
RUNS = ("logs-bc/h8",)
METHOD, REFERENCE = "realtime", "naive"


@dataclass(frozen=True)
class Arguments:
    """Command line of measure_spread.

    Attributes:
        run_paths: runs of policies.
        levels: names of levels, or paths of world files.
        draws: chunks per observation.
        episodes: episodes per policy.
        seed: of all noise.
        study: a study of the repository whose policies are measured on its levels, instead of run_paths and levels; the
            page then says, from the study's finished cells, what predicts the gain of guidance.
        output_root: where the table goes; by default exp_runs/spread, or exp_runs/spread_<study>.
    """

    run_paths: tuple[str, ...] = RUNS
    levels: tuple[str, ...] = LEVEL_NAMES
    study: str | None = None
    draws: int = 8
    episodes: int = 64
    seed: int = 0
    output_root: str | None = None

    def __post_init__(self) -> None:
        require_some("run_paths", self.run_paths)
        require_some("levels", self.levels)

    @property
    def root(self) -> str:
        """Where the table goes."""
        return self.output_root or ("exp_runs/spread" if self.study is None else f"exp_runs/spread_{self.study}")


class Studied(NamedTuple):
    """A study whose policies are measured.

    Attributes:
        outcome: its finished cells.
        args: how it was run.
    """

    outcome: Outcome
    args: StudyArguments


def studied(args: Arguments) -> Studied | None:
    """The study that was named. Raises ValueError where it has no cells, or policies are named beside it."""
    if args.study is None:
        return None
    if (args.run_paths, args.levels) != (RUNS, LEVEL_NAMES):
        raise ValueError(f"run_paths and levels have no effect with study={args.study!r}: leave them out")
    study = studies.read(args.study)
    how = StudyArguments().of(study)
    outcome = Outcome.read(study, how)
    if not outcome.cells:
        raise ValueError(f"study={args.study!r} has no finished cells in {how.root}: run it first")
    return Studied(outcome, how)


def predicted(of: Studied, table: pd.DataFrame) -> Section:
    """What predicts the gain of guidance: a row per measure, a column per delay."""
    found = predictors.gains(of.outcome, of.args, METHOD, REFERENCE)
    measures = [name for name in table if name not in ("level", "run")]
    joined = found.merge(table, on=["level", "run"])
    values = predictors.correlations(joined, measures)
    rows = {measure: {"measure": measure} for _, measure in values}
    for (profile, measure), interval in values.items():
        rows[measure][profile] = tables.interval(interval.value, interval.low, interval.high, 2, signed=True)
    text = PREDICTION.format(method=METHOD, reference=REFERENCE, policies=len(predictors.trainings(joined["run"])))
    return Section(f"What predicts the gain of {METHOD}", [text, pd.DataFrame(rows.values())])


def run(args: Arguments) -> None:
    commands.keep_page(args, Path(args.root) / "summary.md", "output_root", usual=Arguments(study=args.study))
    started, root = time.time(), files.require_writable(args.root)
    of = studied(args)
    levels = args.levels if of is None else of.outcome.levels
    runs = (
        args.run_paths
        if of is None
        else tuple(dict.fromkeys(plan.run_of(one, of.args) for one in of.outcome.study.arms))
    )
    loaded = [(run_path, subjects.load(run_path, level)) for level in levels for run_path in runs]
    rows = []
    for run_path, subject in loaded:
        runtime.make_room()
        found = spread.measure(subject, draws=args.draws, episodes=args.episodes, seed=args.seed)
        rows.append({"level": subject.level.name, "run": run_path} | {k: round(v, 4) for k, v in found.items()})
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    files.atomic_write(root / "spread.csv", files.to_csv(table))
    sections = [Section("", [INTRODUCTION, table]), *([] if of is None else [predicted(of, table)])]
    text = Page("Spread and revision of chunks", sections, provenance.footer(started))
    commands.open_first(page.write(root, {"en": text}, {}))


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
