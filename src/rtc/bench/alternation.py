"""Two checkouts measured against each other: a bench of each in turn, so that a drift of the machine hits both."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rtc.shared import commands, files, provenance, tables
from rtc.shared.paths import ROOT

HERE, OTHER = "here", "other"


def write(script: str, arguments: Any, title: str) -> None:
    """Measures a bench against the checkout `arguments.against` and writes the comparison to `arguments.output`."""
    started = time.time()
    options = commands.flags(arguments, skip=("against", "rounds", "output"))
    table = compare(script, options, arguments.against, arguments.rounds)
    about = f"This checkout and another one in turn, {arguments.rounds} runs of each; medians."
    text = f"# {title}: two checkouts\n\n{about}\n\n{tables.format_table(table)}\n\n{provenance.footer(started)}"
    files.atomic_write(arguments.output, text)
    print(tables.format_table(table))
    commands.open_first(arguments.output)


def compare(script: str, arguments: Sequence[str], other: Path, rounds: int) -> pd.DataFrame:
    """Runs a bench of this checkout and of another one in turn and compares the numbers of its tables.

    Args:
        script: the bench, as "exp/bench_physics.py"; it writes its tables to the file that `--output` names.
        arguments: its other flags, which both checkouts know.
        other: root of the other checkout.
        rounds: runs of each.

    Returns:
        One row per number: its table's row and column, the medians over rounds, and here / other.

    Raises:
        ValueError: the other checkout has no such bench, or a bench failed; its messages have been shown.
    """
    places = {HERE: ROOT, OTHER: other.resolve()}
    for place in places.values():
        if not (place / script).is_file():
            raise ValueError(f"against={str(other)!r}: there is no {place / script}; name the root of a checkout")

    def run(place: Path) -> Mapping[tuple[str, str], float]:
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "bench.md"
            command = [sys.executable, str(place / script), *arguments, "--output", str(output)]
            # Before whatever is installed: each checkout runs its own code.
            environment = os.environ | {"PYTHONPATH": str(place / "src")}
            if subprocess.run(command, cwd=place, env=environment, stdout=subprocess.DEVNULL).returncode:
                raise ValueError(f"{' '.join(command)} failed")
            return numbers(output.read_text())

    return ratios({name: lambda place=place: run(place) for name, place in places.items()}, rounds)


def ratios(benches: Mapping[str, Callable[[], Mapping[tuple[str, str], float]]], rounds: int) -> pd.DataFrame:
    """Medians over rounds of the numbers that both benches give, taking turns, and their ratios."""
    found: dict[str, list[Mapping[tuple[str, str], float]]] = {name: [] for name in benches}
    for number in range(rounds):
        # The order changes, so that neither always follows the other.
        for name in list(benches) if number % 2 == 0 else reversed(list(benches)):
            print(f"round {number + 1} of {rounds}: {name}", flush=True)
            found[name].append(benches[name]())
    medians = {name: pd.DataFrame(runs).median() for name, runs in found.items()}
    common = [key for key in medians[HERE].index if key in medians[OTHER].index]
    rows = [
        {"row": row, "column": column, HERE: medians[HERE][row, column], OTHER: medians[OTHER][row, column]}
        for row, column in common
    ]
    table = pd.DataFrame(rows, columns=["row", "column", HERE, OTHER])
    table[f"{HERE} / {OTHER}"] = table[HERE] / table[OTHER]
    return table


def numbers(text: str) -> dict[tuple[str, str], float]:
    """The numbers in a text's Markdown tables by row (its first cell) and column."""
    found: dict[tuple[str, str], float] = {}
    header: list[str] | None = None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else None
        if cells is None:
            header = None
        elif header is None:
            header = cells
        elif not set(line) <= set("|-: "):
            for column, cell in zip(header[1:], cells[1:], strict=True):
                try:
                    found[cells[0], column] = float(cell)
                except ValueError:  # a text
                    continue
    return found
