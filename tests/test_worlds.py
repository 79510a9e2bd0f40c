"""Worlds by name: kinds, their levels, and kinds of one's own."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest

from rtc import worlds
from rtc.worlds import registry
from rtc.worlds.kinetix import levels
from rtc.worlds.libero.constants import SUITES


@pytest.mark.parametrize("name", ["grasp_easy", "kinetix:grasp_easy", "worlds/l/grasp_easy.json"])
def test_a_world_without_a_kind_is_a_level_of_kinetix(name: str, grasp: levels.Level) -> None:
    assert worlds.load(name) == grasp
    assert grasp.kind == "kinetix"


def test_a_file_with_a_colon_in_its_path_is_a_file(tmp_path: Path, grasp: levels.Level) -> None:
    path = tmp_path / "libero:my_level.json"
    path.write_bytes(grasp.path.read_bytes())
    assert worlds.load(path).sha256 == grasp.sha256


def test_liberos_suites_are_worlds_without_a_batched_environment() -> None:
    suite = worlds.load("libero:libero_goal")
    assert suite is SUITES["libero_goal"]
    with pytest.raises(ValueError, match=r"'libero:libero_goal' .*one environment at a time.*exp/run_rsd_libero\.py"):
        worlds.make_env(suite)
    with pytest.raises(ValueError, match="observes images"):
        worlds.varying_observation_entries(suite)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("kinetics:grasp_easy", "kind of world='kinetics' is unknown; did you mean 'kinetix'"),
        ("kinetix:grasp_eazy", "did you mean 'grasp_easy'"),
        ("libero:libero_gaol", "did you mean 'libero_goal'"),
    ],
)
def test_unknown_kinds_and_names_suggest_the_nearest(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        worlds.load(name)


def test_a_kind_of_ones_own_is_registered_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("my_simulator")
    module.load = lambda level: types.SimpleNamespace(kind="mine", name=str(level))
    module.make_env = lambda level, physics, start_noise: (level.name, physics, start_noise)
    module.varying_observation_entries = lambda level: np.array([0, 2])
    monkeypatch.setitem(sys.modules, "my_simulator", module)
    monkeypatch.setattr(registry, "_MODULES", dict(registry._MODULES))
    worlds.register("mine", "my_simulator")
    worlds.register("mine", "my_simulator")
    world = worlds.load("mine:somewhere")
    assert worlds.make_env(world, "exact", 0.5) == ("somewhere", "exact", 0.5)
    assert worlds.varying_observation_entries(world).tolist() == [0, 2]
    assert worlds.kinds() == ("gym", "kinetix", "libero", "libero_state", "libero_choice", "mine")
    with pytest.raises(ValueError, match="kind='kinetix' of worlds is rtc"):
        worlds.register("kinetix", "my_simulator")
