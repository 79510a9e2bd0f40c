"""One physics step and one control tick of a batch of environments."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.lax import optimization_barrier as boundary
from jaxtyping import Array, Bool, Float, Int

from rtc.worlds.kinetix.physics import contacts, geometry, joints, ordering
from rtc.worlds.kinetix.physics.motion import Motion
from rtc.worlds.kinetix.physics.ordering import Places
from rtc.worlds.kinetix.physics.scene import Pairs, Scene
from rtc.worlds.kinetix.starts import Bodies

# Slots per batch of contacts. A step takes the first that holds every environment's contacts; the last one, a whole
# batch, always does.
CAPACITIES = (2, 4)


class PhysicsState(NamedTuple):
    """Everything that changes in an episode, with the environment axis last.

    Attributes:
        motion: positions and velocities of the moving bodies.
        angle: of the moving bodies, radians.
        joint_impulses: accumulated by each joint: x, y and angular.
        contact_impulses: of every solid pair and its contact points, normal and tangential; per kind that has some.
        tick: control ticks done.
        distance: goal distance after the last tick, metres; -1 before the first.
    """

    motion: Motion
    angle: Float[Array, "n b"]
    joint_impulses: Float[Array, "j 3 b"]
    contact_impulses: tuple[Float[Array, "_ 2 _ b"], ...]
    tick: Int[Array, " b"]
    distance: Float[Array, " b"]


class Outcome(NamedTuple):
    """Of a physics step: the reward (1 goal, -1 failure, else 0) and the goal distance in metres."""

    reward: Float[Array, " b"]
    distance: Float[Array, " b"]


NARROW_PHASE = (geometry.rectangle_rectangle, geometry.circle_rectangle, geometry.circle_circle)
CONTACT_POINTS = (2, 1, 1)


def start(scene: Scene, batch: int) -> PhysicsState:
    """The start state, `batch` times."""

    def column(values: np.ndarray) -> Float[Array, "n b"]:
        return jnp.broadcast_to(jnp.asarray(values, jnp.float32)[:, None], (len(values), batch))

    position, velocity = scene.bodies.position[scene.moving], scene.velocity
    return PhysicsState(
        motion=Motion(*map(column, (*position.T, *velocity.T))),
        angle=column(scene.bodies.angle[scene.moving]),
        joint_impulses=jnp.zeros((len(scene.joints), 3, batch)),
        contact_impulses=tuple(
            jnp.zeros((CONTACT_POINTS[k], 2, len(scene.kinds[k].solid), batch)) for k in scene.colliding
        ),
        tick=jnp.zeros(batch, jnp.int32),
        distance=jnp.full(batch, -1.0, jnp.float32),
    )


def moved_to(scene: Scene, state: PhysicsState, bodies: Bodies) -> PhysicsState:
    """A state with all bodies at other places, with other velocities; arrays of `bodies` lead with the batch axis."""
    position, angle, velocity, spin = (jnp.moveaxis(leaf[:, scene.moving], 0, -1) for leaf in bodies)
    return state._replace(
        motion=Motion(position[:, 0], position[:, 1], velocity[:, 0], velocity[:, 1], spin), angle=angle
    )


def from_stock(scene: Scene, state: Any) -> PhysicsState:
    """The state of a batch of stock environments of the same level (a Kinetix EnvState, the batch axis first)."""
    moving = scene.moving

    def bodies(name: str) -> Array:
        both = jnp.concatenate([getattr(state.polygon, name), getattr(state.circle, name)], axis=1)
        return jnp.moveaxis(both[:, moving], 0, -1)

    def impulses(manifolds: Any, pairs: Pairs, points: int) -> Float[Array, "_ 2 _ b"]:
        numbers = pairs.live[pairs.solid]
        both = jnp.stack([manifolds.acc_impulse_normal, manifolds.acc_impulse_tangent], axis=-1)
        both = jnp.where(manifolds.active[..., None], both, 0.0)[:, numbers]
        both = both.reshape(both.shape[0], len(numbers), points, 2)
        return jnp.moveaxis(both, (2, 3, 1, 0), (0, 1, 2, 3))

    position, velocity = bodies("position"), bodies("velocity")
    joint = jnp.concatenate([state.joint.acc_impulse, state.joint.acc_r_impulse[..., None]], axis=-1)
    manifolds = state.acc_rr_manifolds, state.acc_cr_manifolds, state.acc_cc_manifolds
    return PhysicsState(
        motion=Motion(position[:, 0], position[:, 1], velocity[:, 0], velocity[:, 1], bodies("angular_velocity")),
        angle=bodies("rotation"),
        joint_impulses=jnp.moveaxis(joint[:, np.array([j.number for j in scene.joints], int)], 0, -1),
        contact_impulses=tuple(impulses(manifolds[k], scene.kinds[k], CONTACT_POINTS[k]) for k in scene.colliding),
        tick=state.timestep,
        distance=state.last_distance,
    )


def tick(
    scene: Scene, state: PhysicsState, action: Float[Array, "a b"]
) -> tuple[PhysicsState, Float[Array, " b"], Bool[Array, " b"], Bool[Array, " b"], Float[Array, " b"]]:
    """One control tick.

    Returns:
        The new state; reward; whether the episode ended; whether the goal was reached; the goal distance in metres.
    """
    steps, params = scene.static_params.frame_skip, scene.params
    new, outcomes = lax.scan(lambda s, _: step(scene, s, action), state, None, length=steps)
    over = outcomes.reward != 0
    # The first step that ends the episode decides; the later ones are simulated all the same, as in Kinetix.
    reward, distance = jnp.zeros_like(state.distance), outcomes.distance[-1]
    for k in reversed(range(steps)):
        reward = jnp.where(over[k], outcomes.reward[k], reward)
        distance = jnp.where(over[k], outcomes.distance[k], distance)
    solved = reward > 0
    moved = (*new.motion, new.angle, new.joint_impulses, *new.contact_impulses)
    spoilt = jax.tree.reduce(jnp.logical_or, [jnp.isnan(x).reshape(-1, x.shape[-1]).any(0) for x in moved])
    done = over.any(0) | spoilt | (state.tick + 1 >= params.max_timesteps)
    closer = jnp.nan_to_num((state.distance - distance) * params.dense_reward_scale, nan=0.0, posinf=0.0, neginf=0.0)
    reward = reward + jnp.where(state.distance == -1.0, 0.0, closer)
    new = new._replace(tick=state.tick + 1, distance=jnp.where(done, -1.0, distance))
    return new, reward, done, solved & done, distance


def step(scene: Scene, state: PhysicsState, action: Float[Array, "a b"]) -> tuple[PhysicsState, Outcome]:
    """One physics step (`params.dt`), in the stock engine's order.

    Gravity, contact search, motors, thrusters, warm starting if it is on, solver iterations, integration, limits.
    """
    dt, motion = scene.params.dt, state.motion
    motion = motion._replace(vx=motion.vx + scene.gravity[0] * dt, vy=motion.vy + scene.gravity[1] * dt)
    cos, sin = boundary(geometry.cos_sin(state.angle))
    frames = geometry.world_frames(scene, motion.x, motion.y, cos, sin)
    found = [_find(scene, pairs, search, frames) for pairs, search in zip(scene.kinds, NARROW_PHASE, strict=True)]
    driven = joints.motors(scene, action, state.angle, motion)
    driven = joints.thrusters(scene, action, cos, sin, driven)
    held = joints.anchors(scene, state.angle, cos, sin)
    solved, joint_impulses, contact_impulses = _resolve(scene, state, found, held, motion, driven)
    reward = _reward(scene, [active for active, _, _ in found], state.tick.shape)
    moved = _integrate(scene, solved)
    new = state._replace(
        motion=moved,
        angle=state.angle + solved.spin * dt,
        joint_impulses=joint_impulses,
        contact_impulses=contact_impulses,
    )
    return new, Outcome(reward, _goal_distance(scene, moved))


def _find(scene: Scene, pairs: Pairs, search: Callable, frames: geometry.Frames) -> tuple:
    """Activity of the live pairs of a kind, the places and the contacts of the solid ones; None for no pairs."""
    if not len(pairs.live):
        return jnp.zeros((0, frames.x.shape[-1]), bool), None, None
    active, manifolds = search(scene.bodies, pairs, frames)
    return active, ordering.places(pairs, active) if len(pairs.solid) else None, manifolds


def _resolve(
    scene: Scene, state: PhysicsState, found: list, held: list[joints.Anchors], incoming: Motion, driven: Motion
) -> tuple[Motion, Float[Array, "j 3 b"], tuple[Float[Array, "_ 2 _ b"], ...]]:
    """Joint and contact impulses, with as many slots as the contacts of the fullest environment need."""
    needed = jnp.max(jnp.stack([jnp.int32(0), *(found[k][1].most() for k in scene.colliding)]))
    largest = max((min(len(scene.kinds[k].solid), scene.kinds[k].batch_size) for k in scene.colliding), default=1)
    capacities = [c for c in CAPACITIES if c < largest] + [largest]

    def branch(capacity: int) -> Callable:
        def run(operands: tuple) -> tuple:
            found, held, motions, joint_impulses, contact_impulses = operands
            return _solve(scene, capacity, found, held, *motions, joint_impulses, contact_impulses)

        return run

    operands = (
        [found[k][1:] for k in scene.colliding],
        held,
        (incoming, driven),
        state.joint_impulses,
        state.contact_impulses,
    )
    choice = jnp.sum(needed > jnp.array(capacities[:-1], jnp.int32))
    return lax.switch(choice, [branch(capacity) for capacity in capacities], operands)


def _solve(
    scene: Scene,
    capacity: int,
    found: list[tuple[Places, geometry.Manifolds]],
    held: list[joints.Anchors],
    incoming: Motion,
    motion: Motion,
    joint_impulses: Float[Array, "j 3 b"],
    contact_impulses: tuple[Float[Array, "_ 2 _ b"], ...],
) -> tuple[Motion, Float[Array, "j 3 b"], tuple[Float[Array, "_ 2 _ b"], ...]]:
    """`_resolve` with `capacity` slots per batch."""
    unrolled = capacity in CAPACITIES
    kinds = [scene.kinds[k] for k in scene.colliding]
    slots = [min(capacity, len(pairs.solid), pairs.batch_size) for pairs in kinds]
    gathered = [
        contacts.gather(scene, pairs, places, m, manifolds, stored, incoming)
        for pairs, m, (places, manifolds), stored in zip(kinds, slots, found, contact_impulses, strict=True)
    ]
    warm = scene.static_params.do_warm_starting
    for pairs, (contact, accumulated) in zip(kinds, gathered, strict=True) if warm else ():
        motion = contacts.warm_start(scene, pairs, contact, accumulated, motion)
    if scene.joints and warm:
        motion = joints.warm_start(scene, held, joint_impulses, motion)

    def iteration(carry: tuple, _: None) -> tuple:
        motion, joint_impulses, accumulated = carry
        motion, joint_impulses = joints.solve(scene, held, joint_impulses, motion)
        new = []
        for pairs, (contact, _), old in zip(kinds, gathered, accumulated, strict=True):
            motion, impulses = contacts.solve(scene, pairs, contact, old, motion, unrolled)
            new.append(impulses)
        return (motion, joint_impulses, new), None

    carry = motion, joint_impulses, [accumulated for _, accumulated in gathered]
    (motion, joint_impulses, accumulated), _ = lax.scan(
        iteration, carry, None, length=scene.static_params.num_solver_iterations
    )
    if not warm:
        # The next step's contacts start from nothing; those of joints are never read.
        return motion, joint_impulses, contact_impulses
    released = (
        contacts.release(impulses, places, m)
        for impulses, (places, _), m in zip(accumulated, found, slots, strict=True)
    )
    return motion, joint_impulses, tuple(released)


def _integrate(scene: Scene, motion: Motion) -> Motion:
    """Moves the bodies and bounds what would run away."""
    params = scene.params

    def bounded(value: Array, limit: float) -> Array:
        return jnp.clip(value, -limit, limit)

    return Motion(
        x=bounded(motion.x + motion.vx * params.dt, params.clip_position),
        y=bounded(motion.y + motion.vy * params.dt, params.clip_position),
        vx=bounded(motion.vx, params.clip_velocity),
        vy=bounded(motion.vy, params.clip_velocity),
        spin=bounded(motion.spin, params.clip_angular_velocity),
    )


def _reward(scene: Scene, active: list[Bool[Array, "_ b"]], shape: tuple) -> Float[Array, " b"]:
    """-1 where a failure pair touches, else 1 where a goal pair does, else 0."""

    def any_of(chosen: list[np.ndarray], constant: bool) -> Bool[Array, " b"]:
        hit = jnp.full(shape, constant)
        for touches, rows in zip(active, chosen, strict=True):
            for row in rows:
                hit = hit | touches[row]
        return hit

    goal = any_of([pairs.goal for pairs in scene.kinds], scene.decided[0])
    fail = any_of([pairs.fail for pairs in scene.kinds], scene.decided[1])
    return jnp.where(fail, -1.0, jnp.where(goal, 1.0, 0.0))


def _goal_distance(scene: Scene, motion: Motion) -> Float[Array, " b"]:
    """Distance between the bodies of every goal pair, summed, metres."""

    def position(body: int) -> tuple:
        row = scene.bodies.row[body]
        return (motion.x[row], motion.y[row]) if row >= 0 else tuple(map(float, scene.bodies.position[body]))

    total = jnp.zeros(motion.x.shape[-1:])
    for pairs in scene.kinds:
        for pair in pairs.measured:
            (ax, ay), (bx, by) = position(pairs.a[pair]), position(pairs.b[pair])
            total = total + jnp.sqrt(jnp.square(ax - bx) + jnp.square(ay - by))
    return total
