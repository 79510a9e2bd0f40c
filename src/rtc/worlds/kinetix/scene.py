"""Writes a parsed world file into the arrays of a scene. Knows no simulator."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rtc.worlds.kinetix.spec import Body, Joint, Thruster, WorldSpec

InverseMass = Callable[[Any, int, float, bool], tuple[float, float]]
_COPIED = (
    "active",
    "radius",
    "position",
    "rotation",
    "velocity",
    "angular_velocity",
    "friction",
    "restitution",
)


def write(state: Any, spec: WorldSpec, inverse_mass: InverseMass) -> None:
    """Writes a world file's entries into a scene, in place.

    Args:
        state: the scene, with the fields of a Kinetix state and numpy leaves.
        spec: the entries.
        inverse_mass: inverse mass (1/kg) and inertia (1/(kg m^2)) of a body from (bodies, slot, density,
            whether it is a circle).
    """
    for a, b in spec.ignored_collisions:
        state.collision_matrix[a, b] = state.collision_matrix[b, a] = False
    if spec.gravity is not None:
        state.gravity[:] = spec.gravity
    for body in spec.polygons:
        _put(state, body.slot, {"polygon_shape_roles": body.role, "polygon_densities": body.density})
        _write_body(state.polygon, body, state.polygon_densities[body.slot], False, inverse_mass)
    for body in spec.circles:
        _put(state, body.slot, {"circle_shape_roles": body.role, "circle_densities": body.density})
        _write_body(state.circle, body, state.circle_densities[body.slot], True, inverse_mass)
    for joint in spec.joints:
        _write_joint(state, joint)
    for thruster in spec.thrusters:
        _write_thruster(state, thruster)


def _write_body(bodies: Any, body: Body, density: float, is_circle: bool, inverse_mass: InverseMass) -> None:
    slot = body.slot
    was_fixed = bodies.inverse_mass[slot] == 0
    _put(bodies, slot, {name: getattr(body, name) for name in (*_COPIED, "collision_mode")})
    if body.vertices is not None:
        bodies.n_vertices[slot] = len(body.vertices)
        bodies.vertices[slot] = 0
        bodies.vertices[slot, : len(body.vertices)] = body.vertices
    reshaped = any(value is not None for value in (body.vertices, body.radius, body.density))
    if body.fixed:
        bodies.inverse_mass[slot] = bodies.inverse_inertia[slot] = 0
    elif body.fixed is False or (reshaped and not was_fixed):
        bodies.inverse_mass[slot], bodies.inverse_inertia[slot] = inverse_mass(bodies, slot, density, is_circle)
    _put(bodies, slot, {"inverse_mass": body.inverse_mass, "inverse_inertia": body.inverse_inertia})


def _write_joint(state: Any, joint: Joint) -> None:
    values = {
        "active": joint.active,
        "a_index": joint.a,
        "b_index": joint.b,
        "a_relative_pos": joint.anchor_a,
        "b_relative_pos": joint.anchor_b,
        "is_fixed_joint": joint.fixed,
        "motor_on": joint.motor,
        "motor_speed": joint.motor_speed,
        "motor_power": joint.motor_power,
        "rotation": joint.rotation,
    }
    if joint.limits is not None:
        low, high = joint.limits
        values |= {"motor_has_joint_limits": True, "min_rotation": low, "max_rotation": high}
    _put(state.joint, joint.slot, values)
    _put(state, joint.slot, {"motor_bindings": joint.motor_binding})


def _write_thruster(state: Any, thruster: Thruster) -> None:
    values = {
        "active": thruster.active,
        "object_index": thruster.body,
        "relative_position": thruster.position,
        "rotation": thruster.rotation,
        "power": thruster.power,
    }
    _put(state.thruster, thruster.slot, values)
    _put(state, thruster.slot, {"thruster_bindings": thruster.binding})


def _put(target: Any, slot: int, values: Mapping[str, Any]) -> None:
    """Writes the given values; None leaves what is there."""
    for name, value in values.items():
        if value is not None:
            array: np.ndarray = getattr(target, name)
            array[slot] = value
