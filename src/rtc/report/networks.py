"""How well the networks that methods need predict: errors on held-out episodes, one row per level."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rtc.policies import networks
from rtc.report import page
from rtc.report.page import Page, Section
from rtc.shared import provenance

Facts = dict[str, dict[str, Any]]  # of one kind in one run, by level

_INTRODUCTION = """\
Errors on held-out episodes of the networks in `logs-bc/<run>/networks/`, from the facts beside them. The episodes are
the policies' own, at constant delays of 0, 1, 2 and 4 ticks with action noise of 0.1 and 0.3. Observations are in units
of their standard deviation. `python src/train_networks.py` trains the networks; [docs/methods.md](../docs/methods.md)
says what they are for.
"""
_PREDICTORS = {
    "forward": "Forward models (`foresee_learned`, `robot_only_learned`): root mean square error of the observation",
    "latent": "Latent predictors (`futurertc`): root mean square error of the policy's observation latent",
}
_HEADS = {"correction": "corrected (`a2c2`)", "head_only": "head alone (`head_only`)"}
_SHOWN = "`model / nothing`: of the network, and of predicting that nothing changes, by how many ticks ahead."
_CHUNKS = """\
Mean square error of a tick's action against what the policy would do there, asked at that tick with the same noise: of
the planned action as it is, and of the action that the head corrects; `share` is their ratio. A head that sees no plan
is measured against the mean of two draws with noise of their own, so its column is not to be compared with the others.
"""


def write(root: Path, levels: Sequence[str]) -> Path:
    """Writes networks.md below `root`; returns it.

    Args:
        root: the folder of the runs.
        levels: names of the levels.

    Raises:
        FileNotFoundError: no run has any networks.
    """
    started = time.time()
    runs = sorted(path.parent for path in root.glob("*/networks"))
    sections = [section for run in runs for section in _sections(run, levels)]
    if not sections:
        raise FileNotFoundError(f"no networks in {root}/*/networks: train some with src/train_networks.py")
    first = Section("", [_INTRODUCTION])
    return page.write(
        root, {"en": Page("Networks", [first, *sections], provenance.footer(started))}, {}, name="networks"
    )


def _sections(run: Path, levels: Sequence[str]) -> Iterator[Section]:
    """A run's tables."""
    found = {kind: _facts(run, kind, levels) for kind in (*_PREDICTORS, *_HEADS)}
    for kind, heading in _PREDICTORS.items():
        if found[kind]:
            rows = [{"level": level, **_ahead(facts)} for level, facts in found[kind].items()]
            yield Section(f"{run.name}: {heading}", [_SHOWN, pd.DataFrame(rows)])
    heads = {kind: found[kind] for kind in _HEADS if found[kind]}
    if heads:
        there = dict.fromkeys(level for facts in heads.values() for level in facts)
        rows = [{"level": level, **_of_heads(level, heads)} for level in there]
        yield Section(f"{run.name}: correction heads", [_CHUNKS, pd.DataFrame(rows)])


def _facts(run: Path, kind: str, levels: Sequence[str]) -> Facts:
    """The facts of a run's networks of a kind, by level."""
    places = {level: networks.find(run, kind, level) for level in levels}
    return {level: networks.facts(path.with_suffix("")) for level, path in places.items() if path is not None}


def _ahead(facts: dict[str, Any]) -> dict[str, str]:
    """Errors by ticks ahead, training time and size."""
    errors = {f"{row['ticks']}": f"{row['model']:.3f} / {row['nothing']:.3f}" for row in facts["errors"]}
    return {**errors, "training (s)": f"{facts['seconds']:.0f}"}


def _of_heads(level: str, heads: dict[str, Facts]) -> dict[str, str]:
    """Losses of a level's heads."""
    found = {kind: facts[level] for kind, facts in heads.items() if level in facts}
    losses = {_HEADS[kind]: f"{facts['held_out_loss']:.4f}" for kind, facts in found.items()}
    uncorrected = next(iter(found.values()))["uncorrected_loss"]
    shares = {"share": f"{found['correction']['held_out_loss'] / uncorrected:.2f}"} if "correction" in found else {}
    seconds = "+".join(f"{facts['seconds']:.0f}" for facts in found.values())
    return {"as planned": f"{uncorrected:.4f}", **losses, **shares, "training (s)": seconds}
