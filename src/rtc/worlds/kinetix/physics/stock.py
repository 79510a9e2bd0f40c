"""A batch of one level under Kinetix's own physics, behind the Environment interface."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax2d.engine import recompute_global_joint_positions
from jaxtyping import Array, Bool, Float, Key
from kinetix.environment import env as kinetix_env
from kinetix.environment.env_state import EnvParams, EnvState, StaticEnvParams
from kinetix.environment.spaces import ActionType, ObservationType

from rtc.control.environment import Transition
from rtc.worlds.kinetix.physics.observation import robot_mask
from rtc.worlds.kinetix.starts import Bodies, Starts, perturbed

# Position and rotation of the polygons, then of the circles.
Poses = tuple[tuple[Array, Array], tuple[Array, Array]]


# Kinetix's own classes compare only the fields of their jax2d base class, so two environments that differ in
# max_timesteps would count as equal and share a compiled program; these compare every field.
@struct.dataclass
class StaticParams(StaticEnvParams):
    """Kinetix's static parameters, compared by all fields."""


@struct.dataclass
class Params(EnvParams):
    """Kinetix's parameters, compared by all fields."""


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["start", "start_noise"],
    meta_fields=["static_params", "env_params", "entries", "starts"],
)
@dataclass(frozen=True)
class KinetixEnv:
    """A batch of one level under Kinetix's own physics.

    Levels differ only in the leaves of `start`, so that they share compiled programs; those with start noise do not.

    Attributes:
        start: the start state.
        static_params: sizes, frame skip and solver settings.
        env_params: physics constants and time limit.
        entries: entries of the full observation to observe; None for all of them.
        starts: what perturbed start states are made from; None for the one start state.
        start_noise: scale of the perturbation (`rtc.worlds.kinetix.starts`); None without `starts`.
    """

    start: EnvState
    static_params: StaticParams
    env_params: Params
    entries: tuple[int, ...] | None = None
    starts: Starts | None = None
    start_noise: float | Float[Array, ""] | None = None

    @property
    def obs_dim(self) -> int:
        size = self._simulator.observation_space(self.env_params).shape[0]
        return size if self.entries is None else len(self.entries)

    @property
    def action_dim(self) -> int:
        return self.static_params.num_motor_bindings + self.static_params.num_thruster_bindings

    @property
    def max_timesteps(self) -> int:
        return self.env_params.max_timesteps

    @property
    def robot(self) -> Bool[Array, " o"]:
        """Which observed entries are those of the robot's own bodies: that move, and have no role in the task."""
        polygon, circle = self.start.polygon, self.start.circle
        roles = jnp.concatenate([self.start.polygon_shape_roles, self.start.circle_shape_roles])
        moves = jnp.concatenate([bodies.active & (bodies.inverse_mass != 0) for bodies in (polygon, circle)])
        size = self._simulator.observation_space(self.env_params).shape[0]
        mask = robot_mask(moves & (roles == 0), self.static_params, size)
        return mask if self.entries is None else mask[np.asarray(self.entries)]

    @property
    def _simulator(self) -> kinetix_env.KinetixEnv:
        return simulator(self.static_params, self.env_params)

    def reset(self, keys: Key[Array, " b"]) -> tuple[EnvState, Float[Array, "b o"]]:
        """The level's start state, once per key, perturbed by it where there is start noise."""
        state = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(keys), *jnp.shape(leaf))), self.start)
        if self.starts is not None:
            state = self.moved_to(state, perturbed(self.starts, self.start_noise, keys))
        return state, self._observed(jax.vmap(self._simulator.get_obs)(state))

    def step(self, state: EnvState, action: Float[Array, "b a"]) -> tuple[EnvState, Transition]:
        """One control tick. Kinetix clips actions to their range; nothing is reset at an episode's end."""

        def tick(state: EnvState, action: Float[Array, " a"]) -> tuple:
            return self._simulator.step_env(None, state, action, self.env_params)

        obs, state, reward, done, info = jax.vmap(tick)(state, action)
        solved = info["GoalR"] & done
        return state, Transition(self._observed(obs), reward, done, solved, is_finite(state), info["distance"])

    def observing(self, entries: tuple[int, ...]) -> "KinetixEnv":
        """The same environment with only these entries in its observations."""
        return dataclasses.replace(self, entries=tuple(int(entry) for entry in entries))

    def _observed(self, obs: Float[Array, "b full"]) -> Float[Array, "b o"]:
        return obs if self.entries is None else obs[:, np.asarray(self.entries)]

    def moved_to(self, state: EnvState, bodies: Bodies) -> EnvState:
        """The batch with all bodies at other places, with other velocities."""
        names = ("position", "rotation", "velocity", "angular_velocity")
        polygons = self.static_params.num_polygons
        state = state.replace(
            polygon=state.polygon.replace(**{n: leaf[:, :polygons] for n, leaf in zip(names, bodies, strict=True)}),
            circle=state.circle.replace(**{n: leaf[:, polygons:] for n, leaf in zip(names, bodies, strict=True)}),
        )
        return jax.vmap(lambda one: recompute_global_joint_positions(one, self.static_params))(state)

    def poses(self, state: EnvState) -> Poses:
        """Where the bodies are."""
        return tuple((bodies.position, bodies.rotation) for bodies in (state.polygon, state.circle))

    def select(self, mask: Bool[Array, " b"], on_true: EnvState, on_false: EnvState) -> EnvState:
        """`on_true` where `mask`, else `on_false`, per environment."""
        return jax.tree.map(lambda x, y: jnp.where(mask.reshape(-1, *[1] * (jnp.ndim(x) - 1)), x, y), on_true, on_false)


@functools.lru_cache
def simulator(static_params: StaticParams, env_params: Params) -> kinetix_env.KinetixEnv:
    """Kinetix's environment with these parameters: continuous actions, flat symbolic observations."""
    with jax.ensure_compile_time_eval():  # its index tables outlive the trace that may have asked for them
        return kinetix_env.make_kinetix_env(
            ActionType.CONTINUOUS,
            ObservationType.SYMBOLIC_FLAT,
            None,
            env_params,
            static_params,
            auto_reset=False,
        )


def is_finite(state: EnvState) -> Bool[Array, " b"]:
    """True where positions, rotations and velocities of all bodies are finite, for a batch of states."""
    moving = [
        getattr(bodies, name)
        for bodies in (state.polygon, state.circle)
        for name in ("position", "rotation", "velocity", "angular_velocity")
    ]
    return functools.reduce(
        jnp.logical_and, [jnp.isfinite(leaf).reshape(leaf.shape[0], -1).all(axis=1) for leaf in moving]
    )


@functools.lru_cache
def start_facts(static_params: StaticParams, env_params: Params) -> Callable:
    """Compiled: which pairs of each kind touch in a state, and its observation."""
    kinetix = simulator(static_params, env_params)

    @jax.jit
    def facts(state: EnvState) -> tuple:
        rectangles, mixed, circles = kinetix.physics_engine.calculate_collision_manifolds(state)
        return (rectangles.active[:, 0], mixed.active, circles.active), kinetix.get_obs(state)

    return facts
