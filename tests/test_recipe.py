"""Per-level settings of the expert trainer and of demonstrations."""

import dataclasses

import pytest

import generate_data
import train_expert
from rtc.training import recipe
from rtc.training.ppo_training import TrainConfig
from rtc.worlds.kinetix import levels


def written(tmp_path, text):
    path = tmp_path / "training.toml"
    path.write_text(text)
    return path


def test_a_table_changes_its_level_only(tmp_path):
    path = written(tmp_path, "[catapult]\nnum_updates = 900\nprogress_reward = 0.5\n")
    changed = recipe.for_level(path, "catapult", TrainConfig(), TrainConfig())
    assert changed == TrainConfig(num_updates=900, progress_reward=0.5)
    assert recipe.for_level(path, "trampoline", TrainConfig(), TrainConfig()) == TrainConfig()
    assert recipe.for_level(None, "catapult", TrainConfig(), TrainConfig()) == TrainConfig()


def test_what_the_user_sets_wins(tmp_path):
    path = written(tmp_path, "[catapult]\nnum_updates = 900\nnum_envs = 64\n")
    mine = TrainConfig(num_updates=30)
    changed = recipe.for_level(path, "catapult", mine, TrainConfig())
    assert changed == dataclasses.replace(mine, num_envs=64)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[catapult]\nnum_update = 9\n", "did you mean 'num_updates'"),
        ("[catapult]\nnum_updates = 0\n", r"\[catapult\]: num_updates=0"),
        ("num_updates = 9\n", "outside a table"),
        ("[catapult\n", "not valid TOML"),
    ],
)
def test_faulty_recipes_are_explained(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        recipe.for_level(written(tmp_path, text), "catapult", TrainConfig(), TrainConfig())


@pytest.mark.parametrize("script", [train_expert, generate_data])
def test_the_shipped_recipe_fits_its_script_and_names_levels(script):
    preset = script.PRESETS["cpu"]
    tables = recipe.read(preset.recipe)
    assert set(tables) <= set(levels.LEVEL_NAMES)
    for name in levels.LEVEL_NAMES:
        changed = recipe.for_level(preset.recipe, name, preset.config, preset.config)
        assert (changed != preset.config) == (name in tables)
