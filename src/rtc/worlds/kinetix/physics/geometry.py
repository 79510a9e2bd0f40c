"""Which bodies touch, and where: the narrow phase, with the environment axis last.

Rectangles are tested along their own axes from their centres and half extents; circles by clamping. Everything that
decides an order keeps the stock engine's rule.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.lax import optimization_barrier as boundary
from jaxtyping import Array, Bool, Float

from rtc.worlds.kinetix.physics.scene import Bodies, Pairs, Scene

# The second body's face becomes the reference only if it separates better by this much (metres), as in jax2d.
REFERENCE_BIAS = 0.01
# Corners at the same depth are common: boxes that stand on the floor. jax2d measures depth in a frame turned by an
# angle in float32, so that of two equal corners the one closer to the start of the reference face, clockwise, counts as
# the deeper one; turning the normal by about that error (radians) does the same.
TILT = 5e-8
TOP, RIGHT, BOTTOM, LEFT = range(4)


class Frames(NamedTuple):
    """Bodies in the world: a rectangle's or circle's centre (metres) and the cosine and sine of its angle."""

    x: Float[Array, "n b"]
    y: Float[Array, "n b"]
    cos: Float[Array, "n b"]
    sin: Float[Array, "n b"]

    def take(self, bodies: np.ndarray) -> "Frames":
        """The frames of these body numbers."""
        return Frames(*(take_rows(leaf, bodies) for leaf in self))


class Manifolds(NamedTuple):
    """Contacts of the solid pairs of one kind, valid where they are active.

    Attributes:
        normal_x, normal_y: unit normal from the first body to the second.
        penetration: depth, metres.
        points_x, points_y: one or two contact points per pair.
        second: whether the second contact point counts; None where pairs have only one.
    """

    normal_x: Float[Array, "s b"]
    normal_y: Float[Array, "s b"]
    penetration: Float[Array, "s b"]
    points_x: tuple[Float[Array, "s b"], ...]
    points_y: tuple[Float[Array, "s b"], ...]
    second: Bool[Array, "s b"] | None


def take_rows(leaf: Float[Array, "n b"], index: np.ndarray) -> Float[Array, "m b"]:
    """Rows of an array by constant numbers."""
    if np.array_equal(index, np.arange(leaf.shape[0])):
        return leaf
    return jnp.take(leaf, index, axis=0, mode="clip")


def cos_sin(angle: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Cosine and sine to about 1e-7, from arithmetic alone so that they vectorise.

    The angle is reduced to [-pi/4, pi/4] by subtracting a multiple of pi/2 in three parts (Cody & Waite); the
    polynomials are those of Cephes' sinf and cosf.
    """
    f = np.float32
    quarter_turns = jnp.round(angle * f(2 / np.pi))
    r = angle - quarter_turns * f(1.5703125)
    r = r - quarter_turns * f(4.837512969970703125e-4)
    r = r - quarter_turns * f(7.54978995489188216e-8)
    z = r * r
    sin = ((f(-1.9515295891e-4) * z + f(8.3321608736e-3)) * z + f(-1.6666654611e-1)) * z * r + r
    cos = (f(2.443315711809948e-5) * z + f(-1.388731625493765e-3)) * z + f(4.166664568298827e-2)
    cos = cos * z * z - f(0.5) * z + f(1.0)
    quadrant = quarter_turns.astype(jnp.int32) & 3
    swapped = (quadrant & 1) == 1
    cos, sin = jnp.where(swapped, sin, cos), jnp.where(swapped, cos, sin)
    return jnp.where((quadrant == 1) | (quadrant == 2), -cos, cos), jnp.where(quadrant >= 2, -sin, sin)


def world_frames(
    scene: Scene, x: Float[Array, "m b"], y: Float[Array, "m b"], cos: Float[Array, "m b"], sin: Float[Array, "m b"]
) -> Frames:
    """Frames of all bodies, moving or not, from the moving ones' positions and angles."""
    bodies = scene.bodies

    def all_bodies(moving: Float[Array, "m b"], still: np.ndarray) -> Float[Array, "n b"]:
        batch = moving.shape[-1]
        rows = [
            moving[row] if row >= 0 else jnp.full(batch, value, jnp.float32)
            for row, value in zip(bodies.row, still, strict=True)
        ]
        return jnp.stack(rows)

    cos, sin = all_bodies(cos, np.cos(bodies.angle)), all_bodies(sin, np.sin(bodies.angle))
    off_x, off_y = _column(bodies.centre[:, 0]), _column(bodies.centre[:, 1])
    x = all_bodies(x, bodies.position[:, 0]) + cos * off_x - sin * off_y
    y = all_bodies(y, bodies.position[:, 1]) + sin * off_x + cos * off_y
    return Frames(*boundary((x, y, cos, sin)))


def rectangle_rectangle(bodies: Bodies, pairs: Pairs, frames: Frames) -> tuple[Bool[Array, "l b"], Manifolds]:
    """Activity of the live pairs and contacts of the solid ones: separating axes, then clipping."""
    a, b = pairs.a[pairs.live], pairs.b[pairs.live]
    frame_a, frame_b = frames.take(a), frames.take(b)
    separation, of_b, normal_x, normal_y = boundary(_least_penetration(bodies, a, b, frame_a, frame_b))
    picked = pairs.solid
    separation_solid, of_b, normal_x, normal_y = (
        take_rows(leaf, picked) for leaf in (separation, of_b, normal_x, normal_y)
    )
    a, b = a[picked], b[picked]
    flip = of_b > 0.5
    reference = Frames(*(jnp.where(flip, q, p) for p, q in zip(frames.take(a), frames.take(b), strict=True)))
    incident = Frames(*(jnp.where(flip, p, q) for p, q in zip(frames.take(a), frames.take(b), strict=True)))
    half_a, half_b = bodies.half[a], bodies.half[b]
    half_reference = [jnp.where(flip, _column(half_b[:, k]), _column(half_a[:, k])) for k in (0, 1)]
    half_incident = [jnp.where(flip, _column(half_a[:, k]), _column(half_b[:, k])) for k in (0, 1)]
    world_x = reference.cos * normal_x - reference.sin * normal_y
    world_y = reference.sin * normal_x + reference.cos * normal_y
    reference, incident, world_x, world_y = boundary((reference, incident, world_x, world_y))
    # Half extents of the reference rectangle along its normal and along its face.
    depth = jnp.abs(normal_x) * half_reference[0] + jnp.abs(normal_y) * half_reference[1]
    width = jnp.abs(normal_y) * half_reference[0] + jnp.abs(normal_x) * half_reference[1]
    corners = boundary(_lowest_corners(incident, half_incident, world_x, world_y))
    clipped = [_clip(corner, reference, world_x, world_y, depth, width) for corner in corners]
    sign = jnp.where(flip, -1.0, 1.0)
    manifolds = Manifolds(
        normal_x=sign * world_x,
        normal_y=sign * world_y,
        penetration=-separation_solid,
        points_x=tuple(x for x, _, _ in clipped),
        points_y=tuple(y for _, y, _ in clipped),
        second=jnp.minimum(clipped[0][2], clipped[1][2]) > 0,
    )
    return separation < 0, boundary(manifolds)


def _least_penetration(bodies: Bodies, a: np.ndarray, b: np.ndarray, frame_a: Frames, frame_b: Frames) -> tuple:
    """The face along which each pair of rectangles is separated most.

    Returns:
        The separation in metres; 1.0 where the face belongs to the second body, else 0.0; and the face's outward
        normal in its own body's frame.
    """
    # The rotation between the two frames, and each centre in the other's frame.
    turn_cos = frame_a.cos * frame_b.cos + frame_a.sin * frame_b.sin
    turn_sin = frame_a.sin * frame_b.cos - frame_a.cos * frame_b.sin
    dx, dy = frame_b.x - frame_a.x, frame_b.y - frame_a.y
    turn_cos, turn_sin, dx, dy = boundary((jnp.abs(turn_cos), jnp.abs(turn_sin), dx, dy))
    in_a = frame_a.cos * dx + frame_a.sin * dy, frame_a.cos * dy - frame_a.sin * dx
    in_b = -(frame_b.cos * dx + frame_b.sin * dy), -(frame_b.cos * dy - frame_b.sin * dx)
    in_a, in_b = boundary((in_a, in_b))
    half_a, half_b = ([_column(bodies.half[ids, k]) for k in (0, 1)] for ids in (a, b))

    def best_face(centre: tuple, own: list, other: list, first_face: np.ndarray) -> tuple:
        reach_x = turn_cos * other[0] + turn_sin * other[1]
        reach_y = turn_sin * other[0] + turn_cos * other[1]
        return _best_face(*centre, own[0] + reach_x, own[1] + reach_y, first_face)

    of_a = best_face(in_a, half_a, half_b, bodies.first_face[a])
    of_b = best_face(in_b, half_b, half_a, bodies.first_face[b])
    of_a, of_b = boundary((of_a, of_b))
    prefer_b = of_a[0] + REFERENCE_BIAS < of_b[0]
    normal = [jnp.where(prefer_b, q, p) for p, q in zip(of_a[1:], of_b[1:], strict=True)]
    return jnp.maximum(of_a[0], of_b[0]), prefer_b.astype(jnp.float32), *normal


def _best_face(
    x: Array, y: Array, reach_x: Array, reach_y: Array, first_face: np.ndarray
) -> tuple[Array, Array, Array]:
    """Separation and normal of the face that the other rectangle, centred at (x, y), is furthest out of.

    Of equal faces the stock engine takes the first, clockwise from `first_face`.
    """
    rank = (np.arange(4)[:, None] - first_face) % 4

    def earlier(face: int, other: int) -> np.ndarray:
        return (rank[face] < rank[other])[:, None]

    top = jnp.where(earlier(TOP, BOTTOM), y >= 0, y > 0)
    right = jnp.where(earlier(RIGHT, LEFT), x >= 0, x > 0)
    out_x, out_y = jnp.abs(x) - reach_x, jnp.abs(y) - reach_y
    x_earlier = jnp.where(
        right,
        jnp.where(top, earlier(RIGHT, TOP), earlier(RIGHT, BOTTOM)),
        jnp.where(top, earlier(LEFT, TOP), earlier(LEFT, BOTTOM)),
    )
    along_x = (out_x > out_y) | ((out_x == out_y) & x_earlier)
    normal_x = jnp.where(along_x, jnp.where(right, 1.0, -1.0), 0.0)
    normal_y = jnp.where(along_x, 0.0, jnp.where(top, 1.0, -1.0))
    return jnp.maximum(out_x, out_y), normal_x, normal_y


def _lowest_corners(frame: Frames, half: list[Array], normal_x: Array, normal_y: Array) -> tuple[tuple, tuple]:
    """The incident rectangle's two corners that lie furthest against the normal: the lowest first."""
    tilted_x, tilted_y = normal_x + TILT * normal_y, normal_y - TILT * normal_x
    nx = frame.cos * tilted_x + frame.sin * tilted_y
    ny = frame.cos * tilted_y - frame.sin * tilted_x
    x, y = jnp.where(nx > 0, -1.0, 1.0), jnp.where(ny > 0, -1.0, 1.0)
    # The next corner mirrors the coordinate that costs less height.
    mirror_x = jnp.abs(nx) * half[0] <= jnp.abs(ny) * half[1]

    def world(x: Array, y: Array) -> tuple[Array, Array]:
        x, y = x * half[0], y * half[1]
        return frame.x + frame.cos * x - frame.sin * y, frame.y + frame.sin * x + frame.cos * y

    return world(x, y), world(jnp.where(mirror_x, -x, x), jnp.where(mirror_x, y, -y))


def _clip(corner: tuple, frame: Frames, normal_x: Array, normal_y: Array, depth: Array, width: Array) -> tuple:
    """Moves a corner along the reference face to within its ends; returns it with its depth below the face."""
    dx, dy = corner[0] - frame.x, corner[1] - frame.y
    height = dx * normal_x + dy * normal_y
    along = jnp.clip(dx * normal_y - dy * normal_x, -width, width)
    x = frame.x + along * normal_y + height * normal_x
    y = frame.y - along * normal_x + height * normal_y
    return x, y, depth - height


def circle_rectangle(bodies: Bodies, pairs: Pairs, frames: Frames) -> tuple[Bool[Array, "l b"], Manifolds]:
    """Activity of the live pairs and contacts of the solid ones: the rectangle's point closest to the centre."""
    a, b = pairs.a[pairs.live], pairs.b[pairs.live]
    circle, box = frames.take(a), frames.take(b)
    dx, dy = circle.x - box.x, circle.y - box.y
    x, y = boundary((box.cos * dx + box.sin * dy, box.cos * dy - box.sin * dx))
    half_x, half_y = _column(bodies.half[b, 0]), _column(bodies.half[b, 1])
    inside = (jnp.abs(x) < half_x) & (jnp.abs(y) < half_y)
    # From inside, the closest point is on the closest face; the faces of a tie are as good as each other.
    to_side = half_x - jnp.abs(x) < half_y - jnp.abs(y)
    side, cap = jnp.where(x >= 0, half_x, -half_x), jnp.where(y >= 0, half_y, -half_y)
    near_x = jnp.where(inside, jnp.where(to_side, side, x), jnp.clip(x, -half_x, half_x))
    near_y = jnp.where(inside, jnp.where(to_side, y, cap), jnp.clip(y, -half_y, half_y))
    near_x, near_y = boundary((near_x, near_y))
    out_x, out_y = x - near_x, y - near_y
    distance = boundary(jnp.sqrt(out_x * out_x + out_y * out_y))
    radius = _column(bodies.radius[a])
    active = (distance <= radius) | inside
    scale = boundary(jnp.where(inside, 1.0, -1.0) / jnp.where(distance == 0, 1.0, distance))
    manifolds = Manifolds(
        normal_x=(box.cos * out_x - box.sin * out_y) * scale,
        normal_y=(box.sin * out_x + box.cos * out_y) * scale,
        penetration=jnp.where(inside, radius, radius - distance),
        points_x=(box.x + box.cos * near_x - box.sin * near_y,),
        points_y=(box.y + box.sin * near_x + box.cos * near_y,),
        second=None,
    )
    return active, boundary(_solid(manifolds, pairs))


def circle_circle(bodies: Bodies, pairs: Pairs, frames: Frames) -> tuple[Bool[Array, "l b"], Manifolds]:
    """Activity of the live pairs and contacts of the solid ones: the point of the first circle towards the second."""
    a, b = pairs.a[pairs.live], pairs.b[pairs.live]
    first, second = frames.take(a), frames.take(b)
    dx, dy = second.x - first.x, second.y - first.y
    distance = boundary(jnp.sqrt(dx * dx + dy * dy))
    radius_a, reach = _column(bodies.radius[a]), _column(bodies.radius[a] + bodies.radius[b])
    inverse = 1.0 / jnp.where(distance == 0, 1.0, distance)
    normal_x, normal_y = boundary((dx * inverse, dy * inverse))
    manifolds = Manifolds(
        normal_x=normal_x,
        normal_y=normal_y,
        penetration=reach - distance,
        points_x=(first.x + normal_x * radius_a,),
        points_y=(first.y + normal_y * radius_a,),
        second=None,
    )
    return distance < reach, boundary(_solid(manifolds, pairs))


def _solid(manifolds: Manifolds, pairs: Pairs) -> Manifolds:
    def pick(leaf: Array) -> Array:
        return take_rows(leaf, pairs.solid)

    return Manifolds(
        *(pick(leaf) for leaf in manifolds[:3]),
        points_x=tuple(map(pick, manifolds.points_x)),
        points_y=tuple(map(pick, manifolds.points_y)),
        second=None,
    )


def _column(values: np.ndarray) -> Float[np.ndarray, "n 1"]:
    return np.asarray(values, np.float32)[:, None]
