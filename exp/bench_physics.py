"""How fast the specialised physics is, against Kinetix's own step, level by level; writes the table.

Three programs per level, with the same random actions and episodes that start over: Kinetix as shipped (one JAX
device, `vmap` over environments), the same divided over one device per core, and the specialised step divided over
those. They alternate in one process, so that a drift of the machine's speed hits all of them; medians count.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pandas as pd
from jax.sharding import Mesh, PartitionSpec

from rtc import cli, levels, provenance, report, results, runtime
from rtc.environment import Environment


@dataclass(frozen=True)
class Arguments:
    """Command line of bench_physics.

    Attributes:
        levels: levels to measure.
        stock_envs: environments at a time of the stock engine, over all devices.
        envs: environments at a time of the specialised step, per device.
        stock_ticks: control ticks per run of the stock engine.
        ticks: control ticks per run of the specialised step.
        repeats: runs of each program, after one that is not counted.
        output: the table.
    """

    levels: tuple[str, ...] = levels.LEVEL_NAMES
    stock_envs: int = 256
    envs: int = 128
    stock_ticks: int = 8
    ticks: int = 256
    repeats: int = 5
    output: Path = Path("exp_runs/bench_physics.md")


def simulate(env: Environment, key: jax.Array, *, envs: int, ticks: int) -> tuple:
    """Random actions for `ticks` control ticks; returns what nothing in a tick can be left out for."""
    state, _ = env.reset(envs)
    start = state

    def tick(state, key):
        action = jax.random.uniform(key, (envs, env.action_dim), minval=-1.0)
        state, outcome = env.step(state, action)
        return env.select(outcome.done, start, state), (outcome.reward, outcome.done, outcome.obs.sum(axis=1))

    return jax.lax.scan(tick, state, jax.random.split(key.reshape(()), ticks))[1]


def on_all_devices(function: Callable) -> Callable:
    """The program once per device, each with its own key."""
    mesh = Mesh(np.array(jax.local_devices()), ("device",))
    split = PartitionSpec("device")
    specs = {"in_specs": (PartitionSpec(), split), "out_specs": PartitionSpec(None, "device")}
    return jax.shard_map(function, mesh=mesh, check_vma=False, **specs)


def keys() -> jax.Array:
    return jax.random.split(jax.random.key(0), jax.local_device_count())


def measure(name: str, args: Arguments, stock: tuple[Callable, Callable]) -> dict:
    """One row: environment steps per second of the three programs, and the ratios of their medians."""
    level = levels.load(name)
    stock_env, fast_env = levels.make_env(level, "stock"), levels.make_env(level)
    program = runtime.jit(on_all_devices(partial(simulate, envs=args.envs, ticks=args.ticks)))
    started = time.perf_counter()
    compiled = program.lower(fast_env, keys()).compile()
    compile_s = time.perf_counter() - started
    stock_steps, steps = args.stock_envs * args.stock_ticks, args.envs * args.ticks * jax.local_device_count()
    runs = {
        "stock": (partial(stock[0], stock_env, jax.random.key(0)), stock_steps),
        "stock, all cores": (partial(stock[1], stock_env, keys()), stock_steps),
        "specialised": (partial(compiled, fast_env, keys()), steps),
    }
    rates = {label: [] for label in runs}
    for _ in range(1 + args.repeats):
        for label, (run, count) in runs.items():
            started = time.perf_counter()
            jax.block_until_ready(run())
            rates[label].append(count / (time.perf_counter() - started))
    medians = {label: float(np.median(values[1:])) for label, values in rates.items()}
    row = {"level": name} | {f"{label} (steps/s)": round(rate) for label, rate in medians.items()}
    row["× stock"] = medians["specialised"] / medians["stock"]
    row["× stock, all cores"] = medians["specialised"] / medians["stock, all cores"]
    return row | {"compile (s)": round(compile_s, 1)}


def run(args: Arguments) -> None:
    started = time.time()
    whole = partial(simulate, envs=args.stock_envs, ticks=args.stock_ticks)
    share = partial(simulate, envs=args.stock_envs // jax.local_device_count(), ticks=args.stock_ticks)
    stock = jax.jit(whole), jax.jit(on_all_devices(share))
    rows = []
    for name in args.levels:
        rows.append(measure(name, args, stock))
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    medians = table[[column for column in table if column.startswith("×")]].median()
    summary = ", ".join(f"{column} {value:.0f}" for column, value in medians.items())
    text = f"# Simulation speed\n\n{__doc__}\n{report.format_table(table)}\n\nMedian over levels: {summary}.\n\n"
    results.atomic_write(args.output, text + provenance.footer(started))
    print(f"{report.format_table(table)}\n{summary}\nwrote {args.output}")


if __name__ == "__main__":
    cli.start(Arguments, run, __doc__)
