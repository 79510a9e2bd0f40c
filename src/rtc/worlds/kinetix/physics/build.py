"""Gathers a level's constants from its Kinetix start state."""

import hashlib
from typing import Any

import jax
import numpy as np

from rtc.worlds.kinetix.physics import observation
from rtc.worlds.kinetix.physics.scene import Bodies, Joint, Pairs, Scene, Thruster

# Contacts are counted in one float32 number, five bits per batch.
MAX_BATCHES = 4
MAX_BATCH_SIZE = 31
GOAL, FAIL = 2, 3  # products of two bodies' roles: touching ends the episode with this outcome


class Unsupported(ValueError):
    """This level cannot be specialised; the message says why."""


def build_scene(start: Any, static_params: Any, params: Any, touching: tuple, obs: np.ndarray) -> Scene:
    """Gathers a level's constants.

    Args:
        start: the start state (a Kinetix EnvState).
        static_params: its StaticEnvParams.
        params: its EnvParams.
        touching: which pairs of polygons, circle and polygon, and circles the stock engine finds active at the start.
        obs: its flat symbolic observation of the start.

    Raises:
        Unsupported: the level needs something that only the stock engine simulates.
    """
    leaves = jax.tree.leaves(start)
    start = jax.tree.map(np.asarray, start)
    bodies, shapes = _bodies(start), _Shapes(start)
    _check(start, static_params, bodies)
    digest = hashlib.sha256(repr((static_params, params)).encode())
    for leaf in leaves:
        digest.update(np.asarray(leaf).tobytes())
    moving = np.flatnonzero(bodies.row >= 0)
    kinds = _all_pairs(static_params)
    pairs = [_pairs(ids, shapes, bodies, static_params, params, on) for ids, on in zip(kinds, touching, strict=True)]
    product = [shapes.role[p.a] * shapes.role[p.b] for p in pairs]
    return Scene(
        digest=digest.hexdigest(),
        bodies=bodies,
        moving=moving,
        velocity=np.concatenate([shapes.velocity, shapes.spin[:, None]], axis=1)[moving],
        rectangles=pairs[0],
        circle_rectangle=pairs[1],
        circles=pairs[2],
        joints=_joints(start, bodies),
        thrusters=_thrusters(start, static_params, bodies),
        gravity=tuple(float(x) for x in start.gravity),
        decided=tuple(
            any((p.always & (q == role)).any() for p, q in zip(pairs, product, strict=True)) for role in (GOAL, FAIL)
        ),
        layout=observation.layout(obs, moving, moving[shapes.role[moving] == 0], static_params),
        params=params,
        static_params=static_params,
        num_polygons=static_params.num_polygons,
    )


class _Shapes:
    """Polygons and circles in one numbering."""

    def __init__(self, start: Any):
        def both(name: str) -> np.ndarray:
            return np.concatenate([getattr(start.polygon, name), getattr(start.circle, name)])

        self.active, self.mode = both("active"), both("collision_mode")
        self.friction, self.restitution = both("friction"), both("restitution")
        self.velocity, self.spin = both("velocity"), both("angular_velocity")
        roles = np.concatenate([start.polygon_shape_roles, start.circle_shape_roles])
        self.role = roles * self.active
        self.collides = start.collision_matrix


def _bodies(start: Any) -> Bodies:
    polygon, circle = start.polygon, start.circle

    def both(name: str) -> np.ndarray:
        return np.concatenate([getattr(polygon, name), getattr(circle, name)])

    active, inverse_mass = both("active"), both("inverse_mass")
    moves = active & (inverse_mass != 0)
    low, high = polygon.vertices.min(axis=1), polygon.vertices.max(axis=1)
    padding = np.zeros((len(circle.radius), 2), np.float32)
    centre = (low + high) / 2
    return Bodies(
        row=np.where(moves, np.cumsum(moves) - 1, -1),
        position=both("position"),
        angle=both("rotation"),
        half=np.concatenate([(high - low) / 2, padding]),
        centre=np.concatenate([centre, padding]),
        first_face=np.concatenate([_first_face(polygon.vertices - centre[:, None]), padding[:, 0].astype(int)]),
        radius=both("radius"),
        inverse_mass=np.where(moves, inverse_mass, 0.0),
        inverse_inertia=np.where(moves, both("inverse_inertia"), 0.0),
    )


def _first_face(vertices: np.ndarray) -> np.ndarray:
    """The face behind a rectangle's first vertex, [n] of 0 … 3, from vertices [n, 4, 2] about the centre; else -1."""
    half = (vertices.max(axis=1) - vertices.min(axis=1))[:, None] / 2
    rectangular = np.isclose(np.abs(vertices), half, rtol=1e-5, atol=1e-6).all(axis=(1, 2))
    top_left_first = np.array([[-1, 1], [1, 1], [1, -1], [-1, -1]])
    starts = np.stack([np.roll(top_left_first, -face, axis=0) for face in range(4)])
    matches = (np.sign(vertices)[:, None] == starts).all(axis=(2, 3))
    return np.where(rectangular & matches.any(axis=1), matches.argmax(axis=1), -1)


def _check(start: Any, static_params: Any, bodies: Bodies) -> None:
    """Raises Unsupported for what this package leaves to the stock engine."""
    polygon, circle = start.polygon, start.circle
    rectangle = (polygon.n_vertices == 4) & (bodies.first_face[: len(polygon.active)] >= 0)
    problems = {
        "a polygon is not a rectangle along its own axes": polygon.active & ~rectangle,
        "a body of infinite mass moves": np.concatenate(
            [
                b.active & (b.inverse_mass == 0) & ((b.velocity != 0).any(axis=1) | (b.angular_velocity != 0))
                for b in (polygon, circle)
            ]
        ),
        "a body of infinite mass can turn": np.concatenate(
            [b.active & (b.inverse_mass == 0) & (b.inverse_inertia != 0) for b in (polygon, circle)]
        ),
        "nothing moves": ~(bodies.row >= 0).any(),
        f"solver_batch_size exceeds {MAX_BATCH_SIZE}": static_params.solver_batch_size > MAX_BATCH_SIZE,
    }
    for problem, found in problems.items():
        if np.any(found):
            raise Unsupported(problem)


def _all_pairs(static_params: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Body numbers of the stock engine's pairs of each kind, [n, 2]; walls are not paired with each other."""
    polygons = range(static_params.num_polygons)
    circles = range(static_params.num_polygons, static_params.num_polygons + static_params.num_circles)
    walls = static_params.num_static_fixated_polys
    rectangles = [(i, j) for i in polygons for j in polygons if i < j and j >= walls]
    mixed = [(i, j) for i in circles for j in polygons]
    round_ = [(i, j) for i in circles for j in circles if i < j]
    return tuple(np.array(ids, int).reshape(-1, 2) for ids in (rectangles, mixed, round_))


def _pairs(
    ids: np.ndarray, shapes: _Shapes, bodies: Bodies, static_params: Any, params: Any, touching: np.ndarray
) -> Pairs:
    a, b = ids.T
    total, size = len(ids), static_params.solver_batch_size
    batches = -(-total // size)
    if batches > MAX_BATCHES:
        raise Unsupported(f"{total} pairs of a kind make more than {MAX_BATCHES} batches of {size}")
    modes = shapes.mode[a], shapes.mode[b]
    meets = (modes[0] == 2) | (modes[1] == 2) | (modes[0] * modes[1] > 0)
    moves = (bodies.row[a] >= 0) | (bodies.row[b] >= 0)
    live = np.flatnonzero(shapes.active[a] & shapes.active[b] & meets & moves)
    solid = np.flatnonzero(shapes.collides[a, b][live])
    numbers = live[solid]
    padded = total % size != 0
    product = shapes.role[a] * shapes.role[b]
    squares = np.square(shapes.friction[ids[numbers]] * params.base_friction)
    return Pairs(
        a=a,
        b=b,
        batches=batches,
        batch_size=size,
        always=np.asarray(touching) & ~moves,
        live=live,
        solid=solid,
        rows_a=_rows(bodies, a[numbers]),
        rows_b=_rows(bodies, b[numbers]),
        friction=np.sqrt(squares.sum(axis=1)),
        bounce=shapes.restitution[ids[numbers]].min(axis=1),
        # Indices of -1 fill up the last places of the batches, and writing there clears the last pair.
        keeps=~(padded & (numbers == total - 1)),
        goal=np.flatnonzero(product[live] == GOAL),
        fail=np.flatnonzero(product[live] == FAIL),
        measured=np.flatnonzero(product == GOAL),
    )


def _rows(bodies: Bodies, ids: np.ndarray) -> np.ndarray:
    rows = np.unique(bodies.row[ids])
    return rows[rows >= 0]


def _joints(start: Any, bodies: Bodies) -> tuple[Joint, ...]:
    joint, active = start.joint, np.concatenate([start.polygon.active, start.circle.active])

    def read(k: int) -> Joint:
        motor = None
        if joint.motor_on[k] and not joint.is_fixed_joint[k]:
            motor = "auto" if start.motor_auto[k] else int(start.motor_bindings[k])
        limited = joint.motor_has_joint_limits[k]
        return Joint(
            number=int(k),
            a=int(joint.a_index[k]),
            b=int(joint.b_index[k]),
            arm_a=tuple(float(x) for x in joint.a_relative_pos[k]),
            arm_b=tuple(float(x) for x in joint.b_relative_pos[k]),
            rotation=float(joint.rotation[k]),
            fixed=bool(joint.is_fixed_joint[k]),
            limits=(float(joint.min_rotation[k]), float(joint.max_rotation[k])) if limited else None,
            motor=motor,
            speed=float(joint.motor_speed[k]),
            power=float(joint.motor_power[k]),
        )

    a, b = joint.a_index, joint.b_index
    moves = (bodies.row[a] >= 0) | (bodies.row[b] >= 0)
    return tuple(read(k) for k in np.flatnonzero(joint.active & active[a] & active[b] & moves))


def _thrusters(start: Any, static_params: Any, bodies: Bodies) -> tuple[Thruster, ...]:
    thruster = start.thruster
    return tuple(
        Thruster(
            body=int(thruster.object_index[k]),
            action=static_params.num_motor_bindings + int(start.thruster_bindings[k]),
            arm=tuple(float(x) for x in thruster.relative_position[k]),
            angle=float(thruster.rotation[k]),
            power=float(thruster.power[k]),
        )
        for k in np.flatnonzero(thruster.active & (bodies.row[thruster.object_index] >= 0))
    )
