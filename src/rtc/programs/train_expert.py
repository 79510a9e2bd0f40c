"""Trains experts with PPO: `python src/train_expert.py --level-paths worlds/l/grasp_easy.json`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rtc.programs import presets
from rtc.shared import commands, devices, paths, toml
from rtc.shared.paths import WorldRules
from rtc.training import ppo_training, runs
from rtc.training.expert import ExpertConfig
from rtc.training.ppo_training import TrainConfig
from rtc.worlds.kinetix import levels

RECIPE = paths.shipped("worlds/training.toml")


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Trains one PPO expert per level and seed.

    Writes experts to <run-path>/<update>/policies/, statistics to <run-path>/stats/ and the state to resume
    from to <run-path>/resume/. A killed run continues where it was when the same command is given again.
    """

    config: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    level_paths: tuple[str, ...] = ("worlds/l/grasp_easy.json",)
    """Levels to train on, one after the other: paths, names, or "all" for the benchmark's 12."""
    run_path: Path = Path("logs-expert/default")
    """Folder of the run."""
    recipe: Path | None = RECIPE
    """What single levels need that differs from the defaults; flags win over it. None trains all levels alike."""
    resume: bool = True
    """Continue a run found in the folder; --no-resume starts afresh."""
    preset: Literal["cpu", "published"] = "cpu"
    """Defaults of all other flags: sized for a CPU, or as published (12 levels, 256x256x1000, 8 seeds)."""
    world_rules: WorldRules | None = None
    """How Kinetix dumps are read: as written (dump, the default), or as Kinetix's importer builds them (importer)."""


PRESETS = {
    "cpu": Arguments(),
    "published": Arguments(
        ppo_training.PUBLISHED, ("all",), Path("logs-expert/published"), recipe=None, preset="published"
    ),
}


def train(args: Arguments) -> dict[str, float]:
    """Trains what the arguments ask for; returns the solve rate by expert name."""
    config, preset = args.config, PRESETS[args.preset].config
    loaded = presets.load_levels(args.level_paths, args.world_rules)
    configs = {slug: toml.for_table(args.recipe, level.name, config, preset) for slug, level in loaded.items()}
    for of_level in configs.values():
        of_level.check_devices(devices.count())
    solve_rates = {}
    with runs.claim(args.run_path, runs.as_dict(config), args.resume, ppo_training.FREE_FIELDS, ppo_training.BEFORE):
        for slug, level in loaded.items():
            config, facts_path = configs[slug], args.run_path / "levels" / f"{slug}.json"
            made_for = runs.as_dict(config) | {"level_sha256": level.sha256}
            runs.keep_facts(
                facts_path, made_for, args.resume, ppo_training.FREE_FIELDS, ("level_sha256",), ppo_training.BEFORE
            )
            env = levels.make_env(level, config.physics)
            entries = tuple(levels.varying_observation_entries(level).tolist())
            sizes = {name: getattr(config, name) for name in ("history", "delay", "width", "initial_std")}
            shape = ExpertConfig(entries, env.action_dim, **sizes)
            options = {"level": slug, "run_path": args.run_path, "resume": args.resume}
            facts = {"level_sha256": level.sha256}
            for seed, rate in ppo_training.train_seeds(env, shape, config, **options, facts=facts):
                solve_rates[ppo_training.expert_name(slug, seed)] = rate
                print(f"{slug}, seed {seed}: {rate:.1%} solved over the last {config.window} updates")
    commands.open_first(args.run_path / "stats" / f"{next(iter(solve_rates))}.csv")
    return solve_rates


def main(argv: Sequence[str] | None = None) -> None:
    presets.start(Arguments, PRESETS, train, argv)
