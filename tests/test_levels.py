"""Levels: the built scenes against recorded facts, and clear errors."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from level_facts import GOLDENS, assert_same, content, write
from rtc.policies import checkpoints
from rtc.shared import paths
from rtc.worlds.kinetix import levels


def read(name: str) -> dict[str, Any]:
    return json.loads((paths.ROOT / "worlds" / "l" / f"{name}.json").read_text())


# Built scenes


@pytest.mark.parametrize("name", levels.SHIPPED)
def test_built_scene_has_the_benchmarks_content(name: str) -> None:
    level = levels.load(name)
    assert_same(content(level), GOLDENS[name], name)
    assert level.static_params.frame_skip == 2
    assert level.env_params.max_timesteps == 256


def test_reference_facts_that_the_kinetix_package_does_not_have() -> None:
    walls = {name: GOLDENS[name]["polygons"][1]["vertices"][1][0] for name in levels.LEVEL_NAMES}
    assert {name for name, x in walls.items() if x != -0.05} == {"catcher_v3", "trampoline"}
    assert GOLDENS["h17_unicycle_low_gravity"]["gravity"] == [0.0, -1.2]
    assert [4, 12] in GOLDENS["catcher_v3_open_arm"]["no_collision"]


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("grasp_easy", lambda d: d["overrides"]["polygons"]["1"]["vertices"].__setitem__(1, [0, 5])),
        ("h17_unicycle_low_gravity", lambda d: d["overrides"].pop("gravity")),
        ("catapult", lambda d: d["polygons"][0].update(role="hazard")),
        ("catcher_v3_open_arm", lambda d: d.pop("ignored_collisions")),
        ("trampoline", lambda d: d["polygons"][6].update(density=0.2)),
        ("cartpole_thrust", lambda d: d["thrusters"][0].update(binding=1)),
    ],
)
def test_a_changed_world_file_changes_the_content_and_the_hash(name: str, edit: Any, tmp_path: Path) -> None:
    data = read(name)
    original = levels.load(write(tmp_path, data))
    edit(data)
    changed = levels.load(write(tmp_path, data))
    with pytest.raises(AssertionError):
        assert_same(content(changed), GOLDENS[name], name)
    assert changed.sha256 != original.sha256 == levels.load(name).sha256


def test_mass_follows_from_density_and_outline(tmp_path: Path) -> None:
    data = read("trampoline")
    data["polygons"][4] |= {"size": [0.5, 0.2], "density": 2}
    data["circles"][0] |= {"radius": 0.1}
    body = levels.load(write(tmp_path, data)).start
    mass = 2 * 0.5 * 0.2
    np.testing.assert_allclose(body.polygon.inverse_mass[4], 1 / mass, rtol=1e-5)
    np.testing.assert_allclose(body.polygon.inverse_inertia[4], 12 / (mass * (0.5**2 + 0.2**2)), rtol=1e-5)
    np.testing.assert_allclose(body.circle.inverse_mass[0], 1 / (np.pi * 0.1**2), rtol=1e-5)


def test_overrides_keep_what_they_do_not_name(tmp_path: Path, grasp: levels.Level) -> None:
    data = {"base": "kinetix:l/grasp_easy", "overrides": {"polygons": {"0": {"friction": 0.25}}}}
    state = levels.load(write(tmp_path, data)).start
    assert state.polygon.friction[0] == 0.25
    np.testing.assert_array_equal(state.polygon.inverse_mass, grasp.start.polygon.inverse_mass)
    np.testing.assert_array_equal(state.polygon.position, grasp.start.polygon.position)
    assert state.polygon.vertices[1, 1, 0] == 0  # the package's own left wall


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("grasp_easy", [1, 1, 1, 1, 0, 0]),
        ("cartpole_thrust", [0, 0, 0, 0, 1, 1]),
        ("catcher_v3", [1, 0, 1, 0, 1, 1]),
    ],
)
def test_bound_actions(name: str, bound: list[int]) -> None:
    np.testing.assert_array_equal(levels.load(name).bound_actions, np.array(bound, bool))


def spellings(folder: Path) -> list[Path | str]:
    """Ways to name the shipped level grasp_easy."""
    world = paths.ROOT / "worlds/l/grasp_easy.json"
    (folder / "tree").symlink_to(paths.ROOT)
    (folder / "my_link.json").symlink_to(world)
    (folder / "grasp_easy.json").symlink_to(world)
    return [
        "grasp_easy",
        "worlds/l/grasp_easy.json",
        world,
        paths.ROOT / "worlds/../worlds/l/./grasp_easy.json",
        folder / "tree/worlds/l/grasp_easy.json",
        folder / "my_link.json",
        folder / "grasp_easy.json",
        "my_link.json",
    ]


def test_a_level_is_its_name_and_content_however_its_path_is_spelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grasp: levels.Level
) -> None:
    given = spellings(tmp_path)
    monkeypatch.chdir(tmp_path)
    for level in given:
        assert checkpoints.level_slug(level) == "worlds_l_grasp_easy", level
        assert levels.resolve(level) == grasp.path == paths.ROOT / "worlds/l/grasp_easy.json", level
    found = levels.load(given[-1])
    assert found == grasp
    assert hash(found) == hash(grasp)


def test_links_to_a_store_of_hashed_names_keep_their_own_name(tmp_path: Path) -> None:
    (tmp_path / "3f5a").write_bytes((paths.ROOT / "worlds/l/grasp_easy.json").read_bytes())
    (tmp_path / "my_level.json").symlink_to(tmp_path / "3f5a")
    assert checkpoints.level_slug(tmp_path / "my_level.json") == "worlds_l_my_level"
    assert levels.load(tmp_path / "my_level.json").name == "my_level"


def test_a_name_means_the_shipped_level_and_a_path_means_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grasp: levels.Level
) -> None:
    other = tmp_path / "worlds/l/grasp_easy.json"
    other.parent.mkdir(parents=True)
    other.write_text(json.dumps({"base": "kinetix:l/grasp_easy", "overrides": {"gravity": [0, -1]}}))
    (tmp_path / "grasp_easy").mkdir()
    monkeypatch.chdir(tmp_path)
    assert levels.load("grasp_easy") == grasp
    with pytest.warns(UserWarning, match="has the name of the shipped level 'grasp_easy' and another content"):
        own = levels.load("worlds/l/grasp_easy.json")
    assert own.path == other
    assert own != grasp
    assert own.name == grasp.name


def test_levels_differ_by_name_content_and_what_is_simulated(grasp: levels.Level, tmp_path: Path) -> None:
    copy_ = tmp_path / "my_level.json"
    copy_.write_bytes(grasp.path.read_bytes())
    renamed = levels.load(copy_)
    assert renamed.sha256 == grasp.sha256
    heavier = dataclasses.replace(grasp, start=grasp.start.replace(gravity=grasp.start.gravity * 2))
    shorter = dataclasses.replace(grasp, env_params=grasp.env_params.replace(max_timesteps=3))
    slower = dataclasses.replace(grasp, static_params=grasp.static_params.replace(frame_skip=1))
    variants = [grasp, renamed, heavier, shorter, slower]
    assert len(set(variants)) == len(variants)
    assert dataclasses.replace(grasp) in variants


# Errors of names, paths and world files


def test_unknown_level_name_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'grasp_easy'"):
        levels.load("grasp_eazy")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json"):
        levels.load(tmp_path / "nowhere.json")


def test_unknown_physics_suggests_the_nearest(grasp: levels.Level) -> None:
    with pytest.raises(ValueError, match="did you mean 'stock'"):
        levels.make_env(grasp, physics="stok")


def test_malformed_json_names_line_and_column(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"my_level\.json: not valid JSON at line 2, column 12"):
        levels.load(write(tmp_path, '{\n"gravity": oops}'))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "holds a list"),
        ("[" * 100_000, "nested too deeply"),
        ('{"base": "kinetix:l/grasp_easy", "base": "x"}', "'base' is given twice"),
    ],
)
def test_unusual_json_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        levels.load(write(tmp_path, text))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.update(gravitiy=[0, 0]), "'gravitiy' is unknown; did you mean 'gravity'"),
        (lambda d: d.pop("gravity"), "'gravity' is missing"),
        (lambda d: d.update(gravity="down"), r"gravity = 'down' is not a pair"),
        (lambda d: d.update(gravity=[0, float("nan")]), r"gravity\[1\] = nan is not a finite number"),
        (
            lambda d: d["polygons"][4].update(densty=1),
            r"polygons\[4\] field='densty'.*did you mean 'density'",
        ),
        (lambda d: d["polygons"][4].pop("position"), r"polygons\[4\] field 'position' is missing"),
        (lambda d: d["polygons"][4].pop("size"), r"polygons\[4\].size is missing"),
        (lambda d: d["polygons"][4].update(size=[0, 1]), r"size = \[0, 1\] is an empty rectangle"),
        (lambda d: d["polygons"][4].update(density=0), "density = 0 is not positive"),
        (lambda d: d["polygons"][4].update(fixed=1), "fixed = 1 is not a switch"),
        (lambda d: d["polygons"][4].update(role="bal"), "did you mean 'ball'"),
        (lambda d: d["polygons"][4].update(vertices=[[0, 0], [1, 1], [1, 0]]), "both size and vertices"),
        (lambda d: d["polygons"][1].update(vertices=[[0, 0], [1, 0], [1, 1]]), "counter-clockwise"),
        (
            lambda d: d["polygons"][1].update(vertices=[[0, 0], [0, 1], [1, 0], [1, 1]]),
            "not a convex polygon",
        ),
        (lambda d: d["polygons"][1].update(vertices=[[0, 0], [0, 1]]), "has 3 or 4 vertices"),
        (lambda d: d["polygons"][5].update(name="arm"), "'arm' is taken"),
        (lambda d: d["polygons"][2].update(fixed=False), r"polygons\[2\]: entries 0 to 3 are the floor"),
        (lambda d: d["polygons"].extend([d["polygons"][4]] * 9), "polygons has 17 entries"),
        (lambda d: d["circles"][0].update(radius=-1), "radius = -1 is not positive"),
        (lambda d: d["joints"][0].update(b="pivto"), "did you mean 'pivot'"),
        (
            lambda d: d["joints"][0].update(motor_binding=4),
            "motor_binding=4 is unknown; choose one of: 0, 1, 2, 3",
        ),
        (lambda d: d["joints"][0].update(limits=[1, 0]), "lower limit is above the upper"),
        (lambda d: d.update(joints={}), "joints is a dict; write a list"),
        (lambda d: d.update(ignored_collisions=["arm"]), "not a list of pairs"),
    ],
)
def test_faulty_scenes_name_field_value_and_fix(edit: Any, message: str, tmp_path: Path) -> None:
    data = read("catapult")
    edit(data)
    with pytest.raises(ValueError, match=message) as error:
        levels.load(write(tmp_path, data))
    assert "my_level.json" in str(error.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"base": "kinetix:l/grasp_eazy"}, "did you mean 'kinetix:l/grasp_easy'"),
        ({"base": "grasp_easy"}, "write 'kinetix:l/<level>'"),
        ({"base": "kinetix:l/grasp_easy", "gravity": [0, 0]}, "'gravity' is unknown"),
        ({"base": "kinetix:l/grasp_easy", "overrides": {"polygons": {"12": {}}}}, "slot '12' does not exist"),
        ({"base": "kinetix:l/grasp_easy", "overrides": {"polygons": []}}, "keyed by slot"),
    ],
)
def test_faulty_overrides_name_field_value_and_fix(data: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        levels.load(write(tmp_path, data))


@pytest.mark.parametrize("name", levels.LEVEL_NAMES)
def test_the_robot_is_all_that_moves_and_has_no_role(name: str) -> None:
    """One body of most levels is not the robot's: the ball, or what is to reach the goal."""
    level = levels.load(name)
    fast, stock = levels.make_env(level), levels.make_env(level, "stock")
    entries = levels.varying_observation_entries(level)
    robot = np.asarray(fast.robot)
    np.testing.assert_array_equal(robot, stock.robot)
    assert set(np.flatnonzero(robot)) <= set(entries)
    others = {"car_launch": 2, "chain_lander": 2, "catcher_v3": 4}.get(name, 1)
    assert robot.sum() == len(entries) - 7 * others
    np.testing.assert_array_equal(fast.observing(tuple(entries)).robot, robot[entries])
