"""Full Kinetix levels as JSON (the export of Kinetix's editor), parsed and checked. Knows no simulator.

Everything that changes the simulation is honoured: gravity, physics constants, `frame_skip`, `num_solver_iterations`,
`solver_batch_size`, `do_warm_starting` and `max_timesteps`. What only draws or edits (`screen_dim`, `downscale`,
`max_shape_size`, `pixels_per_unit`, highlights) has no effect, and the impulses of contacts and joints start at zero.
Slots that are not active do not count against the environment's capacity.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtc.shared.validation import unknown
from rtc.worlds.kinetix import fields as check
from rtc.worlds.kinetix import spec
from rtc.worlds.kinetix.fields import Parser

MAX_VERTICES = 4
IMPORTED_GRAVITY = (0.0, -9.81)
CAPACITY = {
    "polygon": spec.NUM_POLYGONS,
    "circle": spec.NUM_CIRCLES,
    "joint": spec.NUM_JOINTS,
    "thruster": spec.NUM_THRUSTERS,
}
_BODY: dict[str, Parser] = {
    "position": check.point,
    "rotation": check.number,
    "velocity": check.point,
    "angular_velocity": check.number,
    "inverse_mass": check.non_negative,
    "inverse_inertia": check.non_negative,
    "friction": check.non_negative,
    "restitution": check.non_negative,
    "collision_mode": check.integer(0, 2),
    "active": check.flag,
    "n_vertices": check.integer(0, MAX_VERTICES),
    "vertices": check.points(MAX_VERTICES),
    "radius": check.number,
    "role": check.integer(0, len(spec.ROLES) - 1),
    "density": check.number,
    "highlighted": check.flag,
}
_FIELDS: dict[str, dict[str, Parser]] = {
    "polygon": _BODY,
    "circle": _BODY,
    "joint": {
        "a_index": check.integer(),
        "b_index": check.integer(),
        "a_relative_pos": check.point,
        "b_relative_pos": check.point,
        "global_position": check.point,
        "active": check.flag,
        "acc_impulse": check.point,
        "acc_r_impulse": check.number,
        "motor_speed": check.number,
        "motor_power": check.number,
        "motor_on": check.flag,
        "motor_has_joint_limits": check.flag,
        "min_rotation": check.number,
        "max_rotation": check.number,
        "is_fixed_joint": check.flag,
        "rotation": check.number,
        "motor_binding": check.integer(),
        "motor_auto": check.flag,
    },
    "thruster": {
        "object_index": check.integer(),
        "relative_position": check.point,
        "rotation": check.number,
        "power": check.number,
        "global_position": check.point,
        "active": check.flag,
        "thruster_binding": check.integer(),
    },
}
_OPTIONAL = {"highlighted": False, "motor_auto": False}
_BINDINGS = {
    "joint": ("motor_binding", check.integer(0, spec.NUM_MOTOR_BINDINGS - 1)),
    "thruster": ("thruster_binding", check.integer(0, spec.NUM_THRUSTER_BINDINGS - 1)),
}
_REFERENCES = {"joint": ("a_index", "b_index"), "thruster": ("object_index",)}
_SCENE = {*CAPACITY, "gravity", "collision_matrix", "acc_rr_manifolds", "acc_cr_manifolds", "acc_cc_manifolds"}
# What the environment, and with it every policy's observation and action, is made for.
_FIXED = {
    "max_polygon_vertices": MAX_VERTICES,
    "num_static_fixated_polys": spec.NUM_WALLS,
    "num_motor_bindings": spec.NUM_MOTOR_BINDINGS,
    "num_thruster_bindings": spec.NUM_THRUSTER_BINDINGS,
    "num_shape_roles": len(spec.ROLES),
}
_STATIC: dict[str, Parser] = {
    "frame_skip": check.integer(1, 60),
    "num_solver_iterations": check.integer(1, 1000),
    "solver_batch_size": check.integer(1, 1000),
    "do_warm_starting": check.flag,
}
_CONSTANTS: dict[str, Parser] = {
    "dt": check.positive,
    "slop": check.non_negative,
    "baumgarte_coefficient_joints_v": check.number,
    "baumgarte_coefficient_joints_p": check.number,
    "baumgarte_coefficient_fjoint_av": check.number,
    "baumgarte_coefficient_rjoint_limit_av": check.number,
    "baumgarte_coefficient_collision": check.number,
    "joint_stiffness": check.number,
    "clip_position": check.positive,
    "clip_velocity": check.positive,
    "clip_angular_velocity": check.positive,
    "base_motor_speed": check.number,
    "base_motor_power": check.number,
    "base_thruster_power": check.number,
    "motor_decay_coefficient": check.number,
    "motor_joint_limit": check.number,
    "base_friction": check.non_negative,
    "dense_reward_scale": check.number,
    "max_timesteps": check.integer(1, 1_000_000),
}
_NO_EFFECT = ("screen_dim", "downscale", "max_shape_size", "pixels_per_unit")

Rows = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Dump:
    """A full level that fits into the environment.

    Attributes:
        path: the file.
        rows: the fields of every slot, by kind: "polygon", "circle", "joint" and "thruster".
        gravity: m/s^2.
        collision_matrix: which bodies collide (polygons first, then circles); None where the dump holds none.
        static_params: frame skip and solver settings that the level gives.
        env_params: physics constants and time limit that the level gives.
    """

    path: Path
    rows: Rows
    gravity: tuple[float, float]
    collision_matrix: list[list[bool]] | None
    static_params: Mapping[str, Any]
    env_params: Mapping[str, Any]

    def column(self, kind: str, field: str) -> list[Any]:
        """One field of all slots of a kind."""
        return [row[field] for row in self.rows[kind]]


def as_imported(dump: Dump) -> Dump:
    """What Kinetix's own importer makes of a dump (seen in versions 1.0.0 and 3.0.2), and so the published benchmark.

    It drops gravity and the time limit, computes which bodies collide from the joints, and knows no automatic motors.
    """
    rest = {name: value for name, value in dump.env_params.items() if name != "max_timesteps"}
    joints = [{**row, "motor_auto": False} for row in dump.rows["joint"]]
    rows = {**dump.rows, "joint": joints}
    return dataclasses.replace(dump, rows=rows, gravity=IMPORTED_GRAVITY, collision_matrix=None, env_params=rest)


def parse(data: Mapping[str, Any], path: Path) -> Dump:
    """Checks a dump and fits it into the environment.

    Raises:
        ValueError: names the file, the field, its value and the fix.
    """
    _check_keys(data, {"env_state", "env_params", "static_env_params", "description"}, f"{path}:")
    at = f"{path}: env_state"
    scene = check.mapping(_get(data, "env_state", f"{path}:"), at)
    _check_keys(scene, _SCENE, at)
    rows = {kind: _rows(_get(scene, kind, at), kind, f"{at}.{kind}") for kind in CAPACITY}
    matrix = _matrix(scene.get("collision_matrix"), len(rows["polygon"]) + len(rows["circle"]), at)
    _check_bodies(rows, at)
    _check_references(rows, at)
    static_params = _static_params(data, rows, path)
    env_params = _parameters(data, "env_params", _CONSTANTS, path)
    gravity = check.point(_untangle(_get(scene, "gravity", at)), f"{at}.gravity")
    rows, matrix = _fitted(rows, matrix, at)
    return Dump(path, rows, gravity, matrix, static_params, env_params)


def _rows(value: Any, kind: str, at: str) -> list[dict[str, Any]]:
    slots = _untangle(value)
    if not isinstance(slots, list):
        raise ValueError(f"{at} = {check.shown(value)} is not a list of slots; write [{{...}}, ...]")
    return [_row(slot, _FIELDS[kind], f"{at}[{k}]") for k, slot in enumerate(slots)]


def _row(value: Any, fields: Mapping[str, Parser], at: str) -> dict[str, Any]:
    row = {**_OPTIONAL, **check.mapping(value, at)}
    _check_keys(check.mapping(value, at), fields, at)
    return {name: parser(_get(row, name, at), f"{at}.{name}") for name, parser in fields.items()}


def _matrix(value: Any, size: int, at: str) -> list[list[bool]] | None:
    if value is None:
        return None
    at, rows = f"{at}.collision_matrix", _untangle(value)
    if not isinstance(rows, list) or [len(row) if isinstance(row, list) else -1 for row in rows] != [size] * size:
        raise ValueError(f"{at} is not a table of {size} x {size} switches, one row and column per body; export again")
    rows = [[check.flag(entry, f"{at}[{a}][{b}]") for b, entry in enumerate(row)] for a, row in enumerate(rows)]
    for a in range(size):
        for b in range(a):
            if rows[a][b] != rows[b][a]:
                raise ValueError(f"{at}[{a}][{b}] = {rows[a][b]} and [{b}][{a}] = {rows[b][a]}; write the same in both")
    return rows


def _check_bodies(rows: Rows, at: str) -> None:
    """Outlines and walls of the active bodies."""
    for k, row in enumerate(rows["polygon"]):
        place, count = f"{at}.polygon[{k}]", row["n_vertices"]
        if row["active"]:
            if count < 3:
                raise ValueError(f"{place}.n_vertices = {count}: a polygon has 3 or {MAX_VERTICES}; write one of these")
            check.vertices([list(corner) for corner in row["vertices"][:count]], f"{place}.vertices")
        if k < spec.NUM_WALLS and (row["inverse_mass"], row["inverse_inertia"]) != (0, 0):
            name = "inverse_inertia" if row["inverse_mass"] == 0 else "inverse_mass"
            raise ValueError(
                f"{place}.{name} = {row[name]}: polygons 0 to {spec.NUM_WALLS - 1} are the floor, the walls and the "
                "ceiling and cannot move; write 0"
            )
    for k, row in enumerate(rows["circle"]):
        if row["active"]:
            check.positive(row["radius"], f"{at}.circle[{k}].radius")


def _check_references(rows: Rows, at: str) -> None:
    """The bodies and the actions of active joints and thrusters, and the limits of joints."""
    for kind, (name, parser) in _BINDINGS.items():
        for k, row in enumerate(rows[kind]):
            if row["active"]:
                parser(row[name], f"{at}.{kind}[{k}].{name}")
    polygons = len(rows["polygon"])
    bodies = [*rows["polygon"], *rows["circle"]]
    for kind, names in _REFERENCES.items():
        for k, row in enumerate(rows[kind]):
            for name in names if row["active"] else ():
                place, index = f"{at}.{kind}[{k}].{name} = {row[name]}", row[name]
                if not 0 <= index < len(bodies):
                    raise ValueError(
                        f"{place}: there is no such body; write 0 to {polygons - 1} for a polygon, "
                        f"{polygons} to {len(bodies) - 1} for a circle"
                    )
                if not bodies[index]["active"]:
                    raise ValueError(f"{place}: this body is not active; name another one, or make the {kind} inactive")
    for k, row in enumerate(rows["joint"]):
        place = f"{at}.joint[{k}]"
        if row["active"] and row["a_index"] == row["b_index"]:
            raise ValueError(f"{place}.b_index = {row['b_index']} is its a_index too; name two bodies")
        if row["active"] and row["motor_has_joint_limits"]:
            check.limits([row["min_rotation"], row["max_rotation"]], f"{place}.[min_rotation, max_rotation]")


def _static_params(data: Mapping[str, Any], rows: Rows, path: Path) -> dict[str, Any]:
    counts = {f"num_{kind}s": check.integer(0) for kind in CAPACITY}
    given = _parameters(data, "static_env_params", {**_STATIC, **counts}, path)
    for kind in CAPACITY:
        count = given.pop(f"num_{kind}s", len(rows[kind]))
        if count != len(rows[kind]):
            raise ValueError(
                f"{path}: static_env_params.num_{kind}s = {count}, but env_state.{kind} has {len(rows[kind])} slots; "
                f"write {len(rows[kind])}"
            )
    return given


def _parameters(data: Mapping[str, Any], part: str, parsers: Mapping[str, Parser], path: Path) -> dict[str, Any]:
    at = f"{path}: {part}"
    values = check.mapping(data.get(part, {}), at)
    _check_keys(values, {*parsers, *_FIXED, *_NO_EFFECT}, at)
    for name, wanted in _FIXED.items():
        if values.get(name, wanted) != wanted:
            raise ValueError(f"{at}.{name} = {check.shown(values[name])}; only {wanted} is supported, write that")
    return {name: parser(values[name], f"{at}.{name}") for name, parser in parsers.items() if name in values}


def _fitted(rows: Rows, matrix: list[list[bool]] | None, at: str) -> tuple[Rows, list[list[bool]] | None]:
    """Drops inactive slots of the kinds that have more slots than the environment; what refers to bodies follows."""
    kept = {}
    for kind, capacity in CAPACITY.items():
        walls = spec.NUM_WALLS if kind == "polygon" else 0
        used = [k for k, row in enumerate(rows[kind]) if row["active"] or k < walls]
        if len(used) > capacity:
            raise ValueError(
                f"{at}.{kind} has {len(used)} active slots and the environment holds {capacity}; "
                f"make {len(used) - capacity} of them inactive"
            )
        kept[kind] = used if len(rows[kind]) > capacity else list(range(len(rows[kind])))
    polygons = len(rows["polygon"])
    bodies = [*kept["polygon"], *(polygons + k for k in kept["circle"])]
    renumbered = {old: new for new, old in enumerate(bodies)}
    fitted = {kind: [dict(rows[kind][k]) for k in kept[kind]] for kind in rows}
    for kind, names in _REFERENCES.items():
        for row in fitted[kind]:
            # What an inactive joint or thruster names does not matter, as long as it exists.
            row.update({name: renumbered.get(row[name], 0) for name in names})
    return fitted, None if matrix is None else _sub_matrix(matrix, bodies)


def _sub_matrix(matrix: list[list[bool]], chosen: Sequence[int]) -> list[list[bool]]:
    return [[matrix[a][b] for b in chosen] for a in chosen]


def _check_keys(data: Mapping[str, Any], known: Iterable[str], at: str) -> None:
    known = sorted(known)
    for key in data:
        if key not in known:
            raise unknown(f"{at} field", key, known)


def _get(data: Mapping[str, Any], field: str, at: str) -> Any:
    if field not in data:
        raise ValueError(f"{at} field {field!r} is missing; export the level from Kinetix again")
    return data[field]


def _untangle(value: Any) -> Any:
    """Kinetix writes arrays as {"0": ..., "1": ...}."""
    if isinstance(value, dict) and value and list(value) == [str(k) for k in range(len(value))]:
        value = list(value.values())
    if isinstance(value, list):
        return [_untangle(item) for item in value]
    if isinstance(value, dict):
        return {key: _untangle(item) for key, item in value.items()}
    return value
