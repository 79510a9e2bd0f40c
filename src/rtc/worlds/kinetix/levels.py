"""The benchmark's levels: world files to levels, and levels to environments.

Kinetix (Matthews et al. 2025, arXiv 2410.23208) simulates rigid bodies with jax2d. In the benchmark one control tick is
two physics steps of 1/60 s (33.3 ms) and an episode lasts at most 256 ticks; the observation is Kinetix's flat symbolic
one (679 numbers); the six actions are four motors in [-1, 1] and two thrusters in [0, 1].
"""

import functools
import hashlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np
from jaxtyping import Array
from kinetix.environment.env_state import EnvState

from rtc.control.environment import Environment
from rtc.shared import paths
from rtc.shared.validation import require_choice, require_float
from rtc.worlds.kinetix import starts
from rtc.worlds.kinetix.assembly import LARGE as LARGE
from rtc.worlds.kinetix.assembly import assemble, read_sources
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
# What the dumps of two levels say and the published code, which reads them with Kinetix's importer, does not simulate.
VARIANTS: tuple[str, ...] = ("h17_unicycle_low_gravity", "catcher_v3_open_arm")
SHIPPED = LEVEL_NAMES + VARIANTS


@dataclass(frozen=True, eq=False)
class Level:
    """A level's start state and the parameters of its simulation.

    Levels of one name and one content are equal, wherever their files are.

    Attributes:
        name: the world file's name without ".json".
        path: the world file, absolute.
        sha256: of the world file's content and, where it changes a shipped level, of that level's.
        start: the one start state.
        static_params: sizes, frame skip and solver settings.
        env_params: physics constants and time limit.
        bound_actions: which of the six action dimensions drive anything in this level.
    """

    kind: ClassVar[str] = "kinetix"

    name: str
    path: Path
    sha256: str
    start: EnvState
    static_params: StaticParams
    env_params: Params
    bound_actions: np.ndarray

    @functools.cached_property
    def identity(self) -> tuple[str, str, str]:
        """Name, hash of the file's content, and hash of what is simulated: `replace` may have changed it."""
        digest = hashlib.sha256(repr((self.static_params, self.env_params)).encode())
        for leaf in jax.tree.leaves(self.start):
            digest.update(np.asarray(leaf).tobytes())
        return self.name, self.sha256, digest.hexdigest()

    @property
    def tick_s(self) -> float:
        """Seconds per control tick."""
        return self.static_params.frame_skip * self.env_params.dt

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Level) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)


def resolve(level: str | Path) -> Path:
    """The world file that is meant, as an absolute path.

    A name always means the shipped level. A path means that file; a relative one that does not exist below the current
    folder is looked up among the shipped ones, so that the published "worlds/l/grasp_easy.json" works everywhere.

    Raises:
        ValueError: an unknown level name.
        FileNotFoundError: no such file.
    """
    text = paths.reading(level)[1]
    if paths.is_name(level):
        require_choice("level", text, [*SHIPPED, "a path to a .json file"])
        return paths.level_file(paths.shipped(f"worlds/l/{text}.json"))
    for path in (Path(text), paths.shipped(text)):
        if path.is_file():
            return paths.level_file(path)
    raise FileNotFoundError(f"world file {text!r} exists neither below {Path.cwd()} nor among the levels of exp-delta")


def load(level: str | Path) -> Level:
    """Builds a level from its name ("grasp_easy"), a world file or a full Kinetix level (an editor's export).

    A full level keeps its own gravity, collisions, physics constants, frame skip, solver settings and time limit;
    "importer:<file>" reads it as Kinetix's importer does, which drops the first two and the last. Where that makes a
    difference and no rules were given, a warning says which reading was taken; so it does for a file that has a shipped
    level's name and another content.

    Raises:
        ValueError: an unknown name or a faulty file, or rules for something that is no dump; names the fix.
        FileNotFoundError: no such file.
    """
    path, rules = resolve(level), paths.reading(level)[0]
    name, world = paths.level_name(path), assemble(path, rules)
    if world.otherwise and rules is None:
        warnings.warn(
            f"{path} is read as it is written (world_rules='dump'); Kinetix's importer would give it "
            f"{', '.join(world.otherwise)} (world_rules='importer')",
            stacklevel=2,
        )
    sha256 = _sha256(world.sources)
    if name in SHIPPED and path != resolve(name) and sha256 != _sha256(read_sources(resolve(name))):
        warnings.warn(f"{path} has the name of the shipped level {name!r} and another content", stacklevel=2)
    return Level(
        name=name,
        path=path,
        sha256=sha256,
        start=world.start,
        static_params=world.static_params,
        env_params=world.env_params,
        bound_actions=_bound_actions(world.start),
    )


def _sha256(sources: list) -> str:
    return hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()


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
LARGEST_START_NOISE = 10.0


def make_env(level: Level, physics: str = "fast", start_noise: float = 0.0) -> Environment:
    """The level as a batched environment.

    Args:
        level: from `load`.
        physics: "fast" for the step specialised to this level (`.physics`), "stock" for Kinetix's own one. A level
            that cannot be specialised runs on the stock engine, with a warning that says why.
        start_noise: how far an episode's key perturbs its start state (`.starts` has the units); 0 for the level's
            one start state, the published benchmark.

    Raises:
        ValueError: unknown physics, or a start noise below 0 or above LARGEST_START_NOISE.
    """
    require_choice("physics", physics, PHYSICS)
    require_float("start_noise", start_noise, low=0, high=LARGEST_START_NOISE)
    noise = {}
    if start_noise:
        noise = {"starts": starts.prepare(level.start, level.identity), "start_noise": float(start_noise)}
    # Made here and not on first use: inside a sharded program its tables would belong to that program's devices.
    simulator(level.static_params, level.env_params)
    if physics == "fast":
        try:
            return FastEnv(_scene(level), **noise)
        except Unsupported as problem:
            warnings.warn(f"level {level.name} runs on the stock engine, which is slower: {problem}", stacklevel=2)
    return KinetixEnv(level.start, level.static_params, level.env_params, **noise)


def _scene(level: Level) -> Scene:
    touching, obs = start_facts(level.static_params, level.env_params)(level.start)
    return build_scene(level.start, level.static_params, level.env_params, touching, np.asarray(obs))
