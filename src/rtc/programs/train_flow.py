"""Trains flow policies on demonstrations: `python src/train_flow.py --config.run-path logs-expert/<run>`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rtc.programs import presets
from rtc.shared import commands
from rtc.shared.paths import WorldRules
from rtc.training import cloning, demonstrations, runs, vlash
from rtc.training.cloning import CloningConfig


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Behaviour-clones one flow policy per level from the demonstrations in <run-path>/<data>/.

    Writes policies to <output-path>/<epoch>/policies/, statistics to <output-path>/stats/ and the state to
    resume from to <output-path>/resume/. A killed run continues where it was when the same command is given
    again.
    """

    config: CloningConfig = dataclasses.field(default_factory=CloningConfig)
    level_paths: tuple[str, ...] = ("worlds/l/grasp_easy.json",)
    """Levels to train on, one after the other: paths, names, or "all" for the benchmark's 12."""
    output_path: Path = Path("logs-bc/default")
    """Folder of the run."""
    resume: bool = True
    """Continue a run found in the folder; --no-resume starts afresh."""
    preset: Literal["cpu", "published"] = "cpu"
    """Defaults of all other flags: sized for a CPU, or as published (12 levels, 32 epochs, chunks of 8)."""
    world_rules: WorldRules | None = None
    """How Kinetix dumps are read: as written (dump, the default), or as Kinetix's importer builds them (importer)."""


PRESETS = {
    "cpu": Arguments(),
    "published": Arguments(cloning.PUBLISHED, ("all",), Path("logs-bc/published"), preset="published"),
}


def train(args: Arguments) -> list[Path]:
    """Trains what the arguments ask for; returns the last checkpoint of each level, without suffix."""
    config = args.config
    loaded = presets.load_levels(args.level_paths, args.world_rules)
    data_paths = {slug: config.run_path / config.data / f"{slug}.npz" for slug in loaded}
    demonstrations.require(data_paths.values())
    policies = []
    with runs.claim(args.output_path, runs.as_dict(config), args.resume, cloning.FREE_FIELDS, cloning.BEFORE):
        for slug, level in loaded.items():
            data = cloning.chosen(demonstrations.load(data_paths[slug]), config)
            print(f"{data_paths[slug]}: {data.summary()}")
            facts = cloning.data_facts(data_paths[slug], data, level.name, level.sha256)
            places = {"level": slug, "output_path": args.output_path}
            robot = None if config.model.robot_ahead is None else vlash.robot_entries(level, data.entries)
            policy = cloning.train(data, config, **places, facts=facts, resume=args.resume, robot=robot)
            policies.append(policy)
            print(f"{policy}.safetensors: {slug}, chunks of {config.model.action_chunk_size}")
    commands.open_first(args.output_path / "stats" / f"{policies[0].name}.csv")
    return policies


def main(argv: Sequence[str] | None = None) -> None:
    presets.start(Arguments, PRESETS, train, argv)
