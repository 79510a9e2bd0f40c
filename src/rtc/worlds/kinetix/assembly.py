"""Start states of levels from parsed world files and Kinetix dumps."""

import dataclasses
from collections.abc import Mapping
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

from rtc.shared.paths import WorldRules
from rtc.shared.validation import unknown
from rtc.worlds.kinetix import dump as dumps
from rtc.worlds.kinetix import scene, spec
from rtc.worlds.kinetix.dump import Dump
from rtc.worlds.kinetix.physics.stock import Params, StaticParams

LARGE = StaticParams(
    num_polygons=spec.NUM_POLYGONS,
    num_circles=spec.NUM_CIRCLES,
    num_joints=spec.NUM_JOINTS,
    num_thrusters=spec.NUM_THRUSTERS,
    num_motor_bindings=spec.NUM_MOTOR_BINDINGS,
    num_thruster_bindings=spec.NUM_THRUSTER_BINDINGS,
    num_static_fixated_polys=spec.NUM_WALLS,
    frame_skip=2,
)


@dataclasses.dataclass(frozen=True)
class Assembled:
    """What a world file describes.

    Attributes:
        start: the start state.
        static_params: sizes, frame skip and solver settings.
        env_params: physics constants and time limit.
        sources: the contents of the files that it was made from, and the rules where they matter.
        otherwise: of a dump, what the other rules would change, in words; empty where both agree.
    """

    start: EnvState
    static_params: StaticParams
    env_params: Params
    sources: list[Mapping[str, Any]]
    otherwise: tuple[str, ...] = ()


def read_sources(path: Path) -> list[dict[str, Any]]:
    """The contents of the files that make a level: its own, then that of the shipped level that it changes, if any.

    Raises:
        ValueError: a faulty file, or an unknown level to change.
        FileNotFoundError: no such file.
    """
    data = spec.read_json(path)
    base = None if "env_state" in data else spec.parse(data, path).base
    return [data] if base is None else [data, spec.read_json(_shipped(base, path))]


def assemble(path: Path, rules: WorldRules | None = None) -> Assembled:
    """Reads a world file, or a full Kinetix level.

    Args:
        path: the file.
        rules: how a dump is read, see `paths.WorldRules`; None reads it as it is written.

    Raises:
        ValueError: a faulty file, or rules for a file that is no dump; names file, field, value and fix.
        FileNotFoundError: no such file.
    """
    sources = read_sources(path)
    data = sources[0]
    if "env_state" in data:
        return _read_dump(dumps.parse(data, path), sources, rules)
    if rules is not None:
        raise ValueError(
            f"{path} is no Kinetix dump but a world file, which says itself what holds: world_rules={rules!r} is for "
            "dumps, so give importer:FILE to these alone"
        )
    parsed = spec.parse(data, path)
    if parsed.base is None:
        state, static_params, env_params = _empty_scene(), LARGE, Params()
    else:
        base = dumps.parse(sources[1], _shipped(parsed.base, path))
        state, static_params, env_params = _dump_scene(base)
    scene.write(state, parsed, _inverse_mass)
    return Assembled(_complete(state), static_params, env_params, sources)


def _read_dump(dump: Dump, sources: list[Mapping[str, Any]], rules: WorldRules | None) -> Assembled:
    chosen, other = dump, dumps.as_imported(dump)
    if rules == "importer":
        chosen, other = other, chosen
    (start, static_params, env_params), (else_start, _, else_params) = map(_completed, (chosen, other))
    otherwise = []
    if not np.array_equal(start.gravity, else_start.gravity):
        otherwise.append(f"gravity {tuple(round(float(g), 4) for g in else_start.gravity)} m/s^2")
    pairs = _colliding(else_start) ^ _colliding(start)
    if pairs.any():
        word = "colliding" if (_colliding(else_start) & pairs).any() else "passing through each other"
        otherwise.append(f"bodies {word} (pairs: {int(pairs.sum()) // 2})")
    if env_params.max_timesteps != else_params.max_timesteps:
        otherwise.append(f"a time limit of {else_params.max_timesteps} ticks")
    if rules == "importer" and otherwise:
        sources = [*sources, {"world_rules": rules}]
    return Assembled(start, static_params, env_params, sources, tuple(otherwise))


def _completed(dump: Dump) -> tuple[EnvState, StaticParams, Params]:
    state, static_params, env_params = _dump_scene(dump)
    return _complete(state), static_params, env_params


def _colliding(state: EnvState) -> np.ndarray:
    """Which pairs of active bodies collide."""
    active = np.concatenate([state.polygon.active, state.circle.active])
    return np.asarray(state.collision_matrix) & active[:, None] & active[None]


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


def _dump_scene(dump: Dump) -> tuple[EnvState, StaticParams, Params]:
    """A dump's scene, grown to the large environment, with numpy leaves, and the parameters of its simulation.

    Impulses start at zero.
    """

    def column(kind: str, name: str, dtype: Any) -> np.ndarray:
        return np.array(dump.column(kind, name), dtype)

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
        motor_auto=column("joint", "motor_auto", bool),
        thruster_bindings=column("thruster", "thruster_binding", np.int32),
        polygon_shape_roles=column("polygon", "role", np.int32),
        circle_shape_roles=column("circle", "role", np.int32),
        polygon_densities=column("polygon", "density", np.float32),
        circle_densities=column("circle", "density", np.float32),
        polygon_highlighted=column("polygon", "highlighted", bool),
        circle_highlighted=column("circle", "highlighted", bool),
    )
    state = jax.tree.map(np.array, _expand(small))
    state.collision_matrix[:] = True
    if dump.collision_matrix is not None:
        polygons, circles = len(small.polygon.active), len(small.circle.active)
        slots = np.r_[:polygons, LARGE.num_polygons : LARGE.num_polygons + circles]
        state.collision_matrix[np.ix_(slots, slots)] = dump.collision_matrix
    return state, LARGE.replace(**dump.static_params), Params(**dump.env_params)


def _inverse_mass(bodies: Any, slot: int, density: float, is_circle: bool) -> tuple[float, float]:
    """Inverse mass (1/kg) and inertia (1/(kg m^2)) by jax2d's formulas."""
    if is_circle:
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
    """Adds what follows from the rest: collisions of jointed bodies, impulses at rest, cached positions."""
    state = jax.tree.map(jnp.asarray, state)
    expanded = expand_env_state(state, LARGE)
    state = expanded.replace(collision_matrix=expanded.collision_matrix & state.collision_matrix)
    joint = state.joint
    at_rest = {name: jnp.zeros_like(getattr(joint, name)) for name in ("acc_impulse", "acc_r_impulse")}
    state = recompute_global_joint_positions(state.replace(joint=joint.replace(**at_rest)), LARGE)
    return state.replace(timestep=jnp.int32(0), last_distance=jnp.float32(-1.0))
