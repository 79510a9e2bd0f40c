"""Where results come from: versions, commit, device and command."""

import dataclasses
import enum
import functools
import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rtc.shared.identity import package_versions

_SOURCE = Path(__file__).resolve().parents[2]
CONSOLE = "exp-delta"


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces; dataclasses, paths, enums and numpy values become plain ones.

    Raises:
        ValueError: a value has no canonical form.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, enum.Enum):
        return value.name
    if hasattr(value, "tolist"):  # numpy and jax arrays and scalars
        return value.tolist()
    raise ValueError(f"{value!r} has no JSON form; use numbers, strings, lists, dicts or dataclasses")


def sha256(content: bytes) -> str:
    """Hexadecimal sha256 of some bytes."""
    return hashlib.sha256(content).hexdigest()


def provenance(started: float | None = None) -> dict[str, Any]:
    """Where a result comes from: commit, package versions, device, command, start time (UTC), wall seconds.

    Args:
        started: `time.time()` at the start of the work; default now.
    """
    import jax  # here, so that tools which only read results never start a device

    now = time.time()
    started = now if started is None else started
    return {
        **origin(),
        "python": sys.version.split()[0],
        "packages": package_versions(),
        "device_kind": jax.devices()[0].device_kind,
        "device_count": jax.device_count(),
        "start_time_utc": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "wall_s": round(now - started, 3),
    }


def footer(started: float | None = None) -> str:
    """A line for the end of a measured table: command, commit, machine and versions. Arguments as `provenance`."""
    facts = provenance(started)
    versions = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    changed = " with changes" if facts["git_dirty"] else ""
    return (
        f"Made by `{facts['command']}` at commit {facts['git_commit']}{changed}, {facts['start_time_utc']}, on "
        f"{facts['device_count']} × {facts['device_kind']} ({os.cpu_count()} cores), Python {facts['python']}, "
        f"{versions}; {facts['wall_s']:.0f} s.\n"
    )


def cells_origin(cells: Iterable[Any]) -> str:
    """Which commits computed some cells (`study.cells.CellData`) and how long that took, in one sentence."""
    commits: dict[str, int] = {}
    cells = list(cells)
    for cell in cells:
        name = str(cell.provenance["git_commit"])[:12] + (" with changes" if cell.provenance["git_dirty"] else "")
        commits[name] = commits.get(name, 0) + 1
    seconds = sum(cell.provenance["wall_s"] for cell in cells)
    counts = ", ".join(f"{count} at commit {name}" for name, count in commits.items())
    return f"{len(cells)} cells, {seconds / 60:.0f} minutes: {counts}. "


def origin() -> dict[str, Any]:
    """Commit and command, for the facts that go with a trained network."""
    commit, dirty = _commit()
    return {"git_commit": commit, "git_dirty": dirty, "command": command_line()}


@functools.cache
def _commit() -> tuple[str, bool | None]:
    """`git_state()`, asked for once: when a process first writes where a result comes from."""
    return git_state()


def command_line() -> str:
    """This process's command, with paths below the working directory made relative to it."""
    here = os.getcwd() + os.sep
    program, *arguments = (argument.removeprefix(here) for argument in sys.argv)
    command = [Path(program).name] if Path(program).name == CONSOLE else ["python", program]
    return shlex.join([*command, *arguments])


def git_state(source: Path = _SOURCE) -> tuple[str, bool | None]:
    """(commit, whether anything but results has changed since); ("unknown", None) outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(source), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        # An installed copy may lie inside some unrelated repository, whose commit would say nothing.
        if Path(git("rev-parse", "--show-toplevel")).resolve() != source.resolve().parent:
            return "unknown", None
        commit = git("rev-parse", "--verify", "HEAD")
        outputs = [f":(top,exclude){folder}" for folder in ("exp_runs", "logs-bc")]
        return commit, bool(git("status", "--porcelain", "--", ":/", *outputs))
    except (OSError, subprocess.SubprocessError):
        return "unknown", None
