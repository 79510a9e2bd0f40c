"""Per-level settings of the expert trainer and of demonstrations."""

import dataclasses

import pytest

import generate_data
import train_expert
from rtc.shared import toml
from rtc.training.ppo_training import TrainConfig
from rtc.worlds.kinetix import levels


def written(tmp_path, text):
    path = tmp_path / "training.toml"
    path.write_text(text)
    return path


def test_a_table_changes_its_level_only(tmp_path):
    path = written(tmp_path, "[catapult]\nnum_updates = 900\nprogress_reward = 0.5\n")
    changed = toml.for_table(path, "catapult", TrainConfig(), TrainConfig())
    assert changed == TrainConfig(num_updates=900, progress_reward=0.5)
    assert toml.for_table(path, "trampoline", TrainConfig(), TrainConfig()) == TrainConfig()
    assert toml.for_table(None, "catapult", TrainConfig(), TrainConfig()) == TrainConfig()


def test_what_the_user_sets_wins(tmp_path):
    path = written(tmp_path, "[catapult]\nnum_updates = 900\nnum_envs = 64\n")
    mine = TrainConfig(num_updates=30)
    changed = toml.for_table(path, "catapult", mine, TrainConfig())
    assert changed == dataclasses.replace(mine, num_envs=64)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[catapult]\nnum_update = 9\n", "did you mean 'num_updates'"),
        ("[catapult]\nnum_updates = 0\n", r"\[catapult\]: num_updates=0"),
        ("num_updates = 9\n", "outside a table"),
        ("[catapult]\nnum_updates = 1.5\n", r"\[catapult\]: num_updates=1.5 has the type float; it must be an integer"),
        ("[catapult]\nnum_updates = true\n", "num_updates=True has the type bool"),
        ("[catapult\n", "cannot be read as TOML"),
    ],
)
def test_faulty_recipes_are_explained(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        toml.for_table(written(tmp_path, text), "catapult", TrainConfig(), TrainConfig())


@pytest.mark.parametrize("script", [train_expert, generate_data])
def test_the_shipped_recipe_fits_its_script_and_names_levels(script):
    preset = script.PRESETS["cpu"]
    tables = toml.named_tables(preset.recipe)
    assert set(tables) <= set(levels.LEVEL_NAMES)
    for name in levels.LEVEL_NAMES:
        changed = toml.for_table(preset.recipe, name, preset.config, preset.config)
        assert (changed != preset.config) == (name in tables)
