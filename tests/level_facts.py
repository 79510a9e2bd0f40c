"""Recorded facts of the levels, what of a built level they describe, and how the two are compared."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from kinetix.util.saving import export_env_state_to_json

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


def exported(level: levels.Level, folder: Path, **changes: Any) -> dict[str, Any]:
    """A level as Kinetix's own exporter writes it."""
    state, path = level.start.replace(**changes), folder / "export.json"
    export_env_state_to_json(str(path), state, level.static_params, level.env_params)
    return json.loads(path.read_text())


def write(folder: Path, data: Any) -> Path:
    path = folder / "my_level.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


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
