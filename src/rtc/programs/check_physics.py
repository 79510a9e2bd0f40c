"""Checks the specialised physics against Kinetix's own step, level by level, and writes the table of differences.

Three comparisons: one tick from the same state, throughout whole episodes of the stock engine; runs from the start that
get the same actions; and what whole episodes under the same actions come to, of which most have parted before their
end. "Nudged" is the stock engine against itself with velocities changed by about 1e-7 m/s: how far rounding alone
carries it. A tick is "on an edge" if displacing the state before it by about 1e-6 m moves a body of the stock engine at
least half as far as ours is away.
"""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rtc.bench import equivalence
from rtc.bench.equivalence import TOLERANCE, Episodes, TickErrors
from rtc.policies import checkpoints
from rtc.shared import commands, files, provenance
from rtc.shared import tables as report
from rtc.shared.validation import require_some
from rtc.worlds.kinetix import levels


@dataclass(frozen=True)
class Arguments:
    """Command line of check_physics.

    Attributes:
        levels: levels to check.
        episodes: whole episodes per engine and level.
        rounds: episodes that an environment runs one after the other.
        ticks: length of an episode at most.
        open_loop: environments, and ticks, of the runs from the start.
        seed: of the random actions.
        run_path: run whose policies act in their levels, besides random actions.
        output: the table.
    """

    levels: tuple[str, ...] = levels.SHIPPED
    episodes: int = 1000
    rounds: int = 4
    ticks: int = 256
    open_loop: tuple[int, int] = (64, 100)
    seed: int = 0
    run_path: str = "logs-bc/grasp_easy_h4"
    output: Path = Path("exp_runs/check_physics.md")

    def __post_init__(self) -> None:
        require_some("levels", self.levels)


def tick_row(name: str, errors: TickErrors) -> dict:
    """Differences after one tick from the same state."""
    ours, nudged = (x[np.isfinite(x)] for x in (errors.position, errors.nudged))
    return {
        "level": name,
        "ticks compared": errors.ticks,
        "position (m), max": f"{ours.max():.1e}",
        "99.99 %": f"{np.quantile(ours, 0.9999):.1e}",
        "nudged, max": f"{nudged.max():.1e}",
        "99.99 % ": f"{np.quantile(nudged, 0.9999):.1e}",
        "observation, max": f"{errors.observation:.1e}",
        "reward, max": f"{errors.reward:.1e}",
        f"over {TOLERANCE:g} m": errors.apart,
        "of them on an edge": errors.on_edge,
        "done or solved differ": errors.flags,
    }


def divergence_row(name: str, apart: np.ndarray, nudged: np.ndarray) -> dict:
    """Environments that are still within the tolerance after so many ticks, of those whose episode goes on."""
    row = {"level": name}
    for label, errors in (("", apart), ("nudged, ", nudged)):
        for ticks in (10, 20, 40, 60, 100):
            if ticks <= len(errors):
                alive = errors[ticks - 1][np.isfinite(errors[ticks - 1])]
                row[f"{label}{ticks}"] = f"{(alive < TOLERANCE).mean():.0%}" if alive.size else "-"
    return row


def statistics_row(name: str, stock: Episodes, fast: Episodes, rounds: int) -> dict:
    """Means of the stock engine, paired differences with standard errors, and these in standard errors (z).

    Episodes that one environment runs one after the other depend on each other, so its mean counts as one value.
    """
    row = {"level": name}
    for field in dataclasses.fields(Episodes):
        a, b = (np.asarray(getattr(episodes, field.name), float) for episodes in (stock, fast))
        difference = (b - a).reshape(rounds, -1).mean(axis=0)
        error = difference.std(ddof=1) / np.sqrt(difference.size)
        row[field.name] = f"{a.mean():.4g}"
        row[f"{field.name}, ours - stock"] = f"{difference.mean():+.2g} ± {error:.2g}" if error else "0"
        row[f"{field.name}, z"] = f"{difference.mean() / error:+.1f}" if error else "0"
    return row


def check_level(name: str, args: Arguments) -> tuple[list[dict], dict, dict]:
    level = levels.load(name)
    sizes = args.ticks * args.rounds, args.episodes // args.rounds
    actions = equivalence.sticky_actions(args.seed, *sizes)
    errors, stock = equivalence.compare_ticks(level, actions, args.rounds)
    ticks = [tick_row(name, errors)]
    policy_file = policy_of(args.run_path, level)
    if policy_file is not None:
        policy = checkpoints.load_policy(policy_file)[0]
        acted = equivalence.policy_actions(level, policy, args.ticks, args.open_loop[0], args.seed)
        ticks.append(tick_row(f"{name}, trained policy", equivalence.compare_ticks(level, acted)[0]))
    batch, length = args.open_loop
    apart = equivalence.divergence(level, equivalence.sticky_actions(args.seed + 1, length, batch))
    fast = equivalence.run_episodes(level, actions, args.rounds)
    return ticks, divergence_row(name, *apart), statistics_row(name, stock, fast, args.rounds)


def policy_of(run_path: str, level: levels.Level) -> Path | None:
    """The run's policy for a level, if there is one."""
    try:
        return checkpoints.policy_path(run_path, f"worlds/l/{level.path.name}")
    except FileNotFoundError:
        return None


def run(args: Arguments) -> None:
    commands.keep_page(args, args.output, "output")
    started, tables = time.time(), ([], [], [])
    for name in args.levels:
        ticks, apart, statistics = check_level(name, args)
        tables[0].extend(ticks)
        tables[1].append(apart)
        tables[2].append(statistics)
        print(ticks[0], flush=True)
        files.atomic_write(args.output, page(tables, args, started))
    commands.open_first(args.output)


def page(tables: tuple[list[dict], ...], args: Arguments, started: float) -> str:
    headings = (
        "One tick from the same state, over whole episodes of the stock engine",
        f"Share of environments within {TOLERANCE:g} m after so many ticks from the start "
        f"({args.open_loop[0]} environments, those whose episode goes on)",
        f"Whole episodes ({args.episodes} per engine, the same random actions): "
        "stock mean, paired difference ± standard error, the same in standard errors (z)",
    )
    parts = [f"# {__doc__.splitlines()[0]}\n", "\n".join(__doc__.splitlines()[2:]).strip() + "\n"]
    for heading, rows in zip(headings, tables, strict=True):
        parts.append(f"## {heading}\n\n{report.format_table(pd.DataFrame(rows))}\n")
    parts.append(provenance.footer(started))
    return "\n".join(parts)


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
