"""The leaderboard's table, from the protocol's committed outcomes and the entries' files."""

from collections.abc import Iterator
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
_TIME = (
    "The cells of `{method}` took {minutes:.1f} minutes of wall time, compiling included, on the machine that computed "
    "them ({device})."
)


def outcomes(root: Path, name: str = entries.PROTOCOL) -> list[Outcome]:
    """The protocol's outcomes, then those of each entry.

    Raises:
        ValueError: an entry is not as the protocol wants it, or of another protocol; all that is wrong is named.
    """
    study = files.read(name)
    args = StudyArguments(output_root=str(root / "exp_runs" / study.name)).of(study)
    if not archive.path(args.root).is_file():
        return []
    found = [Outcome.read(study, args)]
    for path in sorted((root / entries.FOLDER).glob(f"*/{entries.NAME}")):
        if entries.read(path.parent).protocol == name:
            wrong = entries.problems(path.parent)
            if wrong:
                raise ValueError("\n  ".join([f"{path.parent}: {len(wrong)} problems", *wrong]))
            found.append(entries.outcome(path.parent))
    return found


def table(found: list[Outcome]) -> pd.DataFrame:
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
        mean = statistics.mean_over_levels(values)
        costs = {column: np.mean([outcome.cell_mean((name, method), column) for name in delayed]) for column in COSTS}
        sees = [seen.get((delayed[0], method), "")]
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
    found = outcomes(root, name)
    if not found:
        path = archive.path(Path("exp_runs") / files.read(name).name)
        return _NOTHING.format(path=path, name=name) + "\n"
    first = found[0]
    about = {"levels": len(first.levels), "names": ", ".join(first.levels), "episodes": first.total_episodes}
    cells = [cell for outcome in found for cells in outcome.cells.values() for cell in cells]
    of_first = [cell for profile in first.study.profiles for cell in first.group((profile, first.study.methods[0]))]
    seconds = sum(cell.provenance["wall_s"] for cell in of_first)
    took = {"method": first.study.methods[0], "minutes": seconds / 60}
    parts = [
        _ABOUT.format(name=name, **about),
        tables.format_table(table(found)),
        _TIME.format(device=of_first[0].provenance["device_kind"], **took),
        f"From [the study's report](../exp_runs/{first.study.name}/summary.md) and its `episodes.parquet`"
        + (f", and {len(found) - 1} entries in `{entries.FOLDER}`" if len(found) > 1 else "")
        + f". {provenance.cells_origin(cells)}",
    ]
    return "\n\n".join(parts) + "\n"
