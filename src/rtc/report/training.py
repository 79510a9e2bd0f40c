"""What was trained and how well it does: one row per shipped policy, and the learning curves."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rtc.policies import checkpoints, kinds, weights
from rtc.policies.checkpoints import level_slug
from rtc.report import catalogue, page
from rtc.report.figures import training as figures
from rtc.report.page import Page
from rtc.shared import provenance
from rtc.study import cells, runner, statistics, subject
from rtc.study.cells import Cell
from rtc.study.evaluation import EvalConfig
from rtc.study.plan import PlannedCell
from rtc.study.statistics import Interval
from rtc.training import cloning
from rtc.worlds.kinetix.levels import VARIANTS

ZERO_DELAY = "no_delay"
_INTRODUCTION = """\
Each run `logs-bc/<run>/<epoch>/policies/` holds one policy per level (`.safetensors`, and its facts in `.json`).

- `h8`: flow policies with chunks of 8 actions; the early epoch is the weak policy for bidirectional decoding.
- `h8_prefix`: the same, fine-tuned with simulated delay, for training-time RTC (`trained_prefix`).
- Runs whose name ends in `_vlash`: those of the run of that name, fine-tuned on observations whose robot is ahead of
  the rest (`vlash`); without `data_experts` they have learned from their own solved episodes.
- `h4`, `h4_prefix`: the same with chunks of 4 (study L).
- `h16`, `h32` and their `_prefix`: the same with longer chunks, on four levels.
- `h8_end_to_end_1`, `h8_end_to_end_2`: the recipe of `h8` from other seeds, experts and demonstrations too, on three
  levels of study M (`bash exp/train_seeds.sh` makes its other policies); `h4_end_to_end_1`: the same with chunks of 4,
  for tail_v1's level.
- Of `h17_unicycle_low_gravity` and `catcher_v3_open_arm`, which are not among the benchmark's levels, the policies that
  these runs had under the names h17_unicycle and catcher_v3.
- `published_recipe`, `published_recipe_prefix`: policies of the published recipe (drawn labels, experts that see four
  ticks, a million transitions); the early epoch is the weak policy.
- `grasp_easy_h4`: the policy of tail_v1, with chunks of 4, from an expert of its own.

`solved`: naive, no delay, a new chunk at every tick (d = 0, s = 1), {num_evals} episodes, with Wilson's 95 % interval.
Where a policy's facts say `data_record_mode`, drawn actions were executed and the experts' mode is what is imitated
(DART). Experts are imitated if they solve at least 65 % of their last episodes in training, unless
`worlds/demonstrations.toml` asks for more; `masked` are the others. Seeds that never solved an episode were given up
and are not counted. Times are wall times of training, in seconds; the machine was doing other things at times.
"""


@dataclasses.dataclass(frozen=True)
class Shipped:
    """One checkpoint in logs-bc/.

    Attributes:
        run: directory of the run, logs-bc/<run>.
        epoch: its epoch.
        level: name of the level.
    """

    run: Path
    epoch: int
    level: str


def shipped(root: Path, levels: Sequence[str]) -> Iterator[Shipped]:
    """All checkpoints of the given levels below `root`, by run, epoch and level."""
    for run in sorted(path for path in root.iterdir() if path.is_dir()):
        for epoch in checkpoints.list_epochs(run):
            for level in levels:
                path = cloning.policy_path(run, epoch, level_slug(level))
                if weights.with_suffix(path, weights.WEIGHTS).is_file():
                    yield Shipped(run, epoch, level)


def solve_rate(policy: Shipped, root: Path, num_evals: int) -> Interval:
    """Naive solve rate at zero delay, s = 1; its cell is kept below `root` and not computed again."""
    there = subject.load(policy.run, policy.level, policy.epoch)
    cell = Cell(ZERO_DELAY, "naive", 0, policy.level)
    root = root / policy.run.name / str(policy.epoch) / policy.level
    planned = PlannedCell(cell, EvalConfig(num_evals=num_evals), there, cells.cell_dir(root, cell))
    runner.run_cells([planned])
    return statistics.solve_rate([planned.read()])


def row(policy: Shipped, rate: Interval) -> dict[str, Any]:
    """A row of the table."""
    path = cloning.policy_path(policy.run, policy.epoch, level_slug(policy.level))
    found, facts = kinds.of(path).load(path)
    experts, masked = facts["data_experts"], facts.get("data_masked_experts", {})
    size = sum(weights.with_suffix(path, end).stat().st_size for end in (weights.WEIGHTS, weights.HEADER))
    return {
        "level": policy.level,
        "solved (%)": catalogue.rate(rate),
        "experts solved (%)": _rates(experts) or "-",
        "masked (%)": _rates(masked) or "-",
        "expert steps (M)": ", ".join(f"{e['env_steps'] / 1e6:.1f}" for e in experts.values()) or "-",
        "expert time (s)": round(sum(e["seconds"] for e in experts.values())),
        "data (transitions)": facts["data_transitions"],
        "data solved (%)": f"{100 * facts['data_solve_rate']:.1f}",
        "H": found.config.action_chunk_size,
        "loss": facts["loss"],
        "cloning time (s)": round(facts["seconds"]),
        "size (kB)": round(size / 1000),
        "commit": _short(facts.get("git_commit")),
    }


def _rates(experts: dict[str, dict[str, Any]]) -> str:
    return ", ".join(f"{100 * facts['solve_rate']:.1f}" for facts in experts.values())


def _short(commit: str | None) -> str:
    return commit[:10] if commit else "unknown"


def write(
    rates: Mapping[Shipped, Interval],
    root: Path,
    expert_run: Path,
    levels: Sequence[str],
    num_evals: int,
    started: float,
) -> Path:
    """Writes README.md and figures/ below `root`; returns the file to open first.

    Args:
        rates: solve rate of every policy.
        expert_run: the experts' run, for their learning curves; kept as they are where it is not there.
        levels: levels of the learning curves.
        num_evals: episodes per policy.
        started: when the command began, in seconds since the epoch.
    """
    groups: dict[tuple[Path, int], dict[Shipped, Interval]] = {}
    for policy, rate in rates.items():
        groups.setdefault((policy.run, policy.epoch), {})[policy] = rate
    # Runs of vlash keep theirs beside their rollouts.
    cloned = [run for run in dict.fromkeys(run for run, _ in groups) if (run / "stats").is_dir()]
    drawn = {"cloning_curves": figures.cloning_curves(cloned, levels)}
    if (expert_run / "stats").is_dir():
        drawn["expert_curves"] = figures.expert_curves(expert_run, levels)
    kept = [] if "expert_curves" in drawn or not (root / "figures/expert_curves.png").is_file() else ["expert_curves"]
    sections = [page.Section("", [_INTRODUCTION.format(num_evals=num_evals)])]
    sections += [_section(f"{run.name}, epoch {epoch}", found) for (run, epoch), found in groups.items()]
    sections.append(page.Section("Learning curves", [], [*drawn, *kept]))
    text = Page("Policies", sections, provenance.footer(started))
    return page.write(root, {"en": text}, drawn, name="README")


def _section(heading: str, policies: Mapping[Shipped, Interval]) -> page.Section:
    """The table of one run and epoch."""
    table = pd.DataFrame([row(*item) for item in policies.items()])
    values = [rate.value for policy, rate in policies.items() if policy.level not in VARIANTS]
    if not values:
        return page.Section(heading, [table])
    mean = f"Mean over {len(values)} levels of the benchmark: {np.mean(values):.1%}; lowest: {min(values):.1%}."
    return page.Section(heading, [table, mean])
