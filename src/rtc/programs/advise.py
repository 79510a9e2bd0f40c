"""From a latency log to a decision: which execution method, horizon, estimate and tail control serve these delays best.

    exp-delta advise robot_client.log --hz 30 --chunk 50 --output-dir advice
    python exp/advise.py delays.csv --hz 50 --chunk 16

reads the log (formats: docs/latency-logs.md), replays its delays against the benchmark's policies, scaled to your
chunk, and writes a page, advice.html and advice.md: docs/advise.md.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from rtc.delay import DelayProfileConfig, logs
from rtc.delay.logs import trace_table
from rtc.programs import read_log
from rtc.report import advice, latency_log
from rtc.report.advice import Advice
from rtc.shared import commands, files, provenance, tables
from rtc.shared.validation import require_float, require_int
from rtc.study import advice as design
from rtc.study import identity, runner, timed, transfer
from rtc.study.advice import Policies, Scale, Tails
from rtc.study.arguments import StudyArguments
from rtc.study.outcome import Outcome

EPISODES, THOROUGH_EPISODES = 64, 512


@dataclass(frozen=True)
class Arguments(read_log.Arguments):
    """Command line of advise; log, hz, format, column, minus, unit, keep_first and keep_warm_up are those of read-log.

    Attributes:
        log: the file.
        hz: control rate of the robot, in ticks per second.
        format: lerobot_client, lerobot_server, lerobot_rtc, openpi_table, openpi_replies or table; by default what the
            file's content shows.
        column: where a table, or a reply in JSON, has the delay.
        minus: a column with time stamps to subtract: the delay is `column` minus this one.
        unit: of the column: ns, us, ms, s or ticks; by default what its name ends in.
        keep_first: keep the first query of a session.
        keep_warm_up: keep leading delays far above what follows.
        output_dir: where page, cells and trace go; by default exp_runs/advice/<name of the log>.
        overwrite: compute everything again, and replace the advice for another log, rate or chunk there.
        chunk: actions that one chunk of your policy holds.
        minutes: time for computing; methods that do not fit are named, and the same command adds them. 0 only writes
            the page again.
        episodes: per setting and level; by default 64, or 512 with `thorough`.
        thorough: more horizons and a deadline too, and more episodes; give it an hour or more of `minutes`.
        run_path: run of the policies to ask; by default the one that fits the log.
        levels: levels to run; by default all that the run has policies for.
        processes: levels computed side by side; by default one per core.
    """

    chunk: int = 50
    minutes: float = 10.0
    episodes: int | None = None
    thorough: bool = False
    run_path: str | None = None
    levels: tuple[str, ...] = ()
    processes: int | None = None


def run(args: Arguments) -> None:
    started = time.time()
    require_float("minutes", args.minutes, low=0.0)
    if args.processes is not None:
        require_int("processes", args.processes, low=1)
    root = args.output_dir or Path("exp_runs/advice") / args.log.stem
    log = read_log.read(args)
    ticks = design.require_usable(log, args.hz, args.chunk)
    found = logs.describe(log, args.hz)
    chosen = policies(args, found.percentile(50))
    scale, place = Scale(args.hz, args.chunk, chosen.chunk), root / design.LOG
    latency_log.require_own(place, log, overwrite=args.overwrite)
    files.require_writable(root)
    tail = design.tails(ticks, scale)
    conditions = profiles(ticks, scale, tail, root, thorough=args.thorough)
    study_args = arguments(args, chosen, root)
    groups, left_out = design.available(chosen, conditions, study_args, thorough=args.thorough)
    study = design.study(
        chosen, (one for its in groups.values() for one in its), study_args.levels, study_args.num_evals
    )
    run_name = identity.shown(chosen.run_path)
    print(f"{len(log.latency_ms)} delays; policies of {run_name} (H = {chosen.chunk}); methods: {', '.join(groups)}")
    print(runner.check(study, study_args), flush=True)
    latency_log.write(log, found, read_log.replay(), place, started)
    worlds = transfer.shipped_worlds()  # before the work, as an archive may be damaged
    rest = timed.run(study, study_args, groups, 60 * args.minutes, args.processes)
    outcome = Outcome.read(study, study_args)
    require_some(outcome, rest.broken)
    why = left_out | stopped(rest.broken)
    found_all = Advice(log, found, scale, chosen, tail, outcome, why, rest.late, worlds)
    commands.open_first(advice.write(found_all, root, started))


def policies(args: Arguments, median: int) -> Policies:
    """The policies to ask: of the run that was named, or of the one that fits.

    Args:
        median: median delay in ticks of the robot.

    Raises:
        ValueError: the run that was named holds none of use here.
        FileNotFoundError: there is no such run.
    """
    if args.run_path is None:
        return design.choose(design.policies(), args.chunk, median)
    named = design.of_run(args.run_path)
    if named is None:
        raise ValueError(
            f"run_path={args.run_path!r} holds no policies of one chunk size for the benchmark's levels, trained "
            "without simulated delay: choose another run"
        )
    return named


def arguments(args: Arguments, chosen: Policies, root: Path) -> StudyArguments:
    """What the study's framework is told."""
    episodes = (THOROUGH_EPISODES if args.thorough else EPISODES) if args.episodes is None else args.episodes
    require_int("episodes", episodes, low=2)
    return StudyArguments(
        levels=design.require_levels(args.levels, chosen),
        seeds=(0,),
        num_evals=episodes,
        run_path=chosen.run_path,
        prefix_run_path=chosen.prefix_run_path,
        output_root=str(root),
        overwrite=args.overwrite,
    )


def profiles(
    ticks: Int[np.ndarray, " n"], scale: Scale, tail: Tails, root: Path, *, thorough: bool
) -> dict[str, DelayProfileConfig]:
    """Writes the delays and their median as traces, and gives the conditions that replay them.

    Their names tell their contents, so that those of another rate or chunk, which cells may belong to, stay.

    Args:
        ticks: the delays in ticks of the robot.
    """
    median = int(tables.percentiles(ticks, (50,))[50])
    written = []
    for name, shown in (("delays", ticks), ("median", np.full_like(ticks, median))):
        text = files.to_csv(trace_table(scale.replayed(shown)))
        path = root / "traces" / f"{name}-{provenance.sha256(text.encode())[:8]}.csv"
        files.atomic_write(path, text)
        written.append(scale.trace(path.resolve()))
    return design.profiles(*written, tail, thorough=thorough)


def stopped(broken: Mapping[str, str]) -> dict[str, str]:
    """What the page says of methods in which a NaN or infinity appeared."""
    return {
        name: f"{error}; only settings that are complete on all levels are compared" for name, error in broken.items()
    }


def require_some(outcome: Outcome, broken: Mapping[str, str]) -> None:
    """Raises ValueError where no method is complete on all levels, with the reasons of those that broke down."""
    if not advice.candidates(outcome):
        why = "".join(f"; {name}: {error}" for name, error in broken.items())
        raise ValueError(f"no method is complete on all levels: give more --minutes, fewer --levels or --episodes{why}")


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
