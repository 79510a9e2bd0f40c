"""Demonstrations of levels with two routes: a scripted expert, which takes either, under noise.

The format is that of `rtc.training.demonstrations`. Labels are the expert's actions without noise in the states that
noise leads to (DART, arXiv 1703.09327).
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rtc.control.environment import Environment, noisy_action, start_keys
from rtc.shared import provenance, runtime
from rtc.shared.validation import require_choice, require_float, require_int
from rtc.training import demonstrations, runs, scripted
from rtc.training.demonstrations import Demonstrations
from rtc.worlds.kinetix import levels
from rtc.worlds.kinetix.levels import Level
from rtc.worlds.kinetix.routes import ROUTES, Routes

# A damped spring to where the route passes the obstacle, in 1/m and s/m of a thruster's full push.
STIFFNESS, DAMPING = 2.0, 1.0


@dataclasses.dataclass(frozen=True)
class RecordingConfig:
    """How much to record and how.

    Attributes:
        episodes: episodes; half of them take each route.
        seed: seed of starts, routes and noise.
        noise: standard deviation of the noise on actions.
        start_noise: perturbation of the start state, as of `EvalConfig`.
    """

    episodes: int = 400
    seed: int = 0
    noise: float = 0.1
    start_noise: float = 0.5

    def __post_init__(self):
        require_int("episodes", self.episodes, low=2)
        require_int("seed", self.seed, low=0)
        for name in ("noise", "start_noise"):
            require_float(name, getattr(self, name), low=0.0)


def expert(
    routes: Routes, action_dim: int, speed: Float[Array, " b"], way: Float[Array, " b"]
) -> Float[Array, "b {action_dim}"]:
    """Pushes the ball towards the x where a route passes the obstacle.

    Args:
        routes: of the level.
        action_dim: numbers of an action.
        speed: of the ball to the right, in m/s.
        way: how far to the right of the ball the route passes, in m.
    """
    push = jnp.clip(STIFFNESS * way - DAMPING * speed, -1, 1)
    action = jnp.zeros((len(way), action_dim)).at[:, routes.push_right].set(jnp.maximum(push, 0))
    return action.at[:, routes.push_left].set(jnp.maximum(-push, 0))


def record(level: Level, config: RecordingConfig) -> Demonstrations:
    """Runs the expert for whole episodes; failures are kept.

    Raises:
        ValueError: the level has no two routes.
    """
    require_choice("level with two routes", level.name, ROUTES)
    routes, entries = ROUTES[level.name], levels.varying_observation_entries(level)
    full = levels.make_env(level, start_noise=config.start_noise)
    sides = np.random.default_rng(config.seed).permutation(np.arange(config.episodes) % 2)
    target = jnp.asarray(np.where(sides == 1, routes.right, routes.left))
    env = full.observing(tuple(entries.tolist()))
    rows = jax.device_get(
        _episodes(env, level.tick_s, config.noise, target, jax.random.key(config.seed), routes=routes)
    )
    length = rows["done"].argmax(axis=1) + 1
    kept = np.arange(rows["done"].shape[1]) < length[:, None]
    fields = {name: np.asarray(values)[kept] for name, values in rows.items()}
    fields["expert"] = np.zeros(len(fields["done"]), np.int32)
    template = np.asarray(full.reset(start_keys(1))[1][0])
    how = runs.as_dict(config)
    facts = scripted.facts(level.name, level.sha256, expert.__name__, how, provenance.origin())
    facts |= demonstrations.counts(fields)
    return Demonstrations(**fields, template=template, entries=np.asarray(entries, np.int32), facts=facts)


def _run(env: Environment, tick_s: float, noise: float, target: Array, key: Array, routes: Routes) -> Any:
    """Rows of all ticks of all episodes, those after an episode's end too."""

    def ball(state: Any) -> Array:
        return env.poses(state)[1][0][:, routes.ball]

    def tick(carry: tuple, key: Array) -> tuple[tuple, dict[str, Array]]:
        state, obs, before = carry
        now = ball(state)
        label = expert(routes, env.action_dim, (now - before)[:, 0] / tick_s, target - now[:, 0])
        executed = noisy_action(key, label, noise)
        state, after = env.step(state, executed)
        row = {"obs": obs, "action": label, "other": executed}
        row |= {"done": after.done, "solved": after.solved, "finite": after.finite}
        return (state, after.obs, now), row

    first, ticks = jax.random.split(key)
    state, obs = env.reset(jax.random.split(first, len(target)))
    _, rows = jax.lax.scan(tick, (state, obs, ball(state)), jax.random.split(ticks, env.max_timesteps))
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), rows)


_episodes = runtime.jit(_run, static_argnames="routes")


def recorded(path: Path, level: Level, config: RecordingConfig, *, resume: bool) -> Demonstrations:
    """What an earlier run recorded with this configuration, or a new recording, which is written to `path`.

    Raises:
        ValueError: what is there was recorded otherwise, or the level has no two routes.
    """
    return scripted.recorded(path, level.sha256, runs.as_dict(config), lambda: record(level, config), resume=resume)
