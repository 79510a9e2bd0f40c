"""Joints, motors and thrusters: jax2d's impulses, one joint after the other.

Velocities and positions are lists of rows here: which bodies a joint connects is known when the program is built.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.lax import optimization_barrier as boundary
from jaxtyping import Array, Float

from rtc.worlds.kinetix.physics.motion import Motion, nonzero
from rtc.worlds.kinetix.physics.scene import Joint, Scene

Row = Float[Array, " b"] | float


class Anchors(NamedTuple):
    """What stays the same for a joint throughout a step, because angles change only at its end.

    Attributes:
        a_x, a_y, b_x, b_y: the anchor relative to each body, in world axes, metres.
        error: angular velocity against the violated limit, or against the turn of a fixed joint, rad/s.
        acts: 1 where a limit is violated, else 0; of no use for other joints.
    """

    a_x: Row
    a_y: Row
    b_x: Row
    b_y: Row
    error: Row
    acts: Row


class Bodies(NamedTuple):
    """The moving bodies as lists of rows, to be changed in place."""

    x: list[Row]
    y: list[Row]
    vx: list[Row]
    vy: list[Row]
    spin: list[Row]


def anchors(
    scene: Scene, angle: Float[Array, "n b"], cos: Float[Array, "n b"], sin: Float[Array, "n b"]
) -> list[Anchors]:
    """Anchors of all joints, from the moving bodies' angles."""
    return [_anchors(scene, joint, angle, cos, sin) for joint in scene.joints]


def _anchors(scene: Scene, joint: Joint, angle: Array, cos: Array, sin: Array) -> Anchors:
    def arm(body: int, offset: tuple[float, float]) -> tuple[Row, Row]:
        c, s = (
            _value(scene, body, cos, np.cos(scene.bodies.angle)),
            _value(scene, body, sin, np.sin(scene.bodies.angle)),
        )
        return c * offset[0] - s * offset[1], s * offset[0] + c * offset[1]

    relative, error, acts = relative_angle(scene, joint, angle), 0.0, 0.0
    if joint.fixed:
        error = relative * scene.params.baumgarte_coefficient_fjoint_av
    elif joint.limits is not None:
        allowed = jnp.clip(relative, *joint.limits)
        error = (relative - allowed) * scene.params.baumgarte_coefficient_rjoint_limit_av
        acts = (allowed != relative).astype(jnp.float32)
    return Anchors(*boundary((*arm(joint.a, joint.arm_a), *arm(joint.b, joint.arm_b), error, acts)))


def relative_angle(scene: Scene, joint: Joint, angle: Float[Array, "n b"]) -> Row:
    """The second body's angle against the first's, from the angle at rest; radians."""
    still = scene.bodies.angle
    return _value(scene, joint.b, angle, still) - _value(scene, joint.a, angle, still) - joint.rotation


def warm_start(scene: Scene, held: list[Anchors], impulses: Float[Array, "j 3 b"], motion: Motion) -> Motion:
    """Applies the impulses that the joints have accumulated since the episode began, to all of them at once."""
    vx, vy, spin = (list(leaf) for leaf in (motion.vx, motion.vy, motion.spin))
    for joint, at, (x, y, turn) in zip(scene.joints, held, impulses, strict=True):
        for body, arm_x, arm_y, sign in ((joint.a, at.a_x, at.a_y, 1.0), (joint.b, at.b_x, at.b_y, -1.0)):
            row, mass, inertia = _inverse(scene, body)
            if row >= 0:
                vx[row] = vx[row] + sign * mass * x
                vy[row] = vy[row] + sign * mass * y
                spin[row] = spin[row] + sign * inertia * (arm_x * y - arm_y * x + turn)
    vx, vy, spin = boundary(tuple(map(jnp.stack, (vx, vy, spin))))
    return motion._replace(vx=vx, vy=vy, spin=spin)


def solve(
    scene: Scene, held: list[Anchors], impulses: Float[Array, "j 3 b"], motion: Motion
) -> tuple[Motion, Float[Array, "j 3 b"]]:
    """One pass over all joints in order: velocities, positions and accumulated impulses (x, y, angular)."""
    if not scene.joints:
        return motion, impulses
    bodies = Bodies(*(list(leaf) for leaf in motion))
    new = []
    for joint, at, old in zip(scene.joints, held, impulses, strict=True):
        impulse = _solve_joint(scene, joint, at, bodies)
        new.append([p + q for p, q in zip(old, impulse, strict=True)])
    impulses = jnp.stack([jnp.stack(jnp.broadcast_arrays(*impulse)) for impulse in new])
    return Motion(*boundary(tuple(map(jnp.stack, bodies)))), impulses


def _solve_joint(scene: Scene, joint: Joint, at: Anchors, bodies: Bodies) -> tuple[Row, Row, Row]:
    """Changes the two bodies' velocities and positions; returns the impulse on the first one."""
    params = scene.params
    row_a, mass_a, inertia_a = _inverse(scene, joint.a)
    row_b, mass_b, inertia_b = _inverse(scene, joint.b)
    a, b = _state(scene, bodies, joint.a), _state(scene, bodies, joint.b)
    gap_x, gap_y = (b.x + at.b_x) - (a.x + at.a_x), (b.y + at.b_y) - (a.y + at.a_y)
    # The joint sits between the two anchors, closer to the heavier body's.
    share = mass_a / (mass_a + mass_b)
    velocity_x = (b.vx - b.spin * (at.b_y - (1 - share) * gap_y)) - (a.vx - a.spin * (at.a_y + share * gap_y))
    velocity_y = (b.vy + b.spin * (at.b_x - (1 - share) * gap_x)) - (a.vy + a.spin * (at.a_x + share * gap_x))
    squared = velocity_x * velocity_x + velocity_y * velocity_y
    cross_a, cross_b = at.a_x * velocity_y - at.a_y * velocity_x, at.b_x * velocity_y - at.b_y * velocity_x
    resistance = (cross_a * cross_a * inertia_a + cross_b * cross_b * inertia_b) / nonzero(squared)
    scale = params.joint_stiffness / (mass_a + mass_b + resistance)
    x = (velocity_x + params.baumgarte_coefficient_joints_v * gap_x) * scale
    y = (velocity_y + params.baumgarte_coefficient_joints_v * gap_y) * scale
    x, y, gap_x, gap_y = boundary((x, y, gap_x, gap_y))
    turn_a, turn_b = (at.a_x * y - at.a_y * x) * inertia_a, -(at.b_x * y - at.b_y * x) * inertia_b
    turn = _turn(joint, at, (b.spin + turn_b) - (a.spin + turn_a)) / (inertia_a + inertia_b or 1.0)
    pull = params.baumgarte_coefficient_joints_p / (mass_a + mass_b)
    changes = {
        row_a: (gap_x * (mass_a * pull), gap_y * (mass_a * pull), mass_a * x, mass_a * y, turn_a + turn * inertia_a),
        row_b: (
            gap_x * (-mass_b * pull),
            gap_y * (-mass_b * pull),
            -mass_b * x,
            -mass_b * y,
            turn_b - turn * inertia_b,
        ),
    }
    moving = [(row, change) for row, change in changes.items() if row >= 0]
    updated = boundary([[leaf[row] + d for leaf, d in zip(bodies, change, strict=True)] for row, change in moving])
    for (row, _), values in zip(moving, updated, strict=True):
        for leaf, value in zip(bodies, values, strict=True):
            leaf[row] = value
    return x, y, turn if joint.fixed else 0.0


def _turn(joint: Joint, at: Anchors, velocity: Row) -> Row:
    """Relative angular velocity to take away, rad/s."""
    if joint.fixed:
        return velocity + at.error
    if joint.limits is None:
        return 0.0
    # A limit that the bodies are already moving away from needs no impulse.
    return jnp.where(jnp.sign(velocity) == jnp.sign(at.error), velocity + at.error, 0.0) * at.acts


def motors(scene: Scene, action: Float[Array, "a b"], angle: Float[Array, "n b"], motion: Motion) -> Motion:
    """Motor torques of all joints, from the same state. Motors weaken towards their joint's limits."""
    params, change = scene.params, [0.0] * len(scene.moving)
    for joint in scene.joints:
        if joint.motor is None:
            continue
        drive = 1.0 if joint.motor == "auto" else jnp.clip(action[joint.motor], -1.0, 1.0)
        row_a, _, inertia_a = _inverse(scene, joint.a)
        row_b, _, inertia_b = _inverse(scene, joint.b)
        power = params.base_motor_power * joint.power * params.dt / (inertia_a + inertia_b or 1.0)
        still = np.zeros_like(scene.bodies.angle)
        spin = _value(scene, joint.b, motion.spin, still) - _value(scene, joint.a, motion.spin, still)
        excess = spin - joint.speed * drive * params.base_motor_speed
        torque = power * jnp.tanh(excess * params.motor_decay_coefficient)
        if joint.limits is not None:
            torque = torque * _margin(scene, joint, drive, angle)
        impulse = jnp.where(drive != 0, torque, 0.0)
        for row, inertia in ((row_a, inertia_a), (row_b, -inertia_b)):
            if row >= 0:
                change[row] = change[row] + impulse * inertia
    return motion._replace(spin=motion.spin + _stack(change, motion))


def _margin(scene: Scene, joint: Joint, drive: Row, angle: Float[Array, "n b"]) -> Row:
    """Share of a motor's power that is left so close to a limit; all of it when driving away from the limit."""
    zone = scene.params.motor_joint_limit
    low, high = joint.limits
    relative = relative_angle(scene, joint, angle)
    past = relative - jnp.clip(relative, low + zone, high - zone)
    left = jnp.where(past == 0, 1.0, jnp.maximum(0.0, 1.0 - jnp.abs(past) / zone))
    return jnp.maximum(left, (jnp.sign(past) != jnp.sign(drive)).astype(jnp.float32))


def thrusters(
    scene: Scene, action: Float[Array, "a b"], cos: Float[Array, "n b"], sin: Float[Array, "n b"], motion: Motion
) -> Motion:
    """Pushes of all thrusters."""
    if not scene.thrusters:
        return motion
    vx, vy, spin = ([0.0] * len(scene.moving) for _ in range(3))
    for thruster in scene.thrusters:
        row, mass, inertia = _inverse(scene, thruster.body)
        force = jnp.clip(action[thruster.action], 0.0, 1.0)
        force = force * (thruster.power * scene.params.base_thruster_power * scene.params.dt)
        along, across = np.cos(thruster.angle), np.sin(thruster.angle)
        x, y = cos[row] * along - sin[row] * across, sin[row] * along + cos[row] * across
        # In the body's frame the lever is constant.
        lever = thruster.arm[0] * across - thruster.arm[1] * along
        vx[row], vy[row] = vx[row] + mass * x * force, vy[row] + mass * y * force
        spin[row] = spin[row] + inertia * lever * force
    return motion._replace(
        vx=motion.vx + _stack(vx, motion),
        vy=motion.vy + _stack(vy, motion),
        spin=motion.spin + _stack(spin, motion),
    )


def _stack(values: list[Row], motion: Motion) -> Float[Array, "n b"]:
    return jnp.stack([jnp.broadcast_to(jnp.asarray(value, jnp.float32), motion.x.shape[-1:]) for value in values])


def _inverse(scene: Scene, body: int) -> tuple[int, float, float]:
    """A body's row (-1 if it never moves), inverse mass and inverse inertia."""
    bodies = scene.bodies
    return int(bodies.row[body]), float(bodies.inverse_mass[body]), float(bodies.inverse_inertia[body])


def _value(scene: Scene, body: int, moving: Float[Array, "n b"], still: np.ndarray) -> Row:
    row = int(scene.bodies.row[body])
    return moving[row] if row >= 0 else float(still[body])


def _state(scene: Scene, bodies: Bodies, body: int) -> Motion:
    """One body's motion: rows, or constants where it never moves."""
    row = int(scene.bodies.row[body])
    if row >= 0:
        return Motion(*(leaf[row] for leaf in bodies))
    x, y = scene.bodies.position[body]
    return Motion(float(x), float(y), 0.0, 0.0, 0.0)
