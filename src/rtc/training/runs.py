"""What the three trainers share: saved state, resume, statistics, progress and presets."""

import csv
import dataclasses
import io
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import tyro
from jax.sharding import Mesh
from tqdm import tqdm

from rtc.policies.weights import load_tree, write_json
from rtc.shared import tracking
from rtc.shared.files import atomic_write, lock
from rtc.shared.validation import unknown

T = TypeVar("T")

AXIS = "devices"  # name of the mesh axis over which environments are split


# --- devices ------------------------------------------------------------------------------------------------


def device_mesh() -> Mesh:
    """All XLA devices in a row."""
    return Mesh(np.asarray(jax.devices()), (AXIS,))


def with_device_axis(tree: T) -> T:
    """Adds the leading axis along which per-device pytrees of any layout are joined."""
    return jax.tree.map(lambda leaf: leaf[None], tree)


def without_device_axis(tree: T) -> T:
    """This device's slice of what `with_device_axis` joined."""
    return jax.tree.map(lambda leaf: leaf[0], tree)


# --- state on disk ------------------------------------------------------------------------------------------


def restore(path: Path, state: T, resume: bool) -> T:
    """What `save_tree` wrote to `path`; `state` itself if there is nothing yet or `resume` is off.

    Raises:
        ValueError: if the file is damaged or does not fit `state`.
    """
    return load_tree(path, state) if resume and path.exists() else state


def discard(run_path: Path, name: str) -> None:
    """Deletes the checkpoints of one expert or policy, so that none of an abandoned run outlives it."""
    for path in run_path.glob(f"[0-9]*/policies/{name}.*"):
        path.unlink()
        for folder in (path.parent, path.parent.parent):
            if not any(folder.iterdir()):
                folder.rmdir()


@contextmanager
def claim(folder: Path, config: Mapping[str, Any], resume: bool, may_differ: Sequence[str] = ()) -> Iterator[None]:
    """Holds a run's folder for this process and keeps the run's configuration in its config.json.

    Args:
        folder: the run's folder.
        config: the run's configuration, as `as_dict` gives it.
        resume: False overwrites what is there.
        may_differ: fields that may change between a run and its continuation.

    Raises:
        ValueError: if another process works in the folder, or a run to resume had another configuration.
    """
    with lock(folder):
        keep_facts(folder / "config.json", config, resume, may_differ)
        yield


def keep_facts(path: Path, facts: Mapping[str, Any], resume: bool, may_differ: Sequence[str] = ()) -> None:
    """Writes `facts` as JSON; with `resume`, facts that are there already must be the same.

    Raises:
        ValueError: names the fields that differ.
    """
    if resume and path.exists():
        found = json.loads(path.read_text())
        changes = [
            f"{field}: {found.get(field)!r} there, {facts.get(field)!r} now"
            for field in sorted((facts.keys() | found.keys()) - set(may_differ))
            if facts.get(field) != found.get(field)
        ]
        if changes:
            raise ValueError(f"{path} is of another run ({'; '.join(changes)}); use another folder or --no-resume")
    write_json(path, facts)


# --- statistics and progress --------------------------------------------------------------------------------


class Recorder:
    """One run's statistics: a CSV row per step, a progress bar with ETA and, if asked for, Weights & Biases.

    Use as a context manager. A resumed run keeps the rows before its first step and drops later ones.

    Args:
        path: the CSV file.
        step_name: the column that counts steps; rows must come in its order.
        first_step: the step this run starts with.
        last_step: the number of steps of the whole run, for the ETA.
        description: label of the progress bar.
        wandb_config: configuration to log to Weights & Biases under this description; None leaves it off.
    """

    def __init__(
        self,
        path: Path,
        step_name: str,
        first_step: int,
        last_step: int,
        description: str,
        wandb_config: Mapping[str, Any] | None = None,
    ):
        self.path, self.step_name = path, step_name
        rows = read_rows(path) if first_step else []
        self.rows = [row for row in rows if row[step_name] < first_step]
        self.started = time.monotonic() - (self.rows[-1]["seconds"] if self.rows else 0.0)
        self._bar = tqdm(total=last_step, initial=first_step, desc=description, dynamic_ncols=True, mininterval=1.0)
        self._wandb = tracking.start(description, wandb_config) if wandb_config is not None else None

    def __enter__(self) -> "Recorder":
        if self.rows:
            atomic_write(self.path, _to_csv(self.rows))
        else:
            self.path.unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        if self._wandb is not None:
            self._wandb.finish()

    @property
    def seconds(self) -> float:
        """Wall time of the run so far, the time before a resume included."""
        return time.monotonic() - self.started

    def log(self, row: Mapping[str, float], shown: Mapping[str, Any], steps: int = 1) -> None:
        """Appends a row (`seconds` is added) and moves the progress bar on."""
        row = {**row, "seconds": round(self.seconds, 2)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", newline="") as file:
            file.write(_to_csv([row], header=not self.rows))
        self.rows.append(row)
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(steps)
        if self._wandb is not None:
            self._wandb.log(row, step=int(row[self.step_name]))


def _to_csv(rows: Sequence[Mapping[str, float]], header: bool = True) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read_rows(path: Path) -> list[dict[str, float]]:
    """Rows of a statistics CSV, numbers throughout; a last line cut off by a crash is left out."""
    if not path.exists():
        return []
    complete = path.read_text().rpartition("\n")[0]
    return [{key: _number(text) for key, text in row.items()} for row in csv.DictReader(io.StringIO(complete))]


def _number(text: str) -> float:
    return int(text) if text.isdecimal() else float(text)


# --- health -------------------------------------------------------------------------------------------------


def require_finite(row: Mapping[str, float], where: str, before: Sequence[Mapping[str, float]]) -> None:
    """Stops a run that has diverged.

    Args:
        row: statistics of this step; a norm of the parameters stands for all of them.
        where: names the step, the level and the seed.
        before: rows of the steps before.

    Raises:
        FloatingPointError: names the place, the statistics that are not finite and the last finite row.
    """
    culprits = [name for name, value in row.items() if not math.isfinite(value)]
    if culprits:
        last = ", ".join(f"{name}={value:.6g}" for name, value in before[-1].items()) if before else "none"
        raise FloatingPointError(f"{where}: {', '.join(culprits)} not finite; last finite step: {last}")


# --- command line -------------------------------------------------------------------------------------------


def cli(arguments: type[T], presets: Mapping[str, T], argv: Sequence[str] | None = None) -> T:
    """Parses the command line over the defaults of the preset it names (`--preset`, first preset if absent).

    Args:
        arguments: a dataclass with a field `preset`.
        presets: default values by preset name; flags override them one by one.
        argv: arguments without the program's name; `sys.argv` if None.

    Raises:
        ValueError: if there is no preset of this name.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    name = next(iter(presets))
    for i, word in enumerate(argv):
        if word == "--preset" and i + 1 < len(argv):
            name = argv[i + 1]
        elif word.startswith("--preset="):
            name = word.partition("=")[2]
    if name not in presets:
        raise unknown("preset", name, presets)
    return tyro.cli(arguments, default=presets[name], args=argv)


def expand_levels(level_paths: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Level paths with "all" replaced by the benchmark's levels of the given names."""
    everything = [f"worlds/l/{name}.json" for name in names]
    return tuple(path for given in level_paths for path in (everything if given == "all" else [given]))


def as_dict(config: Any) -> dict[str, Any]:
    """A configuration dataclass as JSON would give it back."""
    return json.loads(json.dumps(dataclasses.asdict(config), default=str))
