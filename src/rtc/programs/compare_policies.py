"""Policies of LIBERO on state observations side by side, without delay: success, passes, time at batch 1 and memory.

Finished cells are kept in <output-root>/cells/. Evaluating needs LIBERO on state observations (docs/libero.md), and
times need the demonstrations, from which the observations are.
"""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from rtc import worlds
from rtc.bench import answers, policies_report
from rtc.policies.checkpoints import level_slug
from rtc.shared import commands, files
from rtc.shared.validation import require_choice, require_int
from rtc.study import plan, runner
from rtc.study.arguments import StudyArguments
from rtc.study.outcome import Outcome
from rtc.study.plan import PlannedCell
from rtc.study.protocols import libero_policies
from rtc.study.protocols.libero_policies import Protocol
from rtc.study.study import Study
from rtc.training import demonstrations

INTRODUCTION = """\
{episodes} episodes per task from the benchmark's first initial states, no delay, s = {horizon} of chunks of 8, action
noise of 0.1; one training seed. Observations are the state, 40 numbers and no images; demonstrations are a scripted
expert's; policies are small. So nothing here compares with a vision-language-action model's success. Intervals are
Wilson's, over all episodes. Times are those of {queries} queries per policy in turn, from the call to the chunk in
memory, on {device}; observations are those of demonstrations. Passes are those of the main model, or steps of the
flow. `accepted`: share of the draft's tokens that stood when they were verified, by residual layer. `invalid`: share of
the sequences that hold another number of coefficients than a chunk.
"""


@dataclass(frozen=True)
class Arguments:
    """Command line of compare_policies.

    Attributes:
        protocol: what is compared.
        tasks: numbers of the tasks; all of them by default.
        policies: names of the policies; all of them by default.
        queries: queries per policy that are timed.
        data_run: run of the expert, whose demonstrations give the observations of the timed queries.
        output_root: where cells, table and figure go.
        overwrite: compute cells again although others, or finished ones, are in their place.
        cells_only: compute cells, and neither measure times nor write the page.
        report_only: write the page of the cells that are there.
    """

    protocol: Protocol = field(default_factory=Protocol)
    tasks: tuple[int, ...] | None = None
    policies: tuple[str, ...] | None = None
    queries: int = 500
    data_run: Path = Path("logs-expert/libero_spatial")
    output_root: Path = Path("exp_runs/rsd_libero")
    overwrite: bool = False
    cells_only: bool = False
    report_only: bool = False

    def __post_init__(self):
        require_int("queries", self.queries, low=1)
        if self.cells_only and self.report_only:
            raise ValueError("cells_only and report_only together leave nothing to do: leave one of them out")
        for task in self.tasks or ():
            require_int("tasks entry", task, low=0, high=len(self.protocol.levels) - 1)
        for name in self.policies or ():
            require_choice("policies entry", name, libero_policies.study(self.protocol).methods)


def run(args: Arguments) -> None:
    """Computes what is missing, measures, and writes the page."""
    started, study = time.time(), libero_policies.study(args.protocol)
    how = StudyArguments(
        levels=args.protocol.levels,
        num_evals=args.protocol.num_evals,
        output_root=str(files.require_writable(args.output_root)),
        overwrite=args.overwrite,
        preview=False,
    ).of(study)
    if not args.report_only:
        say = partial(print, flush=True)
        runner.run_cells(list(_asked(args, study, how)), overwrite=args.overwrite, done=say)
    if args.cells_only:
        return
    outcome = Outcome.read(study, how, required=())
    measured = answers.measure(_subjects(outcome, how), _observations(args), args.queries)
    text = INTRODUCTION.format(
        episodes=args.protocol.num_evals,
        horizon=args.protocol.execute_horizon,
        queries=args.queries,
        device=f"{os.cpu_count()} cores of a shared {jax.devices()[0].platform.upper()}",
    )
    commands.open_first(policies_report.write(outcome, measured, args.output_root, text, started))


def _asked(args: Arguments, study: Study, how: StudyArguments) -> Iterator[PlannedCell]:
    """The cells that were asked for, task by task."""
    chosen = [one for one in study.arms if args.policies is None or one.method in args.policies]
    for number, level in enumerate(how.levels):
        if args.tasks is None or number in args.tasks:
            for one in chosen:
                yield plan.planned(study, how, one, level, how.seeds[0])


def _subjects(outcome: Outcome, how: StudyArguments) -> dict[str, Any]:
    """The policies that were evaluated in all worlds, each with its evaluation, in the first one."""
    return {one.method: (plan.load(one, how, how.levels[0]), one.config) for one in outcome.arms()}


def _observations(args: Arguments) -> Float[np.ndarray, "n o"]:
    """Observations of demonstrations, in a random order.

    Raises:
        FileNotFoundError: there are none.
    """
    home = worlds.load(args.protocol.levels[0]).home
    path = args.data_run / "data" / f"{level_slug(home.name)}.npz"
    demonstrations.require([path])
    obs = demonstrations.load(path).obs
    return obs[np.random.default_rng(0).permutation(len(obs))[: args.queries]]


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
