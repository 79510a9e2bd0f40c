"""World files: the readable JSON format in which levels are written, parsed and checked. Knows no simulator.

A world file is one of two things. Either a change to a level that the kinetix-env package ships, with the
slots to change as keys:

    {"description": "...", "base": "kinetix:l/grasp_easy",
     "overrides": {"gravity": [0, -1.2], "polygons": {"1": {"friction": 0.5}}}}

or a full scene, in which the lists give the slots:

    {"description": "...", "gravity": [0, -9.81], "polygons": [{...}], "circles": [{...}], "joints": [{...}],
     "thrusters": [{...}], "ignored_collisions": [["arm", "ball"]]}

Lengths are metres, angles radians (counter-clockwise), times seconds; the arena is 5 m x 5 m with the origin
at its lower left. Polygons 0 to 3 of a full scene are the floor, the left wall, the right wall and the
ceiling.

Bodies have `name`, `position`, `rotation`, `velocity`, `angular_velocity`, `density`, `fixed`, `friction`,
`restitution`, `collision_mode` and `role`. The outline of a polygon is its `size` (a rectangle centred on the
position) or its `vertices` (clockwise, relative to the position), that of a circle its `radius`. Mass and
inertia follow from outline and density unless `inverse_mass` or `inverse_inertia` is given.

Joints connect `a` and `b` (names, or "polygon 4", "circle 0") at `anchor_a` and `anchor_b` (relative to the
bodies): rigidly if `fixed`, else as a hinge with optional `limits`, driven if `motor` by the action
`motor_binding` with `motor_speed` and `motor_power`. Jointed bodies do not collide; `ignored_collisions`
lists further pairs that pass through each other.

Thrusters push `body` at `position` in the direction `rotation` with `power`, by thruster action `binding`.

In overrides every entry also takes `active`.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtc.shared.validation import unknown
from rtc.worlds.kinetix import fields as check
from rtc.worlds.kinetix.fields import Parser, Point

NUM_POLYGONS, NUM_CIRCLES, NUM_JOINTS, NUM_THRUSTERS = 12, 4, 6, 2
NUM_MOTOR_BINDINGS, NUM_THRUSTER_BINDINGS = 4, 2
NUM_WALLS = 4  # polygons 0-3: fixed, and the simulator never collides them with each other
ROLES = ("neutral", "ball", "goal", "hazard")  # the position is the role's number in Kinetix


@dataclass(frozen=True)
class Body:
    """A polygon (`vertices`) or circle (`radius`). None: as the base level has it."""

    slot: int
    name: str | None = None
    active: bool | None = None
    vertices: tuple[Point, ...] | None = None
    radius: float | None = None
    position: Point | None = None
    rotation: float | None = None
    velocity: Point | None = None
    angular_velocity: float | None = None
    density: float | None = None
    fixed: bool | None = None
    friction: float | None = None
    restitution: float | None = None
    collision_mode: int | None = None
    role: int | None = None
    inverse_mass: float | None = None
    inverse_inertia: float | None = None


@dataclass(frozen=True)
class Joint:
    """A revolute joint, or a rigid one (`fixed`), between bodies with the global indices `a` and `b`."""

    slot: int
    active: bool | None = None
    a: int | None = None
    b: int | None = None
    anchor_a: Point | None = None
    anchor_b: Point | None = None
    fixed: bool | None = None
    motor: bool | None = None
    motor_binding: int | None = None
    motor_speed: float | None = None
    motor_power: float | None = None
    limits: Point | None = None
    rotation: float | None = None


@dataclass(frozen=True)
class Thruster:
    """A thruster on the body with the global index `body`."""

    slot: int
    active: bool | None = None
    body: int | None = None
    position: Point | None = None
    rotation: float | None = None
    power: float | None = None
    binding: int | None = None


@dataclass(frozen=True)
class WorldSpec:
    """A parsed world file. With a `base`, the entries are changes to that level; else the whole scene."""

    path: Path
    base: str | None
    gravity: Point | None
    polygons: tuple[Body, ...]
    circles: tuple[Body, ...]
    joints: tuple[Joint, ...]
    thrusters: tuple[Thruster, ...]
    ignored_collisions: tuple[tuple[int, int], ...]


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not UTF-8 JSON, a key given twice, or not an object; names the file and, where known, line
            and column.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such world file")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise ValueError(f"{path}: key {twice!r} is given twice in one object; keep one of them")
        return dict(pairs)

    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from error
    try:
        data = json.loads(text, object_pairs_hook=unique, parse_int=_whole)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise ValueError(f"{path}: nested too deeply for a world file; export it again") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path}: a world file is a JSON object {{...}}, this one holds a {type(data).__name__}")
    return data


def _whole(digits: str) -> int | float:
    """A number that no field takes if it has more digits than Python converts."""
    return int(digits) if len(digits) < 1000 else float("inf")


def parse(data: Mapping[str, Any], path: Path) -> WorldSpec:
    """Checks a world file's content.

    Raises:
        ValueError: names the file, the field, its value and the fix.
    """
    if "base" not in data:
        _check_keys(data, {"description", "gravity", "ignored_collisions", *_KINDS}, f"{path}:")
        _require(data, ("gravity", "polygons"), f"{path}:")
        return _scene(data, path, f"{path}: ", base=None)
    _check_keys(data, {"description", "base", "overrides"}, f"{path}:")
    base = check.text(data["base"], f"{path}: base")
    if not re.fullmatch(r"kinetix:[sml]/\w+", base):
        raise ValueError(f"{path}: base = {base!r}: write 'kinetix:l/<level>', e.g. 'kinetix:l/grasp_easy'")
    overrides = check.mapping(data.get("overrides", {}), f"{path}: overrides")
    _check_keys(overrides, {"gravity", "ignored_collisions", *_KINDS}, f"{path}: overrides")
    return _scene(overrides, path, f"{path}: overrides.", base=base.removeprefix("kinetix:"))


def _scene(data: Mapping[str, Any], path: Path, where: str, base: str | None) -> WorldSpec:
    entries = {kind: _entries(data, kind, where, full=base is None) for kind in _KINDS}
    names = _body_names(entries, where, full=base is None)
    built = {
        kind: tuple(_entry(kind, slot, item, at, full=base is None, names=names) for slot, item, at in entries[kind])
        for kind in _KINDS
    }
    if base is None:
        _check_walls(built["polygons"], f"{where}polygons")
    gravity = check.point(data["gravity"], f"{where}gravity") if "gravity" in data else None
    ignored = _pairs(data.get("ignored_collisions", []), f"{where}ignored_collisions", names)
    return WorldSpec(path=path, base=base, gravity=gravity, ignored_collisions=ignored, **built)


def _entries(data: Mapping[str, Any], kind: str, where: str, full: bool) -> list[tuple[int, Mapping[str, Any], str]]:
    """(slot, entry, place) of one kind: slots are list positions in a full scene, keys in overrides."""
    capacity = _KINDS[kind].capacity
    items = data.get(kind, [] if full else {})
    if not isinstance(items, list if full else dict):
        wanted = "a list [...]" if full else 'an object keyed by slot, {"4": {...}}'
        raise ValueError(f"{where}{kind} is a {type(items).__name__}; write {wanted}")
    if len(items) > capacity:
        raise ValueError(f"{where}{kind} has {len(items)} entries; the environment holds {capacity}, remove some")
    keyed = enumerate(items) if full else items.items()
    found = []
    for key, item in keyed:
        at = f"{where}{kind}[{key}]"
        if not str(key).isdecimal() or int(key) >= capacity:
            raise ValueError(f"{at}: slot {key!r} does not exist; use 0 to {capacity - 1}")
        found.append((int(key), check.mapping(item, at), at))
    return found


def _body_names(entries: Mapping[str, list], where: str, full: bool) -> dict[str, int]:
    """Global index (polygons first, then circles) by name and by 'polygon <slot>', 'circle <slot>'."""
    names: dict[str, int] = {}
    for kind, word, offset in (("polygons", "polygon", 0), ("circles", "circle", NUM_POLYGONS)):
        slots = [slot for slot, _, _ in entries[kind]] if full else range(_KINDS[kind].capacity)
        names |= {f"{word} {slot}": offset + slot for slot in slots}
        for slot, item, at in entries[kind]:
            if "name" not in item:
                continue
            name = check.text(item["name"], f"{at}.name")
            if name in names:
                raise ValueError(f"{at}.name = {name!r} is taken by another body; choose another")
            names[name] = offset + slot
    return names


def _entry(kind: str, slot: int, item: Mapping[str, Any], at: str, *, full: bool, names: Mapping[str, int]) -> Any:
    spec = _KINDS[kind]
    _check_keys(item, spec.fields if full else {*spec.fields, "active"}, at)
    if full:
        _require(item, spec.required, at)
        item = {**spec.defaults, **item}
    values = {"active": True} if full else {}
    for key, value in item.items():
        parser = spec.fields.get(key, check.flag)
        values[key] = (
            _reference(value, f"{at}.{key}", names)
            if parser is check.text and key != "name"
            else parser(value, f"{at}.{key}")
        )
    if kind == "polygons":
        _check_outline(values, at, full)
    return spec.build(slot=slot, **values)


def _check_outline(values: dict[str, Any], at: str, full: bool) -> None:
    """Turns `size` into vertices, clockwise from the upper right corner: their order is that of contacts."""
    size = values.pop("size", None)
    if size is not None and "vertices" in values:
        raise ValueError(f"{at} has both size and vertices; keep one of them")
    if size is not None:
        x, y = size[0] / 2, size[1] / 2
        values["vertices"] = ((x, y), (x, -y), (-x, -y), (-x, y))
    if full and "vertices" not in values:
        raise ValueError(f"{at}.size is missing; give size [width, height] or vertices")


def _check_walls(polygons: tuple[Body, ...], where: str) -> None:
    loose = [body.slot for body in polygons[:NUM_WALLS] if not body.fixed]
    if len(polygons) < NUM_WALLS or loose:
        slot = loose[0] if loose else len(polygons)
        raise ValueError(
            f"{where}[{slot}]: entries 0 to {NUM_WALLS - 1} are the floor, the left wall, the right wall "
            f'and the ceiling; give all four with "fixed": true'
        )


def _check_keys(data: Mapping[str, Any], known: Iterable[str], at: str) -> None:
    known = sorted(known)
    for key in data:
        if key not in known:
            raise unknown(f"{at} field", key, known)


def _require(data: Mapping[str, Any], fields: Iterable[str], at: str) -> None:
    for field in fields:
        if field not in data:
            raise ValueError(f"{at} field {field!r} is missing; add it")


def _reference(value: Any, at: str, names: Mapping[str, int]) -> int:
    name = check.text(value, at)
    if name not in names:
        raise unknown(f"{at}: body", name, names)
    return names[name]


def _pairs(value: Any, at: str, names: Mapping[str, int]) -> tuple[tuple[int, int], ...]:
    if not isinstance(value, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        raise ValueError(f'{at} = {value!r} is not a list of pairs; write [["arm", "ball"]]')
    return tuple(
        (_reference(a, f"{at}[{i}][0]", names), _reference(b, f"{at}[{i}][1]", names)) for i, (a, b) in enumerate(value)
    )


_BODY: dict[str, Parser] = {
    "name": check.text,
    "position": check.point,
    "rotation": check.number,
    "velocity": check.point,
    "angular_velocity": check.number,
    "density": check.positive,
    "fixed": check.flag,
    "friction": check.non_negative,
    "restitution": check.non_negative,
    "collision_mode": check.choice(0, 1, 2),
    "role": check.choice(*ROLES),
    "inverse_mass": check.non_negative,
    "inverse_inertia": check.non_negative,
}
_BODY_DEFAULTS = {
    "rotation": 0,
    "velocity": [0, 0],
    "angular_velocity": 0,
    "density": 1,
    "fixed": False,
    "friction": 1,
    "restitution": 0,
    "collision_mode": 1,
    "role": "neutral",
}


@dataclass(frozen=True)
class _Kind:
    build: Callable[..., Any]
    capacity: int
    fields: Mapping[str, Parser]
    required: tuple[str, ...]
    defaults: Mapping[str, Any]


_KINDS = {
    "polygons": _Kind(
        Body,
        NUM_POLYGONS,
        {**_BODY, "size": check.size, "vertices": check.vertices},
        ("name", "position"),
        _BODY_DEFAULTS,
    ),
    "circles": _Kind(
        Body, NUM_CIRCLES, {**_BODY, "radius": check.positive}, ("name", "position", "radius"), _BODY_DEFAULTS
    ),
    "joints": _Kind(
        Joint,
        NUM_JOINTS,
        {
            "a": check.text,
            "b": check.text,
            "anchor_a": check.point,
            "anchor_b": check.point,
            "fixed": check.flag,
            "motor": check.flag,
            "motor_binding": check.choice(*range(NUM_MOTOR_BINDINGS)),
            "motor_speed": check.number,
            "motor_power": check.number,
            "limits": check.limits,
            "rotation": check.number,
        },
        ("a", "b", "anchor_a", "anchor_b"),
        {
            "fixed": False,
            "motor": False,
            "motor_binding": 0,
            "motor_speed": 1,
            "motor_power": 1,
            "rotation": 0,
        },
    ),
    "thrusters": _Kind(
        Thruster,
        NUM_THRUSTERS,
        {
            "body": check.text,
            "position": check.point,
            "rotation": check.number,
            "power": check.number,
            "binding": check.choice(*range(NUM_THRUSTER_BINDINGS)),
        },
        ("body", "position", "rotation", "power"),
        {"binding": 0},
    ),
}
