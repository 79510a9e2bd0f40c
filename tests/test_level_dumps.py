"""Users' full Kinetix levels: what they say counts, and what is wrong with them is named."""

import copy
import json
import math
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from kinetix.util.saving import BASE_DIR

from level_facts import GOLDENS, assert_same, content, exported, write
from rtc.worlds.kinetix import dump, levels


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
