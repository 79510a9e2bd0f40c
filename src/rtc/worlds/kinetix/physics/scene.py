"""What is constant in a level, as numpy tables: bodies, pairs that can touch, joints, thrusters.

Bodies are numbered as in Kinetix: polygons first, then circles. Only bodies of finite mass move; they have a *row*
in the simulation's arrays, in the order of their numbers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rtc.worlds.kinetix.physics import observation


@dataclass(frozen=True)
class Bodies:
    """All bodies of the level, one entry per body number.

    Attributes:
        row: row of a moving body; -1 for one that never moves.
        position: of the start, metres.
        angle: of the start, radians.
        half: half extents of a rectangle in its own frame, metres.
        centre: a rectangle's centre in its own frame (walls are not centred on their position), metres.
        first_face: where a rectangle's outline starts: 0 top, 1 right, 2 bottom, 3 left; then clockwise.
        radius: of a circle, metres.
        inverse_mass: 1/kg; 0 where the body never moves.
        inverse_inertia: 1/(kg m²).
    """

    row: np.ndarray
    position: np.ndarray
    angle: np.ndarray
    half: np.ndarray
    centre: np.ndarray
    first_face: np.ndarray
    radius: np.ndarray
    inverse_mass: np.ndarray
    inverse_inertia: np.ndarray


@dataclass(frozen=True)
class Pairs:
    """The pairs of one kind (polygons, circle and polygon, or circles) in the stock engine's order.

    Attributes:
        a: body number of each pair's first body, for all of the stock engine's pairs.
        b: of its second body.
        batches: batches that the stock solver divides the pairs into.
        batch_size: pairs in a batch.
        always: activity of the pairs between bodies that never move.
        live: pairs whose activity changes: both bodies exist, may collide, and one of them moves.
        solid: positions within `live` of the pairs that exchange impulses; joined bodies do not.
        rows_a: rows of the moving bodies that come first in a solid pair.
        rows_b: rows of those that come second.
        friction: Coulomb coefficient per solid pair.
        bounce: restitution per solid pair.
        keeps: False for the solid pair, if any, whose accumulated impulse the stock engine clears after every batch.
        goal: positions within `live` of pairs whose contact is the goal.
        fail: positions within `live` of pairs whose contact is a failure.
        measured: pairs (stock numbers) whose distance counts as distance to the goal.
    """

    a: np.ndarray
    b: np.ndarray
    batches: int
    batch_size: int
    always: np.ndarray
    live: np.ndarray
    solid: np.ndarray
    rows_a: np.ndarray
    rows_b: np.ndarray
    friction: np.ndarray
    bounce: np.ndarray
    keeps: np.ndarray
    goal: np.ndarray
    fail: np.ndarray
    measured: np.ndarray

    @property
    def solid_a(self) -> np.ndarray:
        """First body of each solid pair."""
        return self.a[self.live[self.solid]]

    @property
    def solid_b(self) -> np.ndarray:
        """Second body of each solid pair."""
        return self.b[self.live[self.solid]]


@dataclass(frozen=True)
class Joint:
    """A joint that can act.

    Attributes:
        number: in the stock engine's list.
        a, b: body numbers.
        arm_a, arm_b: anchor in each body's frame, metres.
        rotation: angle between the bodies at rest, radians.
        fixed: holds that angle.
        limits: smallest and largest relative angle, or None.
        motor: the action that drives it ("auto" always runs at full speed), or None without motor.
        speed: of the motor, relative to the base speed.
        power: of the motor, relative to the base power.
    """

    number: int
    a: int
    b: int
    arm_a: tuple[float, float]
    arm_b: tuple[float, float]
    rotation: float
    fixed: bool
    limits: tuple[float, float] | None
    motor: int | str | None
    speed: float
    power: float


@dataclass(frozen=True)
class Thruster:
    """A thruster on a moving body.

    Attributes:
        body: body number.
        action: the action that drives it.
        arm: where it sits in the body's frame, metres.
        angle: its direction in the body's frame, radians.
        power: relative to the base power.
    """

    body: int
    action: int
    arm: tuple[float, float]
    angle: float
    power: float


@dataclass(frozen=True, eq=False)
class Scene:
    """A level as constants of the compiled program. Scenes of the same start state and parameters are equal.

    Attributes:
        digest: hash of everything that the scene was made from.
        bodies: outlines, masses and start poses.
        moving: body numbers by row.
        velocity: start velocities by row, (vx, vy, omega).
        rectangles: pairs of polygons.
        circle_rectangle: circle (first) and polygon pairs.
        circles: pairs of circles.
        joints: in the stock engine's order.
        thrusters: in the stock engine's order.
        gravity: m/s².
        decided: whether bodies that never move touch, at every tick, as a goal and as a failure.
        layout: which entries of the observation vary.
        params: the stock engine's physics constants.
        static_params: the stock engine's sizes and frame skip.
        num_polygons: body numbers below this are polygons.
    """

    digest: str
    bodies: Bodies
    moving: np.ndarray
    velocity: np.ndarray
    rectangles: Pairs
    circle_rectangle: Pairs
    circles: Pairs
    joints: tuple[Joint, ...]
    thrusters: tuple[Thruster, ...]
    gravity: tuple[float, float]
    decided: tuple[bool, bool]
    layout: observation.Layout
    params: Any
    static_params: Any
    num_polygons: int

    @property
    def kinds(self) -> tuple[Pairs, Pairs, Pairs]:
        """The three kinds of pairs, in the order in which the solver visits them."""
        return self.rectangles, self.circle_rectangle, self.circles

    @property
    def colliding(self) -> tuple[int, ...]:
        """Positions within `kinds` of those with solid pairs."""
        return tuple(k for k, pairs in enumerate(self.kinds) if len(pairs.solid))

    @property
    def inverse_mass(self) -> np.ndarray:
        """By row, as a column; 1/kg."""
        return self.bodies.inverse_mass[self.moving][:, None].astype(np.float32)

    @property
    def inverse_inertia(self) -> np.ndarray:
        """By row, as a column; 1/(kg m²)."""
        return self.bodies.inverse_inertia[self.moving][:, None].astype(np.float32)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scene) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)
