"""The settings behind the cells of a study: all fields in force, and which factor decides those that differ."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from rtc.control import timeline as traces
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.study.cells import CellData, flatten
from rtc.study.outcome import Outcome
from rtc.study.study import Arm, Study

_FACTORS = ("profile", "method", "seed", "level")
# Fields that results do not depend on.
_TECHNICAL = ("num_slots", "step")


def settings(one: Arm, cell: CellData) -> dict[str, Any]:
    """Every setting of a cell in force, by dotted name, defaults included."""
    found = flatten(expand(one.config)) | flatten(expand(one.decoding), "decoding")
    inputs = cell.inputs.get("config", {})
    found |= {name: inputs[name] for name in ("num_evals", "seed") if name in inputs}
    found["chunk_size"] = chunk_size(cell)
    return {name: value for name, value in found.items() if value is not None and name not in _TECHNICAL}


def expand(value: Any) -> Any:
    """A configuration as nested dicts of plain values; of delay profiles and estimators the active variant."""
    if not dataclasses.is_dataclass(value):
        return value
    if isinstance(value, DelayProfileConfig):
        tail = {name: x for name, x in dataclasses.asdict(value.tail).items() if x is not None}
        return {"mode": value.mode, **dataclasses.asdict(value.law), **tail}
    if isinstance(value, EstimatorConfig):
        return value.identity()
    fields = {field.name: expand(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return {name: inner for name, inner in fields.items() if inner is not None and inner != {}}


def chunk_size(cell: CellData) -> int | None:
    """H, as the cell's recorded episode has it; None without one."""
    return None if cell.trace is None else traces.load_trace(cell.trace).horizon


def longest_delay(one: Arm, cell: CellData) -> int | None:
    """H - s, from which on a delay violates; None where s is not fixed or H is not known."""
    size = chunk_size(cell)
    fixed = one.config.execution.horizon == "fixed"
    return size - one.config.execution.execute_horizon if size is not None and fixed else None


def of_cells(study: Study, outcome: Outcome, profiles: Sequence[str] = ()) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The settings of all finished cells, by (profile, method, seed, level)."""
    return {
        (*one.key, cell.cell.seed, level): settings(one, cell)
        for one in study.arms
        if one.key != study.baseline and (not profiles or one.profile in profiles)
        for level in outcome.levels
        for cell in outcome.cells.get((level, *one.key), ())
    }


def varying(flat: Mapping[tuple[Any, ...], Mapping[str, Any]]) -> dict[str, str]:
    """Settings that are not the same in all cells -> the factor that decides them, or "arm" if none does alone."""
    found = {}
    for name in dict.fromkeys(name for values in flat.values() for name in values):
        texts = [repr(values.get(name)) for values in flat.values()]
        if len(set(texts)) > 1:
            deciding = (
                f for f, column in zip(_FACTORS, zip(*flat, strict=True), strict=True) if _decides(column, texts)
            )
            found[name] = next(deciding, "arm")
    return found


def _decides(factor: Sequence[Any], values: Sequence[str]) -> bool:
    return len(set(zip(factor, values, strict=True))) == len(set(factor))


def label(key: tuple[Any, ...], factor: str) -> str:
    """How a list of a setting's values names a cell's factor."""
    return "/".join(key[:2]) if factor == "arm" else str(key[_FACTORS.index(factor)])


def provenance_lines(outcome: Outcome) -> list[str]:
    """Where the cells come from, as a Markdown list: every fact with all of its values."""
    cells = [cell for found in outcome.cells.values() for cell in found]
    records = [flatten(cell.provenance) for cell in cells]
    lines = []
    for name in dict.fromkeys(name for record in records for name in record):
        values = list(dict.fromkeys(str(record.get(name)) for record in records))
        if name == "wall_s":
            lines.append(f"- wall time of all cells: {sum(record[name] for record in records):.0f} s")
        elif name == "start_time_utc":
            lines.append(f"- first cell started: {min(record[name] for record in records)}")
        else:
            lines.append(f"- {name}: " + ", ".join(f"`{value}`" for value in values))
    for name in ("checkpoint_sha256", "level_sha256", "code"):
        values = dict.fromkeys(str(cell.inputs[name]) for cell in cells if name in cell.inputs)
        if values:
            lines.append(f"- {name}: " + ", ".join(f"`{value}`" for value in values))
    return lines
