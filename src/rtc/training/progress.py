"""What a training run reports while it goes on: rows of statistics, a progress bar, and when it has diverged."""

import csv
import io
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rtc.shared import tracking
from rtc.shared.files import atomic_write


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
