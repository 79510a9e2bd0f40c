"""Levels: the built scenes against recorded facts, and clear errors."""

import copy
import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from rtc.policies import checkpoints
from rtc.shared import paths
from rtc.worlds.kinetix import levels

GOLDENS = json.loads((Path(__file__).parent / "goldens" / "levels.json").read_text())
BODY = (
    "position",
    "rotation",
    "velocity",
    "angular_velocity",
    "inverse_mass",
    "inverse_inertia",
    "friction",
    "restitution",
    "collision_mode",
)
JOINT = (
    "a_index",
    "b_index",
    "a_relative_pos",
    "b_relative_pos",
    "is_fixed_joint",
    "motor_on",
    "motor_speed",
    "motor_power",
    "motor_has_joint_limits",
    "min_rotation",
    "max_rotation",
    "rotation",
)
THRUSTER = ("object_index", "relative_position", "rotation", "power")


def content(level: levels.Level) -> dict[str, Any]:
    """The physical content of a level, active slots only, as in the recorded facts (six digits)."""
    state = level.start

    def rows(tree: Any, names: tuple[str, ...], **extra: Any) -> list[dict[str, Any]]:
        columns = {name: np.asarray(getattr(tree, name)) for name in names}
        columns |= {name: np.asarray(values) for name, values in extra.items()}
        slots = np.flatnonzero(np.asarray(tree.active))
        return [
            {"slot": int(k), **{name: _rounded(column[k].tolist()) for name, column in columns.items()}} for k in slots
        ]

    collisions = np.asarray(state.collision_matrix)
    return {
        "gravity": _rounded(state.gravity.tolist()),
        "polygons": rows(
            state.polygon,
            (*BODY, "vertices", "n_vertices"),
            role=state.polygon_shape_roles,
            density=state.polygon_densities,
        ),
        "circles": rows(state.circle, (*BODY, "radius"), role=state.circle_shape_roles, density=state.circle_densities),
        "joints": rows(state.joint, JOINT, motor_binding=state.motor_bindings),
        "thrusters": rows(state.thruster, THRUSTER, binding=state.thruster_bindings),
        "no_collision": np.argwhere(~collisions & np.triu(np.ones_like(collisions), 1)).tolist(),
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def write(folder: Path, data: Any) -> Path:
    path = folder / "my_level.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def read(name: str) -> dict[str, Any]:
    return json.loads((paths.ROOT / "worlds" / "l" / f"{name}.json").read_text())


# Built scenes


def assert_same(found: Any, expected: Any, at: str) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), at
        for key in expected:
            assert_same(found[key], expected[key], f"{at}.{key}")
    elif expected and isinstance(expected, list) and isinstance(expected[0], dict):
        assert len(found) == len(expected), at
        for k, (a, b) in enumerate(zip(found, expected, strict=True)):
            assert_same(a, b, f"{at}[{k}]")
    else:
        np.testing.assert_allclose(found, expected, rtol=3e-6, atol=1e-6, err_msg=at)


@pytest.mark.parametrize("name", levels.LEVEL_NAMES)
def test_built_scene_has_the_benchmarks_content(name: str) -> None:
    level = levels.load(name)
    assert_same(content(level), GOLDENS[name], name)
    assert level.static_params.frame_skip == 2
    assert level.env_params.max_timesteps == 256


def test_reference_facts_that_the_kinetix_package_does_not_have() -> None:
    walls = {name: GOLDENS[name]["polygons"][1]["vertices"][1][0] for name in levels.LEVEL_NAMES}
    assert {name for name, x in walls.items() if x != -0.05} == {"catcher_v3", "trampoline"}
    assert GOLDENS["h17_unicycle"]["gravity"] == [0.0, -1.2]
    assert [4, 12] in GOLDENS["catcher_v3"]["no_collision"]


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("grasp_easy", lambda d: d["overrides"]["polygons"]["1"]["vertices"].__setitem__(1, [0, 5])),
        ("h17_unicycle", lambda d: d["overrides"].pop("gravity")),
        ("catapult", lambda d: d["polygons"][0].update(role="hazard")),
        ("catcher_v3", lambda d: d.pop("ignored_collisions")),
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


def test_level_slug() -> None:
    for path in ("worlds/l/grasp_easy.json", "grasp_easy", paths.ROOT / "worlds/l/grasp_easy.json"):
        assert checkpoints.level_slug(path) == "worlds_l_grasp_easy"


# Users' full Kinetix levels


def exported(level: levels.Level, folder: Path, **changes: Any) -> dict[str, Any]:
    """A level as Kinetix's own exporter writes it."""
    from kinetix.util.saving import export_env_state_to_json

    state = level.start.replace(**changes)
    export_env_state_to_json(str(folder / "export.json"), state, level.static_params, level.env_params)
    return json.loads((folder / "export.json").read_text())


@pytest.fixture(scope="module")
def export(grasp: levels.Level, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return exported(grasp, tmp_path_factory.mktemp("export"), gravity=jnp.array([0.5, -3.0]))


def test_an_exported_level_loads_with_its_own_gravity(export: Any, grasp: levels.Level, tmp_path: Path) -> None:
    level = levels.load(write(tmp_path, export))
    assert level.name == "my_level"
    np.testing.assert_allclose(level.start.gravity, [0.5, -3.0])
    assert_same({**content(level), "gravity": [0, -9.81]}, GOLDENS["grasp_easy"], "export")


def test_a_smaller_level_grows_and_keeps_its_meaning(tmp_path: Path) -> None:
    small = exported(levels.load("trampoline"), tmp_path)
    scene = small["env_state"]
    scene["polygon"], scene["circle"], scene["thruster"] = scene["polygon"][:9], scene["circle"][:2], []
    for joint in scene["joint"]:
        joint["b_index"] -= 3 * (joint["b_index"] >= 12)
    matrix, kept = scene["collision_matrix"], [*range(9), 12, 13]
    scene["collision_matrix"] = [[matrix[str(a)][str(b)] for b in kept] for a in kept]
    small["static_env_params"] |= {"num_polygons": 9, "num_circles": 2, "num_thrusters": 0, "frame_skip": 1}
    level = levels.load(write(tmp_path, small))
    assert level.static_params == levels.LARGE
    assert_same(content(level), GOLDENS["trampoline"], "small")


def test_a_level_can_switch_collisions_off(export: Any, tmp_path: Path) -> None:
    data = copy.deepcopy(export)
    matrix = data["env_state"]["collision_matrix"]
    assert matrix["0"]["12"]
    matrix["0"]["12"] = matrix["12"]["0"] = False
    assert not levels.load(write(tmp_path, data)).start.collision_matrix[0, 12]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d["env_state"]["polygon"].append(d["env_state"]["polygon"][0]), "13 polygon slots"),
        (lambda d: d["env_state"]["circle"][1].pop("friction"), r"circle\[1\] field 'friction' is missing"),
        (lambda d: d["env_state"].pop("gravity"), "'gravity' is missing"),
        (lambda d: d["static_env_params"].update(num_motor_bindings=9), "num_motor_bindings = 9"),
        (lambda d: d["env_params"].update(dt="fast"), "env_params.dt = 'fast' is not a finite number"),
    ],
)
def test_faulty_full_levels_are_refused(edit: Any, message: str, export: Any, tmp_path: Path) -> None:
    data = copy.deepcopy(export)
    edit(data)
    with pytest.raises(ValueError, match=message) as error:
        levels.load(write(tmp_path, data))
    assert "my_level.json" in str(error.value)


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
    [("[1]", "holds a list"), ('{"base": "kinetix:l/grasp_easy", "base": "x"}', "'base' is given twice")],
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
