"""A training run's folder: its configuration, the state to resume from and the checkpoints in it."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from rtc.policies.weights import load_tree, write_json
from rtc.shared.files import lock

T = TypeVar("T")


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
def claim(
    folder: Path,
    config: Mapping[str, Any],
    resume: bool,
    may_differ: Sequence[str] = (),
    before: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[None]:
    """Holds a run's folder for this process and keeps the run's configuration in its config.json.

    Args:
        folder: the run's folder.
        config: the run's configuration, as `as_dict` gives it.
        resume: False overwrites what is there.
        may_differ: fields that may change between a run and its continuation.
        before: what a run of an earlier version did, by fields that its file lacks; tables within tables likewise.

    Raises:
        ValueError: if another process works in the folder, or a run to resume had another configuration.
    """
    with lock(folder):
        keep_facts(folder / "config.json", config, resume, may_differ, before=before)
        yield


def keep_facts(
    path: Path,
    facts: Mapping[str, Any],
    resume: bool,
    may_differ: Sequence[str] = (),
    may_be_new: Sequence[str] = (),
    before: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Writes `facts` as JSON; with `resume`, facts that are there already must be the same.

    Args:
        path: the file.
        facts: what JSON can hold.
        resume: False overwrites what is there.
        may_differ: fields whose values may change.
        may_be_new: fields that a file of an earlier version lacks, and that may have any value.
        before: what a file of an earlier version meant, by fields that it lacks.

    Raises:
        ValueError: names the fields that differ.
    """
    if resume and path.exists():
        found = _with(json.loads(path.read_text()), before)
        changes = [
            f"{field}: {found.get(field)!r} there, {facts.get(field)!r} now"
            for field in sorted((facts.keys() | found.keys()) - set(may_differ) - (set(may_be_new) - found.keys()))
            if facts.get(field) != found.get(field)
        ]
        if changes:
            raise ValueError(f"{path} is of another run ({'; '.join(changes)}); use another folder or --no-resume")
    write_json(path, facts)


def _with(found: dict[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with the fields that it lacks."""
    nested = {
        name: _with(found[name], value)
        for name, value in before.items()
        if isinstance(value, Mapping) and isinstance(found.get(name), dict)
    }
    return {**before, **found, **nested}


def as_dict(config: Any) -> dict[str, Any]:
    """A configuration dataclass as JSON would give it back."""
    return json.loads(json.dumps(dataclasses.asdict(config), default=str))
