"""Records expert demonstrations: `python src/generate_data.py --config.run-path logs-expert/<run>`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rtc.programs import presets
from rtc.shared import commands, devices, paths, toml
from rtc.shared.paths import WorldRules
from rtc.training import demonstrations, runs
from rtc.training.demonstrations import BEFORE, DataConfig
from rtc.worlds.kinetix import levels

RECIPE = paths.shipped("worlds/demonstrations.toml")


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Rolls out the experts of a run and writes <run-path>/<folder>/worlds_l_<level>.npz.

    A fresh expert is drawn at every episode among those that solve the level often enough. A killed recording
    continues where it was when the same command is given again.
    """

    config: DataConfig = dataclasses.field(default_factory=DataConfig)
    level_paths: tuple[str, ...] = ("worlds/l/grasp_easy.json",)
    """Levels to record: paths, names, or "all" for the benchmark's 12."""
    recipe: Path | None = RECIPE
    """What single levels need that differs from the defaults; flags win over it. None records all levels alike."""
    resume: bool = True
    """Continue a recording found in the folder; --no-resume starts afresh."""
    preset: Literal["cpu", "published"] = "cpu"
    """Defaults of all other flags: sized for a CPU, or as published (12 levels, 1,000,000 transitions)."""
    world_rules: WorldRules | None = None
    """How Kinetix dumps are read: as written (dump, the default), or as Kinetix's importer builds them (importer)."""


PRESETS = {
    "cpu": Arguments(),
    "published": Arguments(
        DataConfig(run_path=Path("logs-expert/published"), num_transitions=1_000_000, record_mode=False),
        ("all",),
        recipe=None,
        preset="published",
    ),
}


def generate(args: Arguments) -> list[Path]:
    """Records what the arguments ask for; returns the files."""
    config, preset = args.config, PRESETS[args.preset].config
    loaded = presets.load_levels(args.level_paths, args.world_rules)
    configs = {slug: toml.for_table(args.recipe, level.name, config, preset) for slug, level in loaded.items()}
    for of_level in configs.values():
        of_level.check_devices(devices.count())
    files = []
    with runs.claim(config.run_path / config.folder, runs.as_dict(config), args.resume, before=BEFORE):
        for slug, level in loaded.items():
            env = levels.make_env(level, configs[slug].physics)
            path = demonstrations.generate(env, slug, configs[slug], resume=args.resume, level_sha256=level.sha256)
            files.append(path)
            print(f"{path}: {demonstrations.load(path).summary()}")
    commands.open_first(files[0].with_suffix(".json"))
    return files


def main(argv: Sequence[str] | None = None) -> None:
    presets.start(Arguments, PRESETS, generate, argv)
