"""Contact impulses: sequential impulses with warm starting, Coulomb friction and restitution, as in jax2d.

The active pairs of a kind sit in slots, m in each of g batches. A slot's two bodies are one-hot over the moving
bodies, so that reading and changing their velocities are sums of products, which vectorise where gathers and scatters
do not. Batches come first in every array, so that one batch is one slice.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.lax import optimization_barrier as boundary
from jaxtyping import Array, Float, Int, Shaped

from rtc.worlds.kinetix.physics import ordering
from rtc.worlds.kinetix.physics.geometry import Manifolds, take_rows
from rtc.worlds.kinetix.physics.motion import Motion, nonzero
from rtc.worlds.kinetix.physics.ordering import Places
from rtc.worlds.kinetix.physics.scene import Pairs, Scene


class Side(NamedTuple):
    """The first or the second body of every slot.

    Attributes:
        one_hot: which body, over the r moving bodies that this side of a pair can be.
        inverse_mass: of the body, 1/kg.
        inverse_inertia: of the body, 1/(kg m²).
    """

    one_hot: Float[Array, "g r m b"]
    inverse_mass: Float[Array, "g m b"]
    inverse_inertia: Float[Array, "g m b"]


class Contacts(NamedTuple):
    """The contacts of one kind in their slots, with p contact points each.

    Attributes:
        a, b: the two bodies.
        difference: one-hot rows of b minus those of a, over all n moving bodies.
        normal_x, normal_y: unit normal from a to b.
        target: relative normal velocity that the impulse aims at, against penetration and for a bounce, m/s.
        points_x, points_y: contact points, metres.
        on: 1 where a contact point counts, else 0.
        friction: Coulomb coefficient.
        keeps: 0 where the stock engine forgets the accumulated impulse.
    """

    a: Side
    b: Side
    difference: Float[Array, "g n m b"]
    normal_x: Float[Array, "g m b"]
    normal_y: Float[Array, "g m b"]
    target: Float[Array, "g p m b"]
    points_x: Float[Array, "g p m b"]
    points_y: Float[Array, "g p m b"]
    on: Float[Array, "g p m b"]
    friction: Float[Array, "g _ _"]
    keeps: Float[Array, "g _ _"]


class Jacobians(NamedTuple):
    """How impulses at the contact points act, for the bodies' present positions.

    Attributes:
        a_n, b_n: angular impulse on a and b per impulse along the normal, metres.
        a_t, b_t: the same along the tangent.
        mass_n, mass_t: effective mass along normal and tangent, kg; 0 where the point does not count.
        coupling: tangential velocity per impulse along the normal, 1/kg.
    """

    a_n: Float[Array, "g p m b"]
    b_n: Float[Array, "g p m b"]
    a_t: Float[Array, "g p m b"]
    b_t: Float[Array, "g p m b"]
    mass_n: Float[Array, "g p m b"]
    mass_t: Float[Array, "g p m b"]
    coupling: Float[Array, "g p m b"]


class Impulse(NamedTuple):
    """An impulse (x, y) on b and its opposite on a, in N s, with the angular impulses that go with them, in N m s."""

    x: Array
    y: Array
    turn_a: Array
    turn_b: Array


def _side(scene: Scene, bodies: np.ndarray, rows: np.ndarray, occupant: Int[Array, "k b"], groups: int) -> Side:
    """The bodies on one side of the pairs in the slots."""
    row = jnp.take(scene.bodies.row[bodies], jnp.maximum(occupant, 0), axis=0, mode="clip")
    row = _grouped(jnp.where(occupant >= 0, row, -1), groups)[:, None]
    one_hot = (row == rows[:, None, None]).astype(jnp.float32)
    return Side(one_hot, _read(one_hot, scene.inverse_mass[rows]), _read(one_hot, scene.inverse_inertia[rows]))


def gather(
    scene: Scene,
    pairs: Pairs,
    places: Places,
    capacity: int,
    manifolds: Manifolds,
    stored: Float[Array, "p 2 s b"],
    incoming: Motion,
) -> tuple[Contacts, Float[Array, "g p 2 m b"]]:
    """Puts the active solid pairs into slots.

    Args:
        scene: the level.
        pairs: the pairs of this kind.
        places: where each solid pair is solved.
        capacity: slots per batch, m.
        manifolds: contacts of the solid pairs.
        stored: impulses, normal and tangential, that each pair's contact points ended the last step with.
        incoming: motion before this step's motors and impulses; a bounce is relative to it.

    Returns:
        The contacts and their accumulated impulses.
    """
    groups = pairs.batches
    occupant = boundary(ordering.occupants(places, groups, capacity))
    pair = jnp.maximum(occupant, 0)

    def fetch(values: Float[Array, "s b"]) -> Float[Array, "g m b"]:
        return _grouped(jnp.take_along_axis(values, pair, axis=0, mode="clip"), groups)

    def fetch_constant(values: np.ndarray) -> Float[Array, "g _ _"]:
        values = np.asarray(values, np.float32)
        if (values == values[0]).all():
            return jnp.full((groups, 1, 1), values[0])
        return _grouped(jnp.take(values, pair, axis=0, mode="clip"), groups)

    a = _side(scene, pairs.solid_a, pairs.rows_a, occupant, groups)
    b = _side(scene, pairs.solid_b, pairs.rows_b, occupant, groups)
    on = [_grouped((occupant >= 0).astype(jnp.float32), groups)]
    if manifolds.second is not None:
        on.append(on[0] * fetch(manifolds.second.astype(jnp.float32)))
    on = jnp.stack(on, axis=1)
    params = scene.params
    excess = jnp.minimum(0.0, params.slop - fetch(manifolds.penetration))
    target = -params.baumgarte_coefficient_collision / params.dt * excess
    contacts = Contacts(
        a=a,
        b=b,
        difference=_spread(b.one_hot, pairs.rows_b, scene, 1) - _spread(a.one_hot, pairs.rows_a, scene, 1),
        normal_x=fetch(manifolds.normal_x),
        normal_y=fetch(manifolds.normal_y),
        target=jnp.broadcast_to(target[:, None], on.shape),
        points_x=jnp.stack([fetch(x) for x in manifolds.points_x], axis=1),
        points_y=jnp.stack([fetch(y) for y in manifolds.points_y], axis=1),
        on=on,
        friction=fetch_constant(pairs.friction),
        keeps=fetch_constant(pairs.keeps),
    )
    contacts = boundary(contacts)
    if pairs.bounce.any():
        approach = _normal_velocity(pairs, contacts, jacobians(pairs, contacts, incoming), incoming)
        bounce = fetch_constant(pairs.bounce)[:, None]
        contacts = contacts._replace(target=contacts.target - bounce * approach)
    accumulated = jnp.stack([jnp.stack([fetch(x) for x in point], axis=1) for point in stored], axis=1)
    return contacts, boundary(accumulated * on[:, :, None])


def release(accumulated: Float[Array, "g p 2 m b"], places: Places, capacity: int) -> Float[Array, "p 2 s b"]:
    """The impulses of every solid pair, zero where it does not touch: takes `gather`'s slots apart again."""
    slots = jnp.moveaxis(accumulated, 0, 2)
    slots = slots.reshape(*slots.shape[:2], -1, slots.shape[-1])
    slot = jnp.where(places.active, places.batch * capacity + places.rank, 0)

    def fetch(values: Float[Array, "k b"]) -> Float[Array, "s b"]:
        return jnp.where(places.active, jnp.take_along_axis(values, slot, axis=0, mode="clip"), 0.0)

    return jnp.stack([jnp.stack([fetch(values) for values in point]) for point in slots])


def jacobians(pairs: Pairs, contacts: Contacts, motion: Motion) -> Jacobians:
    """Arms and effective masses of all contact points."""
    normal_x, normal_y = contacts.normal_x[:, None], contacts.normal_y[:, None]

    def arms(side: Side, rows: np.ndarray) -> tuple[Array, Array]:
        x = contacts.points_x - _read(side.one_hot, take_rows(motion.x, rows))[:, None]
        y = contacts.points_y - _read(side.one_hot, take_rows(motion.y, rows))[:, None]
        # The tangent is the normal turned clockwise, (n_y, -n_x).
        return x * normal_y - y * normal_x, -(x * normal_x + y * normal_y)

    (a_n, a_t), (b_n, b_t) = boundary((arms(contacts.a, pairs.rows_a), arms(contacts.b, pairs.rows_b)))
    masses = (contacts.a.inverse_mass + contacts.b.inverse_mass)[:, None]
    inertia_a, inertia_b = contacts.a.inverse_inertia[:, None], contacts.b.inverse_inertia[:, None]
    mass_n = contacts.on / nonzero(masses + inertia_a * a_n * a_n + inertia_b * b_n * b_n)
    mass_t = contacts.on / nonzero(masses + inertia_a * a_t * a_t + inertia_b * b_t * b_t)
    coupling = inertia_a * a_n * a_t + inertia_b * b_n * b_t
    return Jacobians(a_n, b_n, a_t, b_t, *boundary((mass_n, mass_t, coupling)))


def warm_start(
    scene: Scene, pairs: Pairs, contacts: Contacts, accumulated: Float[Array, "g p 2 m b"], motion: Motion
) -> Motion:
    """Applies the accumulated impulses of all contacts at once."""
    jacobian = jacobians(pairs, contacts, motion)
    normal_x, normal_y = contacts.normal_x[:, None], contacts.normal_y[:, None]
    normal, tangent = accumulated[:, :, 0], accumulated[:, :, 1]
    impulse = Impulse(
        x=normal * normal_x + tangent * normal_y,
        y=normal * normal_y - tangent * normal_x,
        turn_a=normal * jacobian.a_n + tangent * jacobian.a_t,
        turn_b=normal * jacobian.b_n + tangent * jacobian.b_t,
    )
    # Side by side, all batches are one large one.
    merged = jax.tree.map(_merged, (contacts.a, contacts.b, contacts.difference))
    total = boundary(jax.tree.map(lambda leaf: _merged(leaf.sum(axis=1)), impulse))
    return _apply(scene, pairs, *merged, total, motion)


def solve(
    scene: Scene,
    pairs: Pairs,
    contacts: Contacts,
    accumulated: Float[Array, "g p 2 m b"],
    motion: Motion,
    unrolled: bool,
) -> tuple[Motion, Float[Array, "g p 2 m b"]]:
    """One pass over all contacts: the first points batch by batch, then the second ones.

    Args:
        scene: the level.
        pairs: the pairs of this kind.
        contacts: from `gather`.
        accumulated: impulses so far.
        motion: of all bodies.
        unrolled: write out the batches one by one, which runs faster than a loop over them but compiles slower.
    """
    jacobian = jacobians(pairs, contacts, motion)
    points = []
    for point in range(accumulated.shape[1]):
        at_point = jax.tree.map(lambda leaf: leaf[:, point], jacobian)  # noqa: B023

        def batch(motion: Motion, operands: tuple, point: int = point) -> tuple[Motion, Array]:
            contacts, jacobian, old = operands
            return _solve_batch(scene, pairs, contacts, contacts.target[point], jacobian, old, motion)

        operands = contacts, at_point, accumulated[:, point]
        if unrolled:
            motion, new = _unrolled(batch, motion, operands, pairs.batches)
        else:
            motion, new = lax.scan(batch, motion, operands)
        points.append(new)
    return motion, jnp.stack(points, axis=1)


def _unrolled(batch, motion: Motion, operands: tuple, length: int) -> tuple[Motion, Array]:
    outputs = []
    for group in range(length):
        motion, new = batch(motion, jax.tree.map(lambda leaf: leaf[group], operands))  # noqa: B023
        outputs.append(new)
    return motion, jnp.stack(outputs)


def _solve_batch(
    scene: Scene,
    pairs: Pairs,
    contacts: Contacts,
    target: Float[Array, "m b"],
    jacobian: Jacobians,
    old: Float[Array, "2 m b"],
    motion: Motion,
) -> tuple[Motion, Float[Array, "2 m b"]]:
    """Normal impulse, then friction, of all contacts of a batch from the same velocities; arrays without g and p."""
    normal_x, normal_y = contacts.normal_x, contacts.normal_y
    x, y = (contacts.difference * motion.vx[:, None]).sum(0), (contacts.difference * motion.vy[:, None]).sum(0)
    turn_a = (contacts.a.one_hot * take_rows(motion.spin, pairs.rows_a)[:, None]).sum(0)
    turn_b = (contacts.b.one_hot * take_rows(motion.spin, pairs.rows_b)[:, None]).sum(0)
    along_normal = normal_x * x + normal_y * y + jacobian.b_n * turn_b - jacobian.a_n * turn_a
    along_tangent = normal_y * x - normal_x * y + jacobian.b_t * turn_b - jacobian.a_t * turn_a
    normal = jnp.maximum(old[0] + (target - along_normal) * jacobian.mass_n, 0.0)
    push = normal - old[0]
    limit = contacts.friction * normal
    tangent = jnp.clip(old[1] - (along_tangent + push * jacobian.coupling) * jacobian.mass_t, -limit, limit)
    pull = tangent - old[1]
    impulse = Impulse(
        x=push * normal_x + pull * normal_y,
        y=push * normal_y - pull * normal_x,
        turn_a=push * jacobian.a_n + pull * jacobian.a_t,
        turn_b=push * jacobian.b_n + pull * jacobian.b_t,
    )
    impulse, new = boundary((impulse, jnp.stack([normal, tangent]) * contacts.keeps))
    return _apply(scene, pairs, contacts.a, contacts.b, contacts.difference, impulse, motion), new


def _apply(
    scene: Scene,
    pairs: Pairs,
    a: Side,
    b: Side,
    difference: Float[Array, "n m b"],
    impulse: Impulse,
    motion: Motion,
) -> Motion:
    """Adds the impulses of a batch to the velocities; arrays without the batch axis g."""
    turn = _spread((b.one_hot * impulse.turn_b).sum(1), pairs.rows_b, scene, 0)
    turn -= _spread((a.one_hot * impulse.turn_a).sum(1), pairs.rows_a, scene, 0)
    vx = motion.vx + scene.inverse_mass * (difference * impulse.x).sum(1)
    vy = motion.vy + scene.inverse_mass * (difference * impulse.y).sum(1)
    spin = motion.spin + scene.inverse_inertia * turn
    vx, vy, spin = boundary((vx, vy, spin))
    return motion._replace(vx=vx, vy=vy, spin=spin)


def _normal_velocity(pairs: Pairs, contacts: Contacts, jacobian: Jacobians, motion: Motion) -> Float[Array, "g p m b"]:
    """Relative velocity along the normal at all contact points, m/s."""
    x = (contacts.difference * motion.vx[:, None]).sum(1)
    y = (contacts.difference * motion.vy[:, None]).sum(1)
    turn_a = _read(contacts.a.one_hot, take_rows(motion.spin, pairs.rows_a))[:, None]
    turn_b = _read(contacts.b.one_hot, take_rows(motion.spin, pairs.rows_b))[:, None]
    linear = (contacts.normal_x * x + contacts.normal_y * y)[:, None]
    return linear + jacobian.b_n * turn_b - jacobian.a_n * turn_a


def _read(one_hot: Float[Array, "g r m b"], values: Float[Array, "r _"]) -> Float[Array, "g m b"]:
    """The value of each slot's body."""
    return (one_hot * values[:, None]).sum(axis=1)


def _grouped(slots: Shaped[Array, "k b"], groups: int) -> Shaped[Array, "g m b"]:
    return slots.reshape(groups, -1, slots.shape[-1])


def _merged(leaf: Array) -> Array:
    """Joins the batch axis g and the slot axis m, which is the last but one."""
    leaf = jnp.moveaxis(leaf, 0, -3)
    return leaf.reshape(*leaf.shape[:-3], leaf.shape[-3] * leaf.shape[-2], leaf.shape[-1])


def _spread(values: Array, rows: np.ndarray, scene: Scene, axis: int) -> Array:
    """Values of some moving bodies along an axis, with zeros for the others."""
    count = len(scene.moving)
    if len(rows) == count:
        return values
    place = {int(row): k for k, row in enumerate(rows)}
    zeros = jnp.zeros_like(lax.index_in_dim(values, 0, axis, keepdims=False)) if len(rows) else None
    if zeros is None:
        return jnp.zeros((*values.shape[:axis], count, *values.shape[axis + 1 :]), values.dtype)
    parts = [
        lax.index_in_dim(values, place[row], axis, keepdims=False) if row in place else zeros for row in range(count)
    ]
    return jnp.stack(parts, axis)
