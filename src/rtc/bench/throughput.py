"""Simulation speed: random actions through an environment, on one device or divided over all of them."""

from collections.abc import Callable
from functools import partial

import jax
import numpy as np

from rtc.bench import timing
from rtc.control.environment import Environment, start_keys
from rtc.shared import devices, runtime
from rtc.shared.validation import require_multiple
from rtc.worlds.kinetix import levels
from rtc.worlds.kinetix.levels import Level


def simulate(env: Environment, key: jax.Array, *, envs: int, ticks: int) -> tuple:
    """Random actions for `ticks` control ticks; returns what nothing in a tick can be left out for."""
    state, _ = env.reset(start_keys(envs))
    start = state

    def tick(state, key):
        action = jax.random.uniform(key, (envs, env.action_dim), minval=-1.0)
        state, outcome = env.step(state, action)
        return env.select(outcome.done, start, state), (outcome.reward, outcome.done, outcome.obs.sum(axis=1))

    return jax.lax.scan(tick, state, jax.random.split(key.reshape(()), ticks))[1]


def on_all_devices(program: Callable) -> Callable:
    """`simulate` on every device, each with its own key."""
    return devices.on_all_devices(program, replicated=1, out_axis=1)


def keys() -> jax.Array:
    """One random key per device."""
    return jax.random.split(jax.random.key(0), jax.local_device_count())


class StockPrograms:
    """Kinetix's own step: `shipped` on one device with `vmap`, `divided` over all devices.

    Levels share the compiled programs.

    Args:
        envs: environments at a time, over all devices.
        ticks: control ticks per run.
    """

    def __init__(self, envs: int, ticks: int):
        count = jax.local_device_count()
        require_multiple("stock_envs", envs, count)
        self.steps = envs * ticks
        self.shipped = jax.jit(partial(simulate, envs=envs, ticks=ticks))
        self.divided = jax.jit(on_all_devices(partial(simulate, envs=envs // count, ticks=ticks)))


def compare(level: Level, stock: StockPrograms, envs: int, ticks: int, repeats: int) -> dict[str, float]:
    """Environment steps per second of Kinetix as shipped, the same on all cores, and the specialised step.

    The programs alternate; medians over `repeats` runs, after one that is not counted.

    Args:
        level: the level.
        stock: programs of the stock engine.
        envs: environments at a time of the specialised step, per device.
        ticks: control ticks per run of the specialised step.
        repeats: counted runs of each program.

    Returns:
        Rates, ratios of the rates, and seconds that the specialised step took to compile.
    """
    runtime.make_room()
    stock_env, fast_env = levels.make_env(level, "stock"), levels.make_env(level)
    program = runtime.jit(on_all_devices(partial(simulate, envs=envs, ticks=ticks)))
    compiled, compile_ms = timing.milliseconds(lambda: program.lower(fast_env, keys()).compile())
    steps = envs * ticks * jax.local_device_count()
    runs = {
        "stock": partial(stock.shipped, stock_env, jax.random.key(0)),
        "stock, all cores": partial(stock.divided, stock_env, keys()),
        "specialised": partial(compiled, fast_env, keys()),
    }
    steps_per_run = {"stock": stock.steps, "stock, all cores": stock.steps, "specialised": steps}
    spent = timing.in_turn(runs, repeats)
    medians = {label: float(np.median(1e3 * steps_per_run[label] / values)) for label, values in spent.items()}
    row = {f"{label} (steps/s)": round(rate) for label, rate in medians.items()}
    row["× stock"] = medians["specialised"] / medians["stock"]
    row["× stock, all cores"] = medians["specialised"] / medians["stock, all cores"]
    return row | {"compile (s)": round(compile_ms / 1e3, 1)}
