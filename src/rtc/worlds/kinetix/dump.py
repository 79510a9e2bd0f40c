"""Full Kinetix levels as JSON (the export of Kinetix's editor), parsed and checked. Knows no simulator."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtc.worlds.kinetix import fields, spec

_CAPACITY = {
    "polygon": spec.NUM_POLYGONS,
    "circle": spec.NUM_CIRCLES,
    "joint": spec.NUM_JOINTS,
    "thruster": spec.NUM_THRUSTERS,
}
_STATIC = {
    "max_polygon_vertices": 4,
    "num_static_fixated_polys": spec.NUM_WALLS,
    "num_motor_bindings": spec.NUM_MOTOR_BINDINGS,
    "num_thruster_bindings": spec.NUM_THRUSTER_BINDINGS,
}
_CONSTANTS = (
    "dt",
    "slop",
    "baumgarte_coefficient_joints_v",
    "baumgarte_coefficient_joints_p",
    "baumgarte_coefficient_fjoint_av",
    "baumgarte_coefficient_rjoint_limit_av",
    "baumgarte_coefficient_collision",
    "joint_stiffness",
    "clip_position",
    "clip_velocity",
    "clip_angular_velocity",
    "base_motor_speed",
    "base_motor_power",
    "base_thruster_power",
    "motor_decay_coefficient",
    "motor_joint_limit",
    "base_friction",
    "dense_reward_scale",
)


@dataclass(frozen=True)
class Dump:
    """A full level.

    Attributes:
        path: the file.
        rows: the fields of every slot, by kind: "polygon", "circle", "joint" and "thruster".
        gravity: m/s^2.
        collision_matrix: which bodies collide (polygons first, then circles); None where the dump holds none.
        env_params: physics constants that the level gives.
    """

    path: Path
    rows: Mapping[str, list[Mapping[str, Any]]]
    gravity: list[float]
    collision_matrix: list[list[bool]] | None
    env_params: Mapping[str, Any]

    def column(self, kind: str, field: str, default: Any = None) -> list[Any]:
        """One field of all slots of a kind.

        Raises:
            ValueError: a slot lacks the field and there is no default.
        """
        if default is None:
            for slot, row in enumerate(self.rows[kind]):
                _get(row, field, f"{self.path}: env_state.{kind}[{slot}]")
        return [row.get(field, default) for row in self.rows[kind]]


def parse(data: Mapping[str, Any], path: Path) -> Dump:
    """Checks a dump's outline.

    Raises:
        ValueError: a part is missing or larger than the environment; names the file and the field.
    """
    scene = _get(data, "env_state", f"{path}:")
    if not isinstance(scene, dict):
        raise ValueError(f"{path}: env_state is a {type(scene).__name__}, not an object; export the level again")
    rows = {kind: _untangle(_get(scene, kind, f"{path}: env_state")) for kind in _CAPACITY}
    for kind, capacity in _CAPACITY.items():
        if len(rows[kind]) > capacity:
            raise ValueError(
                f"{path}: the level has {len(rows[kind])} {kind} slots and the environment {capacity}; "
                f"remake it in Kinetix's large size (l)"
            )
    static = data.get("static_env_params", {})
    for field, wanted in _STATIC.items():
        if static.get(field, wanted) != wanted:
            raise ValueError(f"{path}: static_env_params.{field} = {static[field]!r}; only {wanted} is supported")
    return Dump(
        path=path,
        rows=rows,
        gravity=_untangle(_get(scene, "gravity", f"{path}: env_state")),
        collision_matrix=_untangle(scene.get("collision_matrix")),
        env_params=_constants(data.get("env_params", {}), f"{path}: env_params"),
    )


def _constants(data: Mapping[str, Any], at: str) -> dict[str, float]:
    """Physics constants; the time limit is the environment's own."""
    known = {key: data[key] for key in _CONSTANTS if key in data}
    return {key: fields.number(value, f"{at}.{key}") for key, value in known.items()}


def _get(data: Mapping[str, Any], field: str, at: str) -> Any:
    if field not in data:
        raise ValueError(f"{at} field {field!r} is missing; export the level from Kinetix again")
    return data[field]


def _untangle(value: Any) -> Any:
    """Kinetix writes arrays as {"0": ..., "1": ...}."""
    if isinstance(value, list):
        return [_untangle(item) for item in value]
    if isinstance(value, dict) and "0" in value:
        return [_untangle(value[str(i)]) for i in range(len(value))]
    if isinstance(value, dict):
        return {key: _untangle(item) for key, item in value.items()}
    return value
