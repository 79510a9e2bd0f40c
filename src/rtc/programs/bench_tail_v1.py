"""Where the time of tail_v1 goes: one control tick of the closed loop, part by part, and the whole matrix.

The first table is measured in one process, the programs alternating; times are per slot and tick of one device. The
second runs step D in a process of its own, with an empty compilation cache and again with the one that it left.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rtc.bench import alternation, closed_loop
from rtc.bench.closed_loop import Setting
from rtc.control import executor
from rtc.shared import commands, files, paths, provenance, tables
from rtc.study import cells as results_cells
from rtc.study import evaluation, preparation
from rtc.study import subject as subjects
from rtc.study.protocols.tail_v1 import TailArguments

STEP_D = paths.ROOT / "exp" / "run_stepD_tail_v1.py"


@dataclass(frozen=True)
class Arguments:
    """Command line of bench_tail_v1.

    Attributes:
        physics: the simulator's step.
        methods: execution methods.
        num_slots: episodes simulated at a time, per device.
        query_block: queries that the policy answers at a time.
        ticks: control ticks per run of a program.
        long_horizon: execute horizon that is compared with 1.
        repeats: runs of each program, after one that is not counted.
        matrix: run the whole matrix too.
        run_path: directory of the policy's run.
        level_path: world file or level name.
        output: the tables.
        against: root of another checkout; both are measured in turn and only the comparison is written.
        rounds: runs of each checkout.
    """

    physics: str = "fast"
    methods: tuple[str, ...] = ("naive", "realtime")
    num_slots: int = evaluation.DEFAULT_SLOTS
    query_block: int = executor.QUERY_BLOCK
    ticks: int = 128
    long_horizon: int = 4
    repeats: int = 7
    matrix: bool = True
    run_path: str = TailArguments.run_path
    level_path: str = TailArguments.level_path
    output: Path = Path("exp_runs/bench_tail_v1.md")
    against: Path | None = None
    rounds: int = 2


def tick_table(args: Arguments) -> pd.DataFrame:
    """One row per method."""
    subject = subjects.load(args.run_path, args.level_path)
    env, policy = preparation.observed(subject.level, subject.policy, args.physics)
    steps = TailArguments.num_flow_steps
    setting = Setting(env, policy, steps, args.num_slots, args.ticks, args.query_block)
    return pd.DataFrame(closed_loop.tick_table(setting, args.methods, args.long_horizon, args.repeats))


def run_matrix(args: Arguments, name: str, folder: Path) -> dict[str, Any]:
    """Step D in a process of its own, with the compilation cache in `folder`."""
    output = folder / name
    flags = ["--run-path", args.run_path, "--level-path", args.level_path, "--output-root", str(output)]
    flags += ["--physics", args.physics]
    wall_s, peak_mb = run_process(
        [sys.executable, str(STEP_D), *flags], {"JAX_COMPILATION_CACHE_DIR": str(folder / "cache")}
    )
    cells = pd.read_csv(output / results_cells.COLLECTED)
    first = ~cells.duplicated("method")
    return {
        "matrix": name,
        "cells": len(cells),
        "wall (s)": wall_s,
        "first cell of each method (s)": float(cells["wall_s"][first].sum()),
        "other cells (s)": float(cells["wall_s"][~first].sum()),
        "peak memory (MB)": peak_mb,
    }


def run_process(command: list[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Wall time in seconds and peak resident memory in MB of a process.

    Raises:
        ValueError: it failed; its output has been shown.
    """
    started = time.perf_counter()
    process = subprocess.Popen(command, env=os.environ | dict(environment), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ValueError(f"{' '.join(command)} failed with status {process.returncode}")
    kilobytes = usage.ru_maxrss / 1024 if sys.platform == "darwin" else usage.ru_maxrss
    return time.perf_counter() - started, kilobytes / 1024


def run(args: Arguments) -> None:
    commands.keep_page(args, args.output, "output")
    if args.against is not None:
        alternation.write("exp/bench_tail_v1.py", args, "Speed of tail_v1")
        return
    started = time.time()
    sections = []
    if args.matrix:
        with tempfile.TemporaryDirectory() as folder:
            rows = [run_matrix(args, name, Path(folder)) for name in ("cold", "warm")]
        sections.append(("The whole matrix", pd.DataFrame(rows)))
        print(tables.format_table(sections[-1][1]), flush=True)
    sections.insert(0, ("One control tick", tick_table(args)))
    text = "\n\n".join(f"## {title}\n\n{tables.format_table(table)}" for title, table in sections)
    settings = f"Physics: {args.physics}; {args.num_slots} slots per device, queries in blocks of {args.query_block}."
    text = f"# Speed of tail_v1\n\n{__doc__}\n{settings}\n\n{text}\n\n{provenance.footer(started)}"
    files.atomic_write(args.output, text)
    print(text)
    commands.open_first(args.output)


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
