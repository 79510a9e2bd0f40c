"""The benchmark's levels: world files to Kinetix start states, and start states to environments.

Kinetix (Matthews et al. 2025, arXiv 2410.23208) simulates rigid bodies with jax2d. One control tick is two
physics steps of 1/60 s (33.3 ms); an episode lasts at most 256 ticks; the observation is Kinetix's flat
symbolic one (679 numbers); the six actions are four motors in [-1, 1] and two thrusters in [0, 1].
"""

import dataclasses
import functools
import hashlib
import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax2d.engine import (
    calc_inverse_inertia_circle,
    calc_inverse_inertia_polygon,
    calc_inverse_mass_circle,
    calc_inverse_mass_polygon,
    recompute_global_joint_positions,
)
from jaxtyping import Array
from kinetix.environment.env_state import EnvState
from kinetix.environment.utils import create_empty_env
from kinetix.util.saving import BASE_DIR, expand_env_state

from rtc.control.environment import Environment
from rtc.shared.paths import ROOT
from rtc.shared.validation import require_choice, unknown
from rtc.worlds.kinetix import dump as world_dump
from rtc.worlds.kinetix import scene
from rtc.worlds.kinetix import spec as world_spec
from rtc.worlds.kinetix.dump import Dump
from rtc.worlds.kinetix.physics import FastEnv, Scene, Unsupported, build_scene
from rtc.worlds.kinetix.physics.stock import KinetixEnv, Params, Poses, StaticParams, simulator, start_facts
from rtc.worlds.kinetix.shapes import shapes as shapes

LEVEL_NAMES: tuple[str, ...] = (
    "grasp_easy",
    "catapult",
    "cartpole_thrust",
    "hard_lunar_lander",
    "mjc_half_cheetah",
    "mjc_swimmer",
    "mjc_walker",
    "h17_unicycle",
    "chain_lander",
    "catcher_v3",
    "trampoline",
    "car_launch",
)
LARGE = StaticParams(
    num_polygons=world_spec.NUM_POLYGONS,
    num_circles=world_spec.NUM_CIRCLES,
    num_joints=world_spec.NUM_JOINTS,
    num_thrusters=world_spec.NUM_THRUSTERS,
    num_motor_bindings=world_spec.NUM_MOTOR_BINDINGS,
    num_thruster_bindings=world_spec.NUM_THRUSTER_BINDINGS,
    num_static_fixated_polys=world_spec.NUM_WALLS,
    frame_skip=2,
)


@dataclass(frozen=True)
class Level:
    """A level's start state and the parameters of its simulation.

    Attributes:
        name: the world file's name without ".json".
        path: the world file.
        sha256: of the world file's content and, where it changes a shipped level, of that level's.
        start: the one start state.
        static_params: sizes and frame skip; the same for all levels.
        env_params: physics constants and time limit.
        bound_actions: which of the six action dimensions drive anything in this level.
    """

    name: str
    path: Path
    sha256: str
    start: EnvState = field(compare=False)
    static_params: StaticParams
    env_params: Params
    bound_actions: np.ndarray = field(compare=False)


def resolve(level: str | Path) -> Path:
    """The world file of a level name or path; relative paths are looked up in the repository, then here.

    Raises:
        ValueError: an unknown level name.
        FileNotFoundError: no such file.
    """
    text = str(level)
    if "/" not in text and not text.endswith(".json"):
        if text not in LEVEL_NAMES:
            raise unknown("level", text, [*LEVEL_NAMES, "a path to a .json file"])
        text = f"worlds/l/{text}.json"
    for path in (Path(text), ROOT / text):
        if path.is_file():
            return path
    raise FileNotFoundError(f"world file {text!r} exists neither under {ROOT} nor under {Path.cwd()}")


def load(level: str | Path) -> Level:
    """Builds a level from its name ("grasp_easy"), a world file or a full Kinetix level (an editor's export).

    A full level keeps its own gravity and physics constants, but frame_skip is 2 and max_timesteps 256.

    Raises:
        ValueError: an unknown name or a faulty file; names file, field, value and fix.
        FileNotFoundError: no such file.
    """
    path = resolve(level)
    data = world_spec.read_json(path)
    sources = [data]
    if "env_state" in data:
        state, env_params = _dump_scene(world_dump.parse(data, path))
    else:
        spec = world_spec.parse(data, path)
        if spec.base is None:
            state, env_params = _empty_scene(), Params()
        else:
            shipped = _shipped(spec.base, path)
            sources.append(world_spec.read_json(shipped))
            state, env_params = _dump_scene(world_dump.parse(sources[-1], shipped))
        scene.write(state, spec, _inverse_mass)
    start = _complete(state)
    return Level(
        name=path.stem,
        path=path,
        sha256=hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest(),
        start=start,
        static_params=LARGE,
        env_params=env_params,
        bound_actions=_bound_actions(start),
    )


def _empty_scene() -> EnvState:
    empty = jax.tree.map(np.array, _empty_env())
    empty.polygon.active[:] = False
    empty.collision_matrix[:] = True
    return empty


def _shipped(base: str, spec_path: Path) -> Path:
    """The file of a level that the kinetix-env package ships, such as "l/grasp_easy"."""
    folder = Path(BASE_DIR)
    path = folder / f"{base}.json"
    if not path.is_file():
        known = [f"kinetix:{p.parent.name}/{p.stem}" for p in sorted(folder.glob("*/*.json"))]
        raise unknown(f"{spec_path}: base", f"kinetix:{base}", known)
    return path


def _dump_scene(dump: Dump) -> tuple[EnvState, Params]:
    """A dump's scene, grown to the large environment, with numpy leaves.

    Kinetix's own importer drops the dump's gravity and the collisions that it switches off; here both count.
    Contact impulses start at zero, as there.
    """

    def column(kind: str, name: str, dtype: Any, default: Any = None) -> np.ndarray:
        return np.array(dump.column(kind, name, default), dtype)

    def stack(kind: str) -> Any:
        template = getattr(empty, kind)
        leaves = {f.name: getattr(template, f.name) for f in dataclasses.fields(template)}
        columns = {name: column(kind, name, leaf.dtype) for name, leaf in leaves.items()}
        # A kind without slots still has its trailing axes.
        return type(template)(**{k: np.reshape(v, (len(v), *leaves[k].shape[1:])) for k, v in columns.items()})

    empty = jax.tree.map(np.array, _empty_env())
    small = empty.replace(
        **{kind: stack(kind) for kind in dump.rows},
        gravity=np.array(dump.gravity, np.float32),
        motor_bindings=column("joint", "motor_binding", np.int32),
        motor_auto=column("joint", "motor_auto", bool, default=False),
        thruster_bindings=column("thruster", "thruster_binding", np.int32),
        polygon_shape_roles=column("polygon", "role", np.int32),
        circle_shape_roles=column("circle", "role", np.int32),
        polygon_densities=column("polygon", "density", np.float32),
        circle_densities=column("circle", "density", np.float32),
        polygon_highlighted=column("polygon", "highlighted", bool, default=False),
        circle_highlighted=column("circle", "highlighted", bool, default=False),
    )
    state = jax.tree.map(np.array, _expand(small))
    state.collision_matrix[:] = True
    if dump.collision_matrix is not None:
        polygons, circles = len(small.polygon.active), len(small.circle.active)
        slots = np.r_[:polygons, LARGE.num_polygons : LARGE.num_polygons + circles]
        state.collision_matrix[np.ix_(slots, slots)] = dump.collision_matrix
    return state, Params(**dump.env_params)


def _inverse_mass(bodies: Any, slot: int, density: float) -> tuple[float, float]:
    """Inverse mass (1/kg) and inertia (1/(kg m^2)) by jax2d's formulas."""
    if bodies.n_vertices[slot] == 0:
        circle = bodies.radius[slot], density
        return calc_inverse_mass_circle(*circle), calc_inverse_inertia_circle(*circle)
    return _polygon_inverse_mass(bodies.vertices[slot], bodies.n_vertices[slot], density)


@jax.jit
def _polygon_inverse_mass(vertices: Array, n_vertices: Array, density: Array) -> tuple[Array, Array]:
    polygon = vertices, n_vertices, LARGE, density
    return calc_inverse_mass_polygon(*polygon)[0], calc_inverse_inertia_polygon(*polygon)


@jax.jit
def _empty_env() -> EnvState:
    return create_empty_env(LARGE)


@jax.jit
def _expand(state: EnvState) -> EnvState:
    return expand_env_state(state, LARGE)


@jax.jit
def _complete(state: EnvState) -> EnvState:
    """Adds what follows from the rest: collisions of jointed bodies, contact impulses, cached positions."""
    state = jax.tree.map(jnp.asarray, state)
    expanded = expand_env_state(state, LARGE)
    state = expanded.replace(collision_matrix=expanded.collision_matrix & state.collision_matrix)
    state = recompute_global_joint_positions(state, LARGE)
    return state.replace(timestep=jnp.int32(0), last_distance=jnp.float32(-1.0))


def _bound_actions(state: EnvState) -> np.ndarray:
    joint, thruster = state.joint, state.thruster
    driven = joint.active & joint.motor_on & ~joint.is_fixed_joint & ~state.motor_auto
    bound = np.zeros(LARGE.num_motor_bindings + LARGE.num_thruster_bindings, bool)
    bound[np.asarray(state.motor_bindings)[np.asarray(driven)]] = True
    bound[LARGE.num_motor_bindings + np.asarray(state.thruster_bindings)[np.asarray(thruster.active)]] = True
    return bound


@functools.lru_cache(maxsize=64)
def varying_observation_entries(level: Level) -> np.ndarray:
    """Sorted indices of the observation entries that can change in this level; the others are constant.

    Found by moving every movable body at random: joints, thrusters, outlines, masses and gravity keep their
    values throughout an episode.
    """
    samples = 16
    rng = np.random.default_rng(0)

    def scatter(bodies: Any) -> Any:
        def jitter(leaf: Array, free: Array) -> Array:
            noise = rng.uniform(-1, 1, (samples, *leaf.shape)).astype(np.float32)
            return leaf + noise * free.reshape(-1, *[1] * (leaf.ndim - 1))

        turns = (bodies.inverse_inertia != 0) | (bodies.angular_velocity != 0)
        moves = (bodies.inverse_mass != 0) | (bodies.velocity != 0).any(axis=1)
        return {
            "position": jitter(bodies.position, moves),
            "velocity": jitter(bodies.velocity, moves),
            "rotation": jitter(bodies.rotation, turns),
            "angular_velocity": jitter(bodies.angular_velocity, turns),
        }

    def observe(polygon: Any, circle: Any) -> Array:
        start = level.start
        state = start.replace(polygon=start.polygon.replace(**polygon), circle=start.circle.replace(**circle))
        return simulator(level.static_params, level.env_params).get_obs(state)

    obs = np.asarray(jax.jit(jax.vmap(observe))(scatter(level.start.polygon), scatter(level.start.circle)))
    entries = np.flatnonzero((obs != obs[0]).any(axis=0))
    entries.flags.writeable = False
    return entries


def at_poses(level: Level, poses: Poses) -> EnvState:
    """The level's start state with its bodies where `KinetixEnv.poses` found them, for one environment."""
    moved = [
        bodies.replace(position=position, rotation=rotation)
        for bodies, (position, rotation) in zip((level.start.polygon, level.start.circle), poses, strict=True)
    ]
    return level.start.replace(polygon=moved[0], circle=moved[1])


PHYSICS = ("fast", "stock")


def make_env(level: Level, physics: str = "fast") -> Environment:
    """The level as a batched environment.

    Args:
        level: from `load`.
        physics: "fast" for the step specialised to this level (`.physics`), "stock" for Kinetix's own one. A level
            that cannot be specialised runs on the stock engine, with a warning that says why.

    Raises:
        ValueError: unknown physics.
    """
    require_choice("physics", physics, PHYSICS)
    # Made here and not on first use: inside a sharded program its tables would belong to that program's devices.
    simulator(level.static_params, level.env_params)
    if physics == "fast":
        try:
            return FastEnv(_scene(level))
        except Unsupported as problem:
            warnings.warn(f"level {level.name} runs on the stock engine, which is slower: {problem}", stacklevel=2)
    return KinetixEnv(level.start, level.static_params, level.env_params)


def _scene(level: Level) -> Scene:
    touching, obs = start_facts(level.static_params, level.env_params)(level.start)
    return build_scene(level.start, level.static_params, level.env_params, touching, np.asarray(obs))
