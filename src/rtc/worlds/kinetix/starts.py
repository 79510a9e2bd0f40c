"""Start states that an episode's key perturbs: positions, angles and velocities of the moving bodies.

Bodies that joints connect move together as one rigid group, so that no joint starts torn: a free group is shifted and
turned about its centre of mass, one that hangs on a hinge to a body at rest turns about the hinge within the joint's
limits, one that is held at two places or rigidly stays where it is. Velocities get a rigid motion in the same way.

At start noise 1 a group is shifted by up to 0.1 m in x and in y, turned by up to 0.1 rad, and its velocity changes by
up to 0.2 m/s in x and in y and 0.2 rad/s, each uniformly; other noises scale these numbers. Groups are placed one after
the other. A draw in which bodies interpenetrate more than at the level's own start is rejected; after `TRIES` draws the
group starts unperturbed.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

SHIFT, TURN, SPEED, SPIN = 0.1, 0.1, 0.2, 0.2  # m, rad, m/s, rad/s at noise 1
TRIES = 8
SAME_POINT = 1e-3  # metres between two anchors that count as one hinge
TOUCH = 1e-6  # metres of interpenetration beyond the start's that rounding may add
GOAL, FAIL = 2, 3  # products of two bodies' roles: touching ends the episode


class Bodies(NamedTuple):
    """Where the bodies are and how they move, polygons first, then circles: m, rad, m/s, rad/s."""

    position: Float[Array, "*b n 2"]
    angle: Float[Array, "*b n"]
    velocity: Float[Array, "*b n 2"]
    spin: Float[Array, "*b n"]


class Groups(NamedTuple):
    """The rigid groups of moving bodies.

    Attributes:
        members: which bodies belong to each.
        centre: what it turns about, metres.
        shifts: 1 where it may be shifted, else 0.
        turns: 1 where it may turn, else 0.
        least, most: how far it may turn because of joint limits, rad.
        pairs: of each group, body numbers of the pairs that its move may bring together, filled up with pair 0.
        allowed: interpenetration of these pairs that is accepted, metres; infinite for those that fill up.
    """

    members: Bool[np.ndarray, "g n"]
    centre: Float[np.ndarray, "g 2"]
    shifts: Float[np.ndarray, " g"]
    turns: Float[np.ndarray, " g"]
    least: Float[np.ndarray, " g"]
    most: Float[np.ndarray, " g"]
    pairs: Int[np.ndarray, "g p 2"]
    allowed: Float[np.ndarray, "g p"]


class Outlines(NamedTuple):
    """Outlines in the bodies' own frames: vertices (a circle's are all at its centre) and radius (0 of a polygon)."""

    vertices: Float[np.ndarray, "n 4 2"]
    radius: Float[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class Starts:
    """What perturbed start states of a level are made from. Those of equal levels are equal.

    Attributes:
        identity: of the level.
        bodies: the level's own start.
        outlines: of the bodies.
        groups: what moves together; None where nothing can be perturbed.
    """

    identity: tuple
    bodies: Bodies
    outlines: Outlines
    groups: Groups | None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Starts) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)


def perturbed(starts: Starts, noise: Float[Array, ""] | float, keys: Key[Array, " b"]) -> Bodies:
    """A perturbed start per key; a start depends on its key alone.

    Args:
        starts: of the level.
        noise: scale of the perturbation, at least 0.
        keys: one per episode.
    """
    return jax.vmap(lambda key: _perturbed(starts, noise, key))(keys)


def _perturbed(starts: Starts, noise: Float[Array, ""] | float, key: Key[Array, ""]) -> Bodies:
    start = Bodies(*map(jnp.asarray, starts.bodies))
    if starts.groups is None:
        return start
    groups = Groups(*map(jnp.asarray, starts.groups))
    scale = noise * jnp.array([SHIFT, SHIFT, TURN, SPEED, SPEED, SPIN])
    draws = jax.random.uniform(key, (len(groups.centre), TRIES, 6), minval=-1.0, maxval=1.0) * scale

    def place(bodies: Bodies, inputs: tuple) -> tuple[Bodies, None]:
        group, tries = inputs
        candidates = jax.vmap(lambda change: _moved(bodies, group, change))(tries)
        overlap = jax.vmap(lambda c: _overlaps(starts.outlines, c, group.pairs))(candidates)
        turn = tries[:, 2] * group.turns
        good = (overlap <= group.allowed).all(axis=1) & (turn >= group.least) & (turn <= group.most)
        first = jnp.argmax(good)
        chosen = jax.tree.map(lambda new, old: jnp.where(good.any(), new[first], old), candidates, bodies)
        return chosen, None

    return jax.lax.scan(place, start, (groups, draws))[0]


def _moved(bodies: Bodies, group: Groups, change: Float[Array, " 6"]) -> Bodies:
    """The bodies with one group shifted and turned, and a rigid motion added to its velocities."""
    shift, turn = change[:2] * group.shifts, change[2] * group.turns
    push, spin = change[3:5] * group.shifts, change[5] * group.turns
    turned = _rotated(bodies.position - group.centre, turn)
    swing = spin * jnp.stack([-turned[:, 1], turned[:, 0]], axis=1)
    new = Bodies(
        position=group.centre + shift + turned,
        angle=bodies.angle + turn,
        velocity=_rotated(bodies.velocity, turn) + push + swing,
        spin=bodies.spin + spin,
    )
    return jax.tree.map(lambda x, old: jnp.where(group.members.reshape(-1, *[1] * (x.ndim - 1)), x, old), new, bodies)


def _rotated(points: Float[Array, "... 2"], angle: Float[Array, "..."]) -> Float[Array, "... 2"]:
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack(
        [cos * points[..., 0] - sin * points[..., 1], sin * points[..., 0] + cos * points[..., 1]], axis=-1
    )


def _overlaps(outlines: Outlines, bodies: Bodies, pairs: Int[Array, "p 2"]) -> Float[Array, " p"]:
    """How deep the bodies of each pair are in each other, metres; negative between bodies apart."""
    vertices = bodies.position[:, None] + _rotated(jnp.asarray(outlines.vertices), bodies.angle[:, None])
    a, b = vertices[pairs[:, 0]], vertices[pairs[:, 1]]
    radii = jnp.asarray(outlines.radius)[pairs]
    return radii.sum(axis=1) - jax.vmap(_gap)(a, b)


def _gap(a: Float[Array, "4 2"], b: Float[Array, "4 2"]) -> Float[Array, ""]:
    """Distance between two convex outlines (points included), or minus the depth at which they overlap, metres."""
    along = jnp.maximum(_separation(a, b), _separation(b, a))
    between = jnp.minimum(_distance(a, b), _distance(b, a))
    return jnp.where(along > 0, between, jnp.where(jnp.isfinite(along), along, between))


def _separation(a: Float[Array, "4 2"], b: Float[Array, "4 2"]) -> Float[Array, ""]:
    """The largest distance of all of b from one of a's edges, positive outside; -inf if a is a point."""
    edge = jnp.roll(a, -1, axis=0) - a
    length = jnp.sqrt(jnp.square(edge).sum(axis=1))
    outward = jnp.stack([-edge[:, 1], edge[:, 0]], axis=1) / jnp.where(length > 0, length, 1.0)[:, None]
    reach = ((b[None] - a[:, None]) * outward[:, None]).sum(axis=-1).min(axis=1)
    return jnp.where(length > 0, reach, -jnp.inf).max()


def _distance(a: Float[Array, "4 2"], b: Float[Array, "4 2"]) -> Float[Array, ""]:
    """The smallest distance of b's vertices from a's edges, metres."""
    edge = jnp.roll(a, -1, axis=0) - a
    squared = jnp.square(edge).sum(axis=1)
    along = ((b[None] - a[:, None]) * edge[:, None]).sum(axis=-1) / jnp.where(squared > 0, squared, 1.0)[:, None]
    nearest = a[:, None] + jnp.clip(along, 0.0, 1.0)[..., None] * edge[:, None]
    return jnp.sqrt(jnp.square(b[None] - nearest).sum(axis=-1)).min()


def prepare(start: Any, identity: tuple) -> Starts:
    """Gathers what perturbed starts need.

    Args:
        start: the start state (a Kinetix EnvState).
        identity: of the level.
    """
    start = jax.tree.map(np.asarray, start)

    def both(name: str) -> np.ndarray:
        return np.concatenate([getattr(start.polygon, name), getattr(start.circle, name)])

    bodies = Bodies(both("position"), both("rotation"), both("velocity"), both("angular_velocity"))
    outlines = _outlines(start)
    moves = both("active") & (both("inverse_mass") != 0)
    groups = [_group(start, bodies, both, m) for m in _connected(start.joint, moves, both("active"))]
    groups = [group for group in groups if group.shifts or group.turns]
    pairs = np.array(list(itertools.combinations(range(len(moves)), 2)), np.int32).reshape(-1, 2)
    meeting = np.array([_meet(start, both, moves, a, b) for a, b in pairs], bool)
    allowed = np.maximum(_overlaps_of_start(outlines, bodies, pairs), 0)[meeting] + TOUCH
    return Starts(identity, bodies, outlines, _stacked(groups, pairs[meeting], allowed))


def _stacked(groups: Sequence[Groups], meeting: np.ndarray, allowed: np.ndarray) -> Groups:
    """The groups side by side, each with the pairs of which it holds one body."""
    held = [group.members[meeting[:, 0]] != group.members[meeting[:, 1]] for group in groups]
    width = max([1, *(int(own.sum()) for own in held)])
    pairs = np.zeros((len(groups), width, 2), int)
    limits = np.full((len(groups), width), np.inf, np.float32)
    for g, own in enumerate(held):
        pairs[g, : own.sum()], limits[g, : own.sum()] = meeting[own], allowed[own]
    stacked = [group._replace(pairs=p, allowed=limit) for group, p, limit in zip(groups, pairs, limits, strict=True)]
    return Groups(*(np.stack(column) for column in zip(*stacked, strict=True))) if stacked else None


def _outlines(start: Any) -> Outlines:
    polygon, circle = start.polygon, start.circle
    # A triangle's last vertex is given twice, which adds an edge without length.
    last = np.clip(polygon.n_vertices, 1, 4)[:, None] - 1
    index = np.minimum(np.arange(4)[None], last)
    vertices = np.take_along_axis(polygon.vertices, index[..., None], axis=1)
    points = np.zeros((len(circle.radius), 4, 2), np.float32)
    radius = np.concatenate([np.zeros(len(vertices), np.float32), circle.radius])
    return Outlines(np.concatenate([vertices, points]), radius)


def _connected(joint: Any, moves: np.ndarray, active: np.ndarray) -> Iterable[set[int]]:
    """Sets of moving bodies that joints connect, in the order of their first body."""
    links = {body: {body} for body in np.flatnonzero(moves).tolist()}
    for k in np.flatnonzero(joint.active & active[joint.a_index] & active[joint.b_index]):
        a, b = int(joint.a_index[k]), int(joint.b_index[k])
        if a in links and b in links and links[a] is not links[b]:
            joined = links[a] | links[b]
            links |= dict.fromkeys(joined, joined)
    return {min(members): members for members in links.values()}.values()


def _group(start: Any, bodies: Bodies, both: Callable[[str], np.ndarray], members: set[int]) -> Groups:
    """One group, still without pairs."""
    numbers, joint = sorted(members), start.joint
    mass = 1 / both("inverse_mass")[numbers]
    centre = (bodies.position[numbers] * mass[:, None]).sum(axis=0) / mass.sum()
    rigid, least, most, anchors = bool((both("inverse_inertia")[numbers] == 0).any()), -np.inf, np.inf, []
    for k in np.flatnonzero(joint.active & both("active")[joint.a_index] & both("active")[joint.b_index]):
        ends = int(joint.a_index[k]), int(joint.b_index[k])
        inside = [end in members for end in ends]
        if sum(inside) != 1:
            continue
        anchors.append(_anchor(bodies, joint, k))
        rigid |= bool(joint.is_fixed_joint[k])
        if joint.motor_has_joint_limits[k]:
            relative = bodies.angle[ends[1]] - bodies.angle[ends[0]] - joint.rotation[k]
            room = np.minimum(joint.min_rotation[k] - relative, 0), np.maximum(joint.max_rotation[k] - relative, 0)
            low, high = room if inside[1] else (-room[1], -room[0])
            least, most = max(least, low), min(most, high)
    if anchors:
        rigid |= max(np.linalg.norm(anchor - anchors[0]) for anchor in anchors) > SAME_POINT
        centre = anchors[0]
    flags = np.isin(np.arange(len(bodies.angle)), numbers)
    numbers = np.float32([not anchors, not rigid, least, most])
    return Groups(flags, centre.astype(np.float32), *numbers, pairs=np.zeros((0, 2), int), allowed=np.zeros(0))


def _anchor(bodies: Bodies, joint: Any, k: int) -> np.ndarray:
    """Where a joint holds its first body, metres."""
    body, (x, y) = joint.a_index[k], joint.a_relative_pos[k]
    cos, sin = np.cos(bodies.angle[body]), np.sin(bodies.angle[body])
    return bodies.position[body] + np.array([cos * x - sin * y, sin * x + cos * y])


def _meet(start: Any, both: Callable[[str], np.ndarray], moves: np.ndarray, a: int, b: int) -> bool:
    """Whether two bodies collide, or their touch decides the episode, and one of them moves."""
    active, mode = both("active"), both("collision_mode")
    role = np.concatenate([start.polygon_shape_roles, start.circle_shape_roles])
    modes = mode[a] == 2 or mode[b] == 2 or mode[a] * mode[b] > 0
    counts = start.collision_matrix[a, b] or role[a] * role[b] in (GOAL, FAIL)
    return bool(active[a] and active[b] and (moves[a] or moves[b]) and modes and counts)


@jax.jit
def _overlaps_of_start(outlines: Outlines, bodies: Bodies, pairs: Int[Array, "p 2"]) -> Float[Array, " p"]:
    return _overlaps(outlines, bodies, pairs)
