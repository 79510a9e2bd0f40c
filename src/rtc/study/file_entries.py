"""What a study file says of differences between its arms: the tables comparisons, effects and aggregates."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtc.shared import toml
from rtc.shared.validation import require_some, unknown
from rtc.study import templates
from rtc.study.questions import Aggregate, ArmKey, Comparison, Effects

LISTS = ("comparisons", "effects", "aggregates")
_TEMPLATE = (templates.FOR, templates.EXCLUDE)
_COMPARISON = ("candidate", "reference", "less", "family", *_TEMPLATE)
_EFFECTS = ("name", "candidate", "reference", "factors", "interactions", *_TEMPLATE)
_AGGREGATES = ("name", "candidate", "reference", *_TEMPLATE)
_VERSUS = ("methods", "against", "profiles", "family")
_ENDS = ("candidate", "reference")

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Entries:
    """The tables of a file.

    Attributes:
        path: of the file, for messages.
        tables: all that it holds.
        axes: its table `[axes]`.
        profiles: names of its profiles.
    """

    path: Path
    tables: Mapping[str, Any]
    axes: Mapping[str, Any]
    profiles: Sequence[str]

    def comparisons(self) -> Iterator[Comparison]:
        """The comparisons, in their order."""
        for number, entry in enumerate(self.tables.get("comparisons", ())):
            where = f"{self.path}, comparison {number + 1}"
            versus = isinstance(entry, Mapping) and "against" in entry
            _require_known(entry, _VERSUS if versus else _COMPARISON, where)
            if versus:
                yield from self._versus(entry, where)
            else:
                yield from self._pattern(entry, where)

    def effects(self) -> Iterator[Effects]:
        """The effects, in their order: one for each name that an entry fills in, under every profile."""
        for number, entry in enumerate(self.tables.get("effects", ())):
            where = f"{self.path}, effects {number + 1}"
            _check_effects(entry, where)
            pairs = tuple((one, other) for one, other in entry.get("interactions", ()))
            for (name, profile), found in self._groups(entry, where).items():
                points = tuple((_settings(entry, here, where), _comparison(ends, where)) for here, ends in found)
                yield Effects(name, profile, tuple(entry["factors"]), points, pairs)

    def aggregates(self) -> Iterator[Aggregate]:
        """The aggregates, in their order: one for each name that an entry fills in, under every profile."""
        for number, entry in enumerate(self.tables.get("aggregates", ())):
            where = f"{self.path}, aggregates {number + 1}"
            _require_known(entry, _AGGREGATES, where)
            _require_named(entry, where, "aggregates")
            for (name, profile), found in self._groups(entry, where).items():
                yield Aggregate(name, profile, tuple(_run(ends, where) for _, ends in found))

    def _groups(self, entry: Values, where: str) -> dict[tuple[str, str], list[tuple[Values, Values]]]:
        """By name and profile: the values of an entry's axes, and its candidate and reference with them filled in."""
        groups: dict[tuple[str, str], list[tuple[Values, Values]]] = {}
        ends, combined = {name: entry[name] for name in _ENDS if name in entry}, []
        for profile in self.profiles:
            combined += [{**values, "profile": profile} for values in templates.combinations(entry, self.axes, where)]
        for here in templates.left(entry, combined, where):
            key = templates.name(entry["name"], here, where), here["profile"]
            groups.setdefault(key, []).append((here, templates.filled(ends, here, where)))
        return groups

    def _versus(self, entry: Values, where: str) -> Iterator[Comparison]:
        """Every method of an entry against one, under every profile."""
        if "methods" not in entry:
            raise ValueError(f"{where}: against needs methods, an array of labels")
        methods = _names(entry["methods"], "methods", where)
        against = toml.checked(str, entry["against"], "against", where)
        for profile in _names(entry.get("profiles", list(self.profiles)), "profiles", where):
            for method in methods:
                yield Comparison((profile, method), (profile, against), family=_family(entry, where))

    def _pattern(self, entry: Values, where: str) -> Iterator[Comparison]:
        """The comparisons of an entry with candidate and reference."""
        parts = {k: v for k, v in entry.items() if k not in _TEMPLATE}
        free = "profile" in templates.names_in(entry) and "profile" not in templates.axes_of(entry, self.axes, where)
        combined = (
            {**values, "profile": profile} if free else values
            for values in templates.combinations(entry, self.axes, where)
            for profile in (self.profiles if free else (None,))
        )
        for here in templates.left(entry, combined, where):
            yield _comparison(templates.filled(parts, here, where), where)


def _require_known(entry: Values, known: Sequence[str], where: str) -> None:
    if not isinstance(entry, Mapping):
        raise ValueError(f"{where}: {entry!r} must be a table")
    for name in entry:
        if name not in known:
            raise unknown(f"{where}: key", name, known)


def _require_named(entry: Values, where: str, what: str) -> None:
    if not isinstance(entry.get("name"), str):
        raise ValueError(f"{where}: {what} need a name")
    if "profile" not in templates.names_in(entry.get("candidate")):
        raise ValueError(f'{where}: candidate must name "{{profile}}": {what} are shown under every profile')


def _check_effects(entry: Values, where: str) -> None:
    _require_known(entry, _EFFECTS, where)
    if not entry.get("factors") or not isinstance(entry["factors"], Mapping) or "name" not in entry:
        raise ValueError(f"{where}: effects need a name, and factors, a table of their settings")
    _require_named(entry, where, "effects")
    pairs = entry.get("interactions", [])
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise ValueError(f"{where}: interactions={pairs} must be an array of pairs of factors")


def _settings(entry: Values, here: Values, where: str) -> tuple[str, ...]:
    """The settings of an entry's factors."""
    return tuple(map(str, templates.filled(entry["factors"], here, where).values()))


def _run(ends: Values, where: str) -> tuple[ArmKey, ArmKey | None]:
    """The arms of one training seed."""
    if "reference" in ends:
        found = _comparison(ends, where)
        return found.candidate, found.reference
    return _arm(ends, "candidate", where), None


def _arm(entry: Values, name: str, where: str) -> ArmKey:
    try:
        return toml.checked(tuple[str, str], entry[name], name, where)
    except ValueError as error:
        raise ValueError(f"{where}: {name}={entry[name]!r} must be an arm, [profile, method]") from error


def _comparison(entry: Values, where: str) -> Comparison:
    if any(name not in entry for name in _ENDS):
        raise ValueError(f"{where}: a comparison needs candidate and reference, each [profile, method]")
    candidate, reference = (_arm(entry, name, where) for name in _ENDS)
    less = None
    if "less" in entry:
        taken = toml.checked(dict, entry["less"], "less", where)
        _require_known(taken, (*_ENDS, "less"), f"{where}, less")
        less = _comparison(taken, f"{where}, less")
    return Comparison(candidate, reference, less, _family(entry, where))


def _names(value: Any, name: str, where: str) -> tuple[str, ...]:
    """An array of names, of which there is at least one."""
    found = toml.checked(tuple[str, ...], value, name, where)
    require_some(f"{where}: {name}", found)
    return found


def _family(entry: Values, where: str) -> str:
    return toml.checked(str, entry.get("family", ""), "family", where)
