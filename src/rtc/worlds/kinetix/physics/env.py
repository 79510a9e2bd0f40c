"""A level behind the Environment interface, with the specialised step."""

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from rtc.control.environment import Transition
from rtc.worlds.kinetix.physics import geometry, observation, step
from rtc.worlds.kinetix.physics.scene import Scene
from rtc.worlds.kinetix.physics.step import PhysicsState
from rtc.worlds.kinetix.starts import Starts, perturbed


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["start_noise"], meta_fields=["scene", "entries", "starts"]
)
@dataclass(frozen=True)
class FastEnv:
    """A batch of one level. Everything about the level is a constant of the compiled program.

    Attributes:
        scene: the level.
        entries: entries of the full observation to observe; None for all of them.
        starts: what perturbed start states are made from; None for the level's one start state.
        start_noise: scale of the perturbation (`rtc.worlds.kinetix.starts`); None without `starts`.
    """

    scene: Scene
    entries: tuple[int, ...] | None = None
    starts: Starts | None = None
    start_noise: float | Float[Array, ""] | None = None

    @property
    def obs_dim(self) -> int:
        return len(self.scene.layout.constant if self.entries is None else self.entries)

    @property
    def action_dim(self) -> int:
        sizes = self.scene.static_params
        return sizes.num_motor_bindings + sizes.num_thruster_bindings

    @property
    def max_timesteps(self) -> int:
        return self.scene.params.max_timesteps

    @property
    def robot(self) -> Bool[Array, " o"]:
        """Which observed entries are those of the robot's own bodies: that move, and have no role in the task."""
        mask = self.scene.layout.robot
        return jnp.asarray(mask if self.entries is None else mask[list(self.entries)])

    def reset(self, keys: Key[Array, " b"]) -> tuple[PhysicsState, Float[Array, "b o"]]:
        """The level's start state, once per key, perturbed by it where there is start noise."""
        state = step.start(self.scene, len(keys))
        if self.starts is not None:
            state = step.moved_to(self.scene, state, perturbed(self.starts, self.start_noise, keys))
        return state, self._observe(state)

    def step(self, state: PhysicsState, action: Float[Array, "b a"]) -> tuple[PhysicsState, Transition]:
        """One control tick; actions are clipped to their range, and nothing is reset at an episode's end."""
        state, reward, done, solved, distance = step.tick(self.scene, state, action.T)
        finite = functools.reduce(
            jnp.logical_and, [jnp.isfinite(leaf).all(axis=0) for leaf in (*state.motion, state.angle)]
        )
        return state, Transition(self._observe(state), reward, done, solved, finite, distance)

    def observing(self, entries: tuple[int, ...]) -> "FastEnv":
        """The same environment with only these entries in its observations."""
        return dataclasses.replace(self, entries=tuple(int(entry) for entry in entries))

    def select(self, mask: Bool[Array, " b"], on_true: PhysicsState, on_false: PhysicsState) -> PhysicsState:
        """`on_true` where `mask`, else `on_false`, per environment."""
        return jax.tree.map(lambda x, y: jnp.where(mask, x, y), on_true, on_false)

    def poses(self, state: PhysicsState) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Position [b, bodies, 2] and rotation [b, bodies] of the polygons, then of the circles."""
        bodies, split = self.scene.bodies, self.scene.num_polygons
        batch, moving = state.angle.shape[-1], self.scene.moving

        def everywhere(still: np.ndarray, values: Array) -> Array:
            still = jnp.broadcast_to(jnp.asarray(still, jnp.float32), (batch, *still.shape))
            return still.at[:, moving].set(values)

        position = everywhere(bodies.position, jnp.stack([state.motion.x, state.motion.y], axis=-1).swapaxes(0, 1))
        rotation = everywhere(bodies.angle, state.angle.T)
        return (position[:, :split], rotation[:, :split]), (position[:, split:], rotation[:, split:])

    def from_stock(self, state: Any) -> PhysicsState:
        """The state of a batch of stock environments of this level, to go on from there."""
        return step.from_stock(self.scene, state)

    def _observe(self, state: PhysicsState) -> Float[Array, "b o"]:
        motion = state.motion
        values = observation.varying(*motion, *geometry.cos_sin(state.angle))
        return observation.assemble(values, self.scene.layout, self.entries)
