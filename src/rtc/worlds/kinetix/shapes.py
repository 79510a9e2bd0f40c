"""Bodies, joints and thrusters of a level state as plain drawables in world coordinates (metres, radians)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rtc.worlds.kinetix.spec import ROLES


@dataclass(frozen=True)
class Shape:
    """One drawable.

    Attributes:
        kind: "polygon", "circle", "joint" or "thruster".
        points: polygon corners [n, 2]; for the other kinds the centre [1, 2].
        angle: rotation of a circle, direction of a thruster's force.
        radius: of a circle.
        role: one of `spec.ROLES`; "neutral" for joints and thrusters.
        fixed: a body that never moves, or a rigid joint.
        binding: the action dimension that drives a joint or thruster; None where no action does.
    """

    kind: str
    points: np.ndarray
    angle: float = 0.0
    radius: float = 0.0
    role: str = "neutral"
    fixed: bool = False
    binding: int | None = None


def shapes(level: Any, state: Any, i: int | None = None) -> list[Shape]:
    """What is to be seen of one state, back to front.

    Args:
        level: the state's level.
        state: a state of the level's environment.
        i: which environment of a batch; None for a single state.
    """

    def pick(tree: Any, *names: str) -> list[np.ndarray]:
        leaves = [np.asarray(getattr(tree, name)) for name in names]
        return leaves if i is None else [leaf[i] for leaf in leaves]

    motors = level.static_params.num_motor_bindings
    return [
        *_polygons(pick, state),
        *_circles(pick, state),
        *_joints(pick, state),
        *_thrusters(pick, state, motors),
    ]


def _polygons(pick: Any, state: Any) -> list[Shape]:
    fields = ("active", "position", "rotation", "vertices", "n_vertices", "inverse_mass")
    active, position, rotation, vertices, count, inverse_mass = pick(state.polygon, *fields)
    (roles,) = pick(state, "polygon_shape_roles")
    return [
        Shape(
            "polygon",
            position[k] + vertices[k, : count[k]] @ _rotation(rotation[k]).T,
            role=ROLES[roles[k]],
            fixed=bool(inverse_mass[k] == 0),
        )
        for k in np.flatnonzero(active)
    ]


def _circles(pick: Any, state: Any) -> list[Shape]:
    fields = ("active", "position", "rotation", "radius", "inverse_mass")
    active, position, rotation, radius, inverse_mass = pick(state.circle, *fields)
    (roles,) = pick(state, "circle_shape_roles")
    return [
        Shape(
            "circle",
            position[k][None],
            angle=float(rotation[k]),
            radius=float(radius[k]),
            role=ROLES[roles[k]],
            fixed=bool(inverse_mass[k] == 0),
        )
        for k in np.flatnonzero(active)
    ]


def _joints(pick: Any, state: Any) -> list[Shape]:
    active, index, anchor, rigid, motor = pick(
        state.joint, "active", "a_index", "a_relative_pos", "is_fixed_joint", "motor_on"
    )
    bindings, auto = pick(state, "motor_bindings", "motor_auto")
    position, rotation = _bodies(pick, state)
    return [
        Shape(
            "joint",
            (position[index[k]] + _rotation(rotation[index[k]]) @ anchor[k])[None],
            fixed=bool(rigid[k]),
            binding=int(bindings[k]) if motor[k] and not rigid[k] and not auto[k] else None,
        )
        for k in np.flatnonzero(active)
    ]


def _thrusters(pick: Any, state: Any, motors: int) -> list[Shape]:
    active, index, anchor, angle = pick(state.thruster, "active", "object_index", "relative_position", "rotation")
    (bindings,) = pick(state, "thruster_bindings")
    position, rotation = _bodies(pick, state)
    return [
        Shape(
            "thruster",
            (position[index[k]] + _rotation(rotation[index[k]]) @ anchor[k])[None],
            angle=float(rotation[index[k]] + angle[k]),
            binding=motors + int(bindings[k]),
        )
        for k in np.flatnonzero(active)
    ]


def _bodies(pick: Any, state: Any) -> tuple[np.ndarray, np.ndarray]:
    """Positions and rotations by global index: polygons first, then circles."""
    polygon, circle = (pick(bodies, "position", "rotation") for bodies in (state.polygon, state.circle))
    return np.concatenate([polygon[0], circle[0]]), np.concatenate([polygon[1], circle[1]])


def _rotation(angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])
