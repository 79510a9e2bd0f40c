"""Levels: the built scenes against recorded facts, and clear errors."""

import copy
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from kinetix.util.saving import BASE_DIR

from rtc.policies import checkpoints
from rtc.shared import paths
from rtc.worlds.kinetix import dump, levels

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
    small["static_env_params"] |= {"num_polygons": 9, "num_circles": 2, "num_thrusters": 0}
    level = levels.load(write(tmp_path, small))
    assert level.static_params == levels.LARGE
    assert_same(content(level), GOLDENS["trampoline"], "small")


def test_a_level_can_switch_collisions_off(export: Any, tmp_path: Path) -> None:
    data = copy.deepcopy(export)
    matrix = data["env_state"]["collision_matrix"]
    assert matrix["0"]["12"]
    matrix["0"]["12"] = matrix["12"]["0"] = False
    assert not levels.load(write(tmp_path, data)).start.collision_matrix[0, 12]


@pytest.mark.parametrize("part", ["static_env_params", "env_params"])
def test_a_level_keeps_its_own_parameters(part: str, export: Any, tmp_path: Path) -> None:
    changes = {
        "static_env_params": {
            "frame_skip": 1,
            "num_solver_iterations": 3,
            "solver_batch_size": 8,
            "do_warm_starting": False,
        },
        "env_params": {"dt": 0.01, "max_timesteps": 40, "base_friction": 0.7, "clip_velocity": 50},
    }[part]
    data = copy.deepcopy(export)
    data[part] |= changes
    level = levels.load(write(tmp_path, data))
    found = {"static_env_params": level.static_params, "env_params": level.env_params}[part]
    assert {name: getattr(found, name) for name in changes} == changes
    assert level.tick_s == pytest.approx({"static_env_params": 1 / 60, "env_params": 0.02}[part])
    assert levels.make_env(level, "stock").max_timesteps == {"static_env_params": 256, "env_params": 40}[part]


def crowded(export: Any) -> dict[str, Any]:
    """The export with inactive slots between the others: 16 polygons, 6 circles, 12 joints and 4 thrusters."""
    data = copy.deepcopy(export)
    scene, before = data["env_state"], copy.deepcopy(export["env_state"])
    unused = {kind: {**before[kind][0], "active": False} for kind in ("polygon", "circle", "joint", "thruster")}
    unused["joint"] |= {"a_index": 99, "b_index": -1}
    scene["polygon"] = [*before["polygon"][:5], *[unused["polygon"]] * 4, *before["polygon"][5:]]
    scene["circle"] = [*[unused["circle"]] * 2, *before["circle"]]
    scene["joint"] = [row for joint in before["joint"] for row in (unused["joint"], joint)]
    scene["thruster"] = [*[unused["thruster"]] * 2, *before["thruster"]]
    # Old numbers of the bodies: polygons 0-4 and 5-11, then circles 12-15.
    place = [*range(5), *range(9, 16), *range(18, 22)]
    for joint in scene["joint"][1::2]:
        joint |= {name: place[joint[name]] for name in ("a_index", "b_index")}
    for thruster in scene["thruster"][2:]:
        thruster["object_index"] = place[thruster["object_index"]]
    matrix = np.ones((22, 22), bool)
    old = [[before["collision_matrix"][str(a)][str(b)] for b in range(16)] for a in range(16)]
    matrix[np.ix_(place, place)] = old
    scene["collision_matrix"] = matrix.tolist()
    data["static_env_params"] |= {"num_polygons": 16, "num_circles": 6, "num_joints": 12, "num_thrusters": 4}
    return data


def by_body(level: levels.Level) -> dict[str, Any]:
    """The content, with bodies by their position instead of their number."""
    found = content(level)
    state = level.start
    where = np.concatenate([state.polygon.position, state.circle.position]).round(5).tolist()
    for joint in found["joints"]:
        joint |= {name: where[joint[name]] for name in ("a_index", "b_index")}
    for thruster in found["thrusters"]:
        thruster["object_index"] = where[thruster["object_index"]]
    for kind in ("polygons", "circles", "joints", "thrusters"):
        found[kind] = [{name: value for name, value in row.items() if name != "slot"} for row in found[kind]]
    active = np.concatenate([state.polygon.active, state.circle.active])
    found["no_collision"] = sorted(
        [where[a], where[b]] for a, b in found["no_collision"] if active[a] and active[b] and not (a < 4 and b < 4)
    )
    return found


def test_inactive_slots_do_not_count_and_what_names_bodies_follows(export: Any, tmp_path: Path) -> None:
    level, expected = levels.load(write(tmp_path, crowded(export))), levels.load(write(tmp_path, export))
    np.testing.assert_array_equal(level.bound_actions, expected.bound_actions)
    assert_same(by_body(level), by_body(expected), "crowded")


@pytest.fixture(scope="module")
def package_dump() -> dict[str, Any]:
    """Kinetix's own grasp_easy: polygon 4 and joint 0 are active, thrusters are not."""
    return json.loads((Path(BASE_DIR) / "l/grasp_easy.json").read_text())


def at(*way: Any, value: Any) -> Any:
    """An edit that puts a value to a place of a dump."""

    def edit(data: Any) -> None:
        *folders, last = way
        for part in folders:
            data = data[part]
        data[last] = value

    return edit


P, J, STATE = ("env_state", "polygon", 4), ("env_state", "joint", 0), "env_state"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        # Outline
        (lambda d: d[STATE].pop("gravity"), r"env_state field 'gravity' is missing; export"),
        (lambda d: d.update(env_parms={}), r"field='env_parms' is unknown; did you mean 'env_params'"),
        (at(STATE, value=None), r"env_state = None is not an object; write"),
        (at(STATE, "polygon", value=5), r"env_state\.polygon = 5 is not a list of slots; write"),
        (at(STATE, "joint", value={"a": 1}), r"env_state\.joint = \{'a': 1\} is not a list"),
        (at(STATE, "circle", 0, value=None), r"circle\[0\] = None is not an object"),
        (lambda d: d[STATE]["circle"][1].pop("friction"), r"circle\[1\] field 'friction' is missing"),
        (at(*P, "frction", value=1), r"polygon\[4\] field='frction' is unknown; did you mean 'friction'"),
        (at(STATE, "gravity", value={"0": 0.0}), r"gravity = \[0\.0\] is not a pair; write two numbers"),
        # Values of any field: of no number, not finite, of another type or size
        (at(*P, "position", "0", value=math.nan), r"polygon\[4\]\.position\[0\] = nan is not a finite number; write"),
        (at(*P, "velocity", "1", value=math.inf), r"polygon\[4\]\.velocity\[1\] = inf is not a finite number"),
        (at(*P, "rotation", value=1e39), r"polygon\[4\]\.rotation = 1e\+39 is not a finite number"),
        (at(*P, "rotation", value=10**400), r"polygon\[4\]\.rotation = 10+… \(int\) is not a finite number"),
        (at(*P, "friction", value=None), r"polygon\[4\]\.friction = None is not a finite number"),
        (at(*P, "friction", value=-0.5), r"polygon\[4\]\.friction = -0\.5 is negative; write 0 or more"),
        (at(*P, "density", value="1"), r"polygon\[4\]\.density = '1' is not a finite number"),
        (at(*P, "active", value="false"), r"polygon\[4\]\.active = 'false' is not a switch; write true or false"),
        (at(*P, "position", value={"0": 1.0}), r"polygon\[4\]\.position = \[1\.0\] is not a pair; write two"),
        (at(*P, "position", value={"0": 1.0, "2": 1.0}), r"polygon\[4\]\.position = \{.*\} is not a pair"),
        (at(*P, "vertices", value={"0": {"0": 0, "1": 0}}), r"vertices = \[\[0, 0\]\] is not a list of 4 points"),
        (at(*P, "n_vertices", value=5), r"polygon\[4\]\.n_vertices = 5 is not a whole number from 0 to 4; write one"),
        (at(*P, "n_vertices", value=2), r"polygon\[4\]\.n_vertices = 2: a polygon has 3 or 4"),
        (at(*P, "n_vertices", value=3.5), r"polygon\[4\]\.n_vertices = 3\.5 is not a whole number"),
        (at(*P, "collision_mode", value=3), r"polygon\[4\]\.collision_mode = 3 is not a whole number from 0 to 2"),
        (at(STATE, "polygon", 5, "role", value=7), r"polygon\[5\]\.role = 7 is not a whole number from 0 to 3; write"),
        (at(*P, "vertices", "1", value={"0": 9.0, "1": 9.0}), r"polygon\[4\]\.vertices = .*clockwise"),
        (
            at(STATE, "polygon", 1, "inverse_mass", value=1),
            r"polygon\[1\]\.inverse_mass = 1\.0: .*cannot move",
        ),
        (at(STATE, "circle", 0, "radius", value=0), r"circle\[0\]\.radius = 0\.0 is not positive"),
        # References
        (at(*J, "a_index", value=99), r"joint\[0\]\.a_index = 99: there is no such body; write 0 to 11 for a polygon"),
        (at(*J, "b_index", value=-1), r"joint\[0\]\.b_index = -1: there is no such body"),
        (at(*J, "b_index", value=14), r"joint\[0\]\.b_index = 14: this body is not active; name another"),
        (at(*J, "b_index", value=7), r"joint\[0\]\.b_index = 7 is its a_index too; name two bodies"),
        (at(*J, "motor_binding", value=4), r"joint\[0\]\.motor_binding = 4 is not a whole number from 0 to 3"),
        (at(*J, "min_rotation", value=3), r"max_rotation\] = \[3\.0, 0\.0\]: the lower limit is above the upper"),
        (
            lambda d: d[STATE]["thruster"][0].update(active=True, thruster_binding=2, object_index=4),
            r"thruster\[0\]\.thruster_binding = 2 is not a whole number from 0 to 1",
        ),
        (
            lambda d: d[STATE]["thruster"][0].update(active=True, object_index=16),
            r"thruster\[0\]\.object_index = 16: there is no such body",
        ),
        # Collisions
        (at(STATE, "collision_matrix", value=[[True]]), r"collision_matrix is not a table of 16 x 16 switches"),
        (at(STATE, "collision_matrix", "0", "5", value=1), r"collision_matrix\[0\]\[5\] = 1 is not a switch"),
        (
            at(STATE, "collision_matrix", "0", "5", value=False),
            r"\[5\]\[0\] = True and \[0\]\[5\] = False; write",
        ),
        # Parameters
        (at("static_env_params", value=None), r"static_env_params = None is not an object; write"),
        (at("env_params", value=[]), r"env_params = \[\] is not an object; write"),
        (at("static_env_params", "frame_skip", value=0), r"static_env_params\.frame_skip = 0 is not a whole number"),
        (at("static_env_params", "frame_skipp", value=1), r"'frame_skipp' is unknown; did you mean 'frame_skip'"),
        (at("static_env_params", "do_warm_starting", value=0), r"do_warm_starting = 0 is not a switch"),
        (at("static_env_params", "num_solver_iterations", value=True), r"num_solver_iterations = True is not a whole"),
        (at("static_env_params", "num_motor_bindings", value=9), r"num_motor_bindings = 9; only 4 is supported, write"),
        (at("static_env_params", "num_joints", value=5), r"num_joints = 5, but env_state\.joint has 6 slots; write 6"),
        (at("env_params", "dt", value=0), r"env_params\.dt = 0 is not positive; write a number above 0"),
        (at("env_params", "dt", value=-1 / 60), r"env_params\.dt = -0\.01\d+ is not positive"),
        (at("env_params", "dt", value="fast"), r"env_params\.dt = 'fast' is not a finite number"),
        (at("env_params", "max_timesteps", value=0), r"env_params\.max_timesteps = 0 is not a whole number from 1"),
        (at("env_params", "num_shape_roles", value=5), r"num_shape_roles = 5; only 4 is supported"),
    ],
)
def test_faulty_full_levels_are_refused(edit: Any, message: str, package_dump: Any) -> None:
    data = copy.deepcopy(package_dump)
    edit(data)
    with pytest.raises(ValueError, match=message) as error:
        dump.parse(data, Path("my_level.json"))
    assert str(error.value).startswith("my_level.json")
    assert "\n" not in str(error.value)


def test_too_many_active_slots_are_refused(package_dump: Any) -> None:
    data = copy.deepcopy(package_dump)
    joint = data["env_state"]["joint"][0]
    data["env_state"]["joint"] = [joint] * 8 + [{**joint, "active": False}] * 2
    data["static_env_params"]["num_joints"] = 10
    with pytest.raises(ValueError, match=r"joint has 8 active slots and the environment holds 6; make 2 of"):
        dump.parse(data, Path("my_level.json"))


def test_every_level_of_the_kinetix_package_is_sound() -> None:
    for path in Path(BASE_DIR).glob("*/*.json"):
        parsed = dump.parse(json.loads(path.read_text()), path)
        assert parsed.static_params["frame_skip"] == 2
        assert parsed.env_params["max_timesteps"] == 256


def test_a_circle_that_a_file_changes_has_a_circles_mass(tmp_path: Path) -> None:
    # In the package this circle has four vertices, as a polygon would.
    circle = {"active": True, "fixed": False, "position": [1, 4], "radius": 0.2, "density": 2}
    data = {"base": "kinetix:l/grasp_easy", "overrides": {"circles": {"0": circle}}}
    state = levels.load(write(tmp_path, data)).start
    assert state.circle.n_vertices[0] == 4
    np.testing.assert_allclose(state.circle.inverse_mass[0], 1 / (2 * np.pi * 0.2**2), rtol=1e-5)


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
