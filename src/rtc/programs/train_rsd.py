"""Trains what RSD needs on recorded demonstrations: one tokenizer for all levels, and token policies per level.

Finished checkpoints are kept, and a killed run continues where it was.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtc.policies.checkpoints import level_slug
from rtc.policies.tokens.rfsq import TokenizerConfig
from rtc.report import token_training
from rtc.report.page import Section
from rtc.shared import commands, runtime
from rtc.study import tokens as token_files
from rtc.study.protocols import rsd as rsd_protocol
from rtc.training import cloning, token_data, tokens
from rtc.training.demonstrations import Demonstrations
from rtc.training.runs import as_dict, claim
from rtc.training.trainer import FitConfig
from rtc.worlds.kinetix import levels
from rtc.worlds.kinetix.levels import LEVEL_NAMES


@dataclass(frozen=True)
class Arguments:
    """Command line of train_rsd.

    Attributes:
        levels: levels to train token policies for.
        tokenizer_levels: levels whose demonstrations the tokenizer learns.
        data_run: run of the experts whose demonstrations are learned.
        run_path: where the checkpoints go.
        tokenizer: training of the tokenizer.
        policy: training of each token policy.
        held_out: share of the episodes that is kept from training.
    """

    levels: tuple[str, ...] = rsd_protocol.LEVELS
    tokenizer_levels: tuple[str, ...] = LEVEL_NAMES
    data_run: Path = Path("logs-expert/benchmark")
    run_path: Path = Path("logs-bc/rsd")
    tokenizer: FitConfig = field(default_factory=lambda: FitConfig(num_epochs=2))
    policy: FitConfig = field(default_factory=FitConfig)
    held_out: float = 0.1


def train(args: Arguments) -> None:
    started = time.time()
    names = tuple(dict.fromkeys((*args.tokenizer_levels, *args.levels)))
    demos = token_data.load(args.data_run, names)
    parts = {name: token_data.of_level(demos[name], name, held_out=args.held_out) for name in names}
    facts = {name: _facts(args.data_run / "data" / f"{level_slug(name)}.npz", demos[name], name) for name in names}
    # The levels of the policies may change from run to run; everything else decides what is in the checkpoints.
    before = {name: {"parts": 1} for name in ("tokenizer", "policy")}
    with claim(args.run_path, as_dict(args), True, may_differ=("levels",), before=before):
        sections = train_all(args, demos, parts, facts)
    commands.open_first(token_training.write(args.run_path, sections, started))


def _facts(path: Path, data: Demonstrations, name: str) -> dict[str, Any]:
    level = levels.load(name)
    return cloning.data_facts(path, data, level.name, level.sha256)


def train_all(args: Arguments, demos: Mapping, parts: Mapping, facts: Mapping) -> list[Section]:
    """Trains what is missing; returns the sections of the report."""
    path = token_files.tokenizer_path(args.run_path)
    tokenizer = tokens.train_tokenizer(
        token_data.join([parts[name] for name in args.tokenizer_levels]),
        TokenizerConfig(),
        args.tokenizer,
        path,
        {"data": {name: facts[name] for name in args.tokenizer_levels}},
    )
    learned = {name: parts[name] for name in args.tokenizer_levels}
    bound = {name: levels.load(name).bound_actions for name in learned}
    sections = [token_training.tokenizer_section(tokenizer, learned, bound, path)]
    for name in args.levels:
        policies = {}
        for model, sizes in token_files.MODELS.items():
            policies[model] = tokens.train_policy(
                demos[name],
                parts[name],
                path,
                sizes,
                args.policy,
                token_files.policy_path(args.run_path, model, name),
                facts[name],
            )
            runtime.make_room()
        sections.append(token_training.policies_section(name, policies, tokenizer, parts[name], demos[name].obs))
    return sections


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, train, __doc__, argv)
