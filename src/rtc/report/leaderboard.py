"""The leaderboard's table, from the protocol's committed outcomes and the entries' files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from rtc.delay.profiles import DelayProfileConfig
from rtc.report import catalogue, insight
from rtc.shared import provenance, tables
from rtc.study import archive, entries, files, statistics
from rtc.study.arguments import StudyArguments
from rtc.study.outcome import Outcome
from rtc.study.study import Study

# Where docs/leaderboard.md has its table.
MARK = "<!-- table -->"
COSTS = ("multiplications_per_tick", "flow_evals_per_tick")
OWN_POLICY = "policy of its own"
MEAN = "mean under delay (%)"
_NOTHING = (
    "The protocol's outcomes, `{path}`, are not in this checkout, so that there is nothing to show. They are made by "
    "`python exp/run_study.py {name}`."
)
_ABOUT = (
    "Share of episodes solved in percent, with 95 % intervals over episodes: mean over the {levels} levels ({names}), "
    "{episodes} episodes each, execute horizon and all else as in the study `exp/studies/{name}.toml`. Rows are in the "
    "order of their mean over the profiles with delay, whose interval takes profiles and levels as given; intervals of "
    "neighbours overlap where the order means nothing. Cost is the mean over the same profiles: millions of "
    "multiplications, and passes through the policy's network, per control tick, without what a simulator computes. "
    "**Compare rows that see the same**: `sees` says what a method has that naive execution has not, such as every "
    "delay in advance, the simulator, or training of its own."
)
_INCOMPLETE = (
    "Of the protocol's outcomes, `{path}`, no method has met all profiles yet, so that there is nothing to show."
)
_STATED = "What an entry's query multiplies is what its file says; all else of an entry is checked."
_TIME = (
    "The cells of `{method}` took {minutes:.1f} minutes of wall time, compiling included, on the machine that computed "
    "them ({device})."
)


@dataclass(frozen=True)
class Board:
    """What there is to compare.

    Attributes:
        outcomes: the protocol's, then those of each entry; empty where the protocol's are not there.
        left_out: what is wrong with other entries, by their folders' names.
    """

    outcomes: Sequence[Outcome] = ()
    left_out: dict[str, list[str]] = field(default_factory=dict)


def read(root: Path, name: str = entries.PROTOCOL) -> Board:
    """The protocol's outcomes and its entries. Every entry's plugin is executed.

    Raises:
        ValueError: there is no such protocol, or its outcomes are damaged.
    """
    study = files.read(name)
    args = StudyArguments(output_root=str(root / "exp_runs" / study.name)).of(study)
    if not archive.path(args.root).is_file():
        return Board()
    found, left_out, names = [Outcome.read(study, args)], {}, {}
    for path in sorted((root / entries.FOLDER).glob(f"*/{entries.NAME}")):
        try:
            entry = entries.read(path.parent)
            if entry.protocol != name:
                continue
            wrong = entries.problems(path.parent)
        except ValueError as error:
            wrong = [str(error)]
        else:
            first = names.setdefault(entry.name, path.parent.name)
            if first != path.parent.name:
                wrong = [f"label={entry.name!r} is that of {first} already", *wrong]
        if wrong:
            left_out[path.parent.name] = wrong
        else:
            found.append(entries.outcome(path.parent))
    return Board(found, left_out)


def table(found: Sequence[Outcome]) -> pd.DataFrame:
    """A row per method that met all profiles: solve rates by profile, their mean under delay, cost, privileges."""
    policies = _policies(found[0])
    rows = [row for outcome in found for row in _rows(outcome, found[0].study, policies)]
    rows.sort(key=lambda row: -row[0])
    return pd.DataFrame(row for _, row in rows)


def _rows(outcome: Outcome, protocol: Study, policies: set[str]) -> Iterator[tuple[float, dict[str, str]]]:
    metric = catalogue.PRIMARY
    delayed = [name for name in protocol.profiles if _delayed(protocol, name)]
    seen = insight.by_arm(outcome.study, [one.key for one in outcome.study.arms])
    for method in outcome.study.methods:
        if not outcome.complete(*((name, method) for name in protocol.profiles)):
            continue
        values = [
            outcome.episodes(level, (name, method), metric.column) for name in delayed for level in outcome.levels
        ]
        mean = statistics.rate_over_levels(values)
        costs = {column: np.mean([outcome.cell_mean((name, method), column) for name in delayed]) for column in COSTS}
        sees = [seen.get((delayed[0], method), "")]
        told = outcome.study.arm((delayed[0], method)).config.estimator.kind == "oracle"
        if told and insight.TOLD not in sees[0]:
            sees.append(insight.TOLD)
        if any(cell.inputs["checkpoint_sha256"] not in policies for cell in outcome.group((delayed[0], method))):
            sees.append(OWN_POLICY)
        row = {"method": method, MEAN: metric.interval(mean)}
        row |= {name: metric.interval(outcome.mean((name, method), metric.column)) for name in protocol.profiles}
        row |= {catalogue.metric(column).heading: catalogue.metric(column).show(costs[column]) for column in COSTS}
        yield mean.value, row | {"sees": ", ".join(text for text in sees if text)}


def _delayed(study: Study, profile: str) -> bool:
    one = study.arm((profile, study.methods[0]))
    return one.config.delay_profile != DelayProfileConfig() or one.delays_of is not None


def _policies(outcome: Outcome) -> set[str]:
    """The policies of the protocol's own rows."""
    return {cell.inputs["checkpoint_sha256"] for cells in outcome.cells.values() for cell in cells}


def within(text: str, root: Path, name: str = entries.PROTOCOL) -> str:
    """A page in docs/ with the table in the place that it keeps for it."""
    return text.replace(MARK, section(root, name))


def section(root: Path, name: str = entries.PROTOCOL) -> str:
    """The table as Markdown, with what it shows and where it comes from; links are those of a page in docs/."""
    board = read(root, name)
    if not board.outcomes:
        path = archive.path(Path("exp_runs") / files.read(name).name)
        return _NOTHING.format(path=path, name=name) + "\n"
    found, first = board.outcomes, board.outcomes[0]
    profiles = first.study.profiles
    whole = [one for one in first.study.methods if first.complete(*((profile, one) for profile in profiles))]
    if not whole:
        return _INCOMPLETE.format(path=archive.path(Path("exp_runs") / first.study.name)) + "\n"
    about = {"levels": len(first.levels), "names": ", ".join(first.levels), "episodes": first.total_episodes}
    cells = [cell for outcome in found for cells in outcome.cells.values() for cell in cells]
    timed = [cell for profile in profiles for cell in first.group((profile, whole[0]))]
    took = {"method": whole[0], "minutes": sum(cell.provenance["wall_s"] for cell in timed) / 60}
    parts = [
        _ABOUT.format(name=name, **about) + (f" {_STATED}" if len(found) > 1 else ""),
        tables.format_table(table(found)),
        *_left_out(board),
        _TIME.format(device=timed[0].provenance["device_kind"], **took),
        f"From [the study's report](../exp_runs/{first.study.name}/summary.md) and its `episodes.parquet`"
        + (f", and {len(found) - 1} entries in `{entries.FOLDER}`" if len(found) > 1 else "")
        + f". {provenance.cells_origin(cells)}",
    ]
    return "\n\n".join(parts) + "\n"


def _left_out(board: Board) -> Iterator[str]:
    """A table of the entries that are not among the rows, with the first thing that is wrong with each."""
    if board.left_out:
        rows = [
            {"left out": name, "problems": len(wrong), "the first": " ".join(wrong[0].split())}
            for name, wrong in board.left_out.items()
        ]
        yield tables.format_table(pd.DataFrame(rows))
