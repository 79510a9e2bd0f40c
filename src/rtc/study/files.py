"""Studies written as TOML files: delay profiles times methods, and what is compared.

    name = "study_hedging"
    title = "Does hedging help?"        # title_zh, question, question_zh: likewise
    like = "beat_the_delay"             # the study beside it has what is not given here, but for names and texts
    levels = ["grasp_easy", "my/level.json"]
    num_evals = 1024                    # episodes per arm, level and seed
    seeds = [0, 1]
    preregistered = true                # metric and comparisons were fixed before it ran
    figures = ["arms"]                  # and sections = ["comparisons", ...]: see `layout`
    preview = [["long_tail", "realtime"], ["long_tail", "naive"]]   # whose episodes are shown side by side
    left_out = ["rms_ddelta_action"]    # measures of single episodes that are not kept

    [profiles.long_tail]                # a named profile
    [profiles.hedged]                   # fields of DelayProfileConfig changed in a named one or in one of this file
    base = "long_tail"                  # a profile's own name as its base: the named one
    hedge = 2
    [profiles.rarer]                    # `base`, but rarer, so that the mean delay is that of another profile
    base = "long_tail"
    mean_of = "hedged"
    [profiles."{hz}_Hz"]                # a trace beside this file; 45 ms: what its median query shall take
    for = { hz = [30, 50] }
    mode = "trace"
    trace_path = "latency/{method}.csv"
    trace_scale = { trace = "latency/naive.csv", median_ms = 45.0 }
    dt_ms = "= 1000 / hz"

    [defaults]                          # fields of EvalConfig for all methods
    estimator = { kind = "window_max", initial = "median" }

    [methods.realtime]                  # a named method
    [methods."soft+s{s}"]               # one per value of s, with fields of EvalConfig of its own
    for = { s = [1, 2, 4] }
    method = "realtime"
    method_options = { max_guidance_weight = 2.0 }
    execution = { execute_horizon = "{s}" }
    exclude = "profile == 'hedged' and s > 2"
    profiles = ["long_tail", "hedged"]  # by default all; run_path = "logs-bc/..." for policies of another run

    [[comparisons]]                     # every method against one, under every profile
    methods = ["realtime"]
    against = "naive"
    [[comparisons]]
    for = { s = [1, 2] }
    candidate = ["{profile}", "soft+s{s}"]
    reference = ["{profile}", "realtime"]
    less = { candidate = [...], reference = [...] }

    [[effects]]                         # main effects and interactions on a difference, under every profile
    for = ["recipe"]                    # the combinations that were tried
    name = "realtime - naive"
    candidate = ["{profile}", "realtime+{recipe.name}"]
    reference = ["{profile}", "naive+{recipe.name}"]
    factors = { labels = "{recipe.labels}", experts = "{recipe.experts}" }
    interactions = [["labels", "experts"]]

    [[aggregates]]                      # over arms that differ in their policies' training seed, under every profile
    for = ["seed"]
    name = "realtime - naive"
    candidate = ["{profile}", "realtime+{seed}"]
    reference = ["{profile}", "naive+{seed}"]   # by default none: the candidate's own values

`for` repeats a table for every combination of its axes (an array names axes of the table `[axes]`), `{axis}` and
`{axis.field}` are filled in, texts that begin with "=" are expressions, and `exclude` leaves combinations out. Methods
know `profile`, its name, and the axes of its table; comparisons, effects and
aggregates know `profile`; profiles know `method` and
`label`. An estimator that learns from delays starts from the profile's median (`initial = "median"`, the default here)
or from a number of ticks; one with a `kind` replaces that of `[defaults]`.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rtc import methods, worlds
from rtc.delay import profiles as delays
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.shared import paths, toml
from rtc.shared.paths import shipped
from rtc.shared.validation import require_choice, require_some, unknown
from rtc.study import templates
from rtc.study.evaluation import EvalConfig
from rtc.study.file_entries import LISTS, Entries
from rtc.study.layout import Drawing, Section
from rtc.study.study import DELAY_LEVELS, EPISODES, Arm, Study, starting_at_median
from rtc.worlds.kinetix.levels import SHIPPED

# The studies of the benchmark, by the names of their files.
FOLDER = shipped("exp/studies")
_ELSEWHERE = {
    "delay_profile": "belongs to the tables [profiles.<name>]",
    "num_evals": "is one number for the whole study, at the top",
    "num_slots": "is given on the command line, --num-slots",
    "model": "comes with the policy; leave it out",
    "step": "is the last one; leave it out",
}
_NAMES = ("name", "title", "title_zh", "question", "question_zh")
# What a study does not take from the one that it is like.
_OWN = (*_NAMES, "preregistered")
_TEXTS = (*_NAMES, "primary")
_PLAIN = ("num_evals", "preregistered")
_LISTS = ("seeds", "left_out")
_LIKE, _AXES = "like", "axes"
_TABLES = (_AXES, "defaults", "profiles", "methods", *LISTS)
_KEYS = (_LIKE, *_TEXTS, *_PLAIN, *_LISTS, "levels", "figures", "sections", "preview", *_TABLES)
_METHOD_ONLY = ("method", "run_path", "profiles", templates.FOR, templates.EXCLUDE)


def find(name: str | Path) -> Path:
    """The file of a study: a path, or the name of one of the benchmark's.

    Raises:
        ValueError: there is no such file.
    """
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        return path
    known = sorted(file.stem for file in FOLDER.glob("*.toml"))
    if str(name) not in known:
        raise unknown("study", str(name), [*known, "a path to a .toml file"])
    return FOLDER / f"{name}.toml"


def read(name: str | Path) -> Study:
    """The study of a file, given by its path or its name.

    Raises:
        ValueError: the file cannot be read, lacks something, or names what does not exist; the message says where.
    """
    path = find(name)
    tables = _tables(path)
    for key in ("profiles", "methods"):
        if not tables.get(key):
            raise ValueError(f"{path} has no tables [{key}.<name>]: give at least one")
    return _File(path, tables).study()


def _tables(path: Path, behind: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The tables of a file, and those of the study that it is like where it has none of its own.

    Axes are taken one by one; names, texts and whether it was preregistered are always the file's own.
    """
    tables = toml.read(path)
    for key in tables:
        if key not in _KEYS:
            raise unknown(f"{path}: key", key, _KEYS)
    _check_kinds(tables, path)
    if _LIKE not in tables:
        return tables
    name = tables.pop(_LIKE)
    other = path.with_name(f"{name}.toml")
    if other in (path, *behind) or not other.is_file():
        reason = "is made from this one" if other.is_file() else f"is not there: {other}"
        raise ValueError(f"{path}: like={name!r} {reason}; name another study of the same folder, or leave it out")
    there = _tables(other, (path, *behind))
    base = {key: value for key, value in there.items() if key not in _OWN}
    return {**base, **tables, _AXES: {**base.get(_AXES, {}), **tables.get(_AXES, {})}}


@dataclasses.dataclass(frozen=True, eq=False)
class _File:
    """A file that is being read."""

    path: Path
    tables: Mapping[str, Any]

    def study(self) -> Study:
        tables = self.tables
        name = tables.get("name", self.path.stem)
        texts = {"title": name, "title_zh": tables.get("title", name), "question": "", "question_zh": ""}
        texts |= {key: tables[key] for key in (*_TEXTS, *_PLAIN) if key in tables}
        texts |= {key: tuple(tables[key]) for key in _LISTS if key in tables}
        entries = Entries(self.path, tables, self.axes, tuple(self.profiles))
        return Study(
            **{"num_evals": EPISODES} | texts | {"name": name},
            arms=tuple(self.arms()),
            comparisons=tuple(entries.comparisons()),
            effects=tuple(entries.effects()),
            aggregates=tuple(entries.aggregates()),
            levels=tuple(map(self.level, tables.get("levels", DELAY_LEVELS))),
            figures=tuple(map(self.figure, tables.get("figures", Study.figures))),
            sections=tuple(map(self.section, tables.get("sections", ()))),
            preview=_preview(tables.get("preview"), self.path),
        )

    @property
    def axes(self) -> Mapping[str, Any]:
        return self.tables.get(_AXES, {})

    @functools.cached_property
    def profiles(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """Names of the profiles, each with its table's key and the values of its axes."""
        found = {}
        for key, table in self.tables["profiles"].items():
            where = f"{self.path}, profiles.{key}"
            for values in templates.left(table, templates.combinations(table, self.axes, where), where):
                name = templates.name(key, values, where)
                if name in found:
                    raise ValueError(f"{where}: there are two profiles {name!r}: name every axis of for in the key")
                found[name] = (key, values)
        return found

    def level(self, entry: str) -> str:
        """A level's name, or its path, which may be relative to the file, and have rules ("importer:x.json").

        Or a world that is stepped from Python ("gym:Pendulum-v1").
        """
        if not isinstance(entry, str):
            raise ValueError(f"{self.path}: levels entry {entry!r} must be a level's name or path, as a text")
        rules, path = paths.reading(entry)
        if paths.is_name(path) and rules is None:
            if worlds.is_hosted(entry):
                worlds.load(entry)
                return entry
            require_choice(f"{self.path}: levels entry", entry, SHIPPED)
            return entry
        beside = self.path.parent / path
        place = str(beside) if beside.is_file() else path
        return place if rules is None else f"{rules}:{place}"

    def section(self, entry: str | Mapping[str, Any]) -> Section:
        """A section of the report, by its kind or with more about it."""
        toml.checked(str | dict, entry, "sections entry", str(self.path))
        if isinstance(entry, str):
            return Section(entry)
        return toml.fill(Section(entry.get("kind", "")), entry, f"{self.path}, sections")

    def figure(self, entry: str | Mapping[str, Any]) -> str | Drawing:
        """A figure of the report, by its kind or with more about it."""
        toml.checked(str | dict, entry, "figures entry", str(self.path))
        if isinstance(entry, str):
            return entry
        return toml.fill(Drawing(entry.get("kind", "")), entry, f"{self.path}, figures")

    def trace(self, path: Any, name: str, where: str) -> str:
        """A trace's path, which is relative to the file."""
        return str((self.path.parent / toml.checked(str, path, name, where)).resolve())

    def profile(self, name: str, values: Mapping[str, Any], behind: tuple[str, ...] = ()) -> DelayProfileConfig:
        """A profile of the file, or a named one.

        Args:
            values: `method` and `label` of the arm that meets it.
            behind: the profiles of the file that are made from this one.
        """
        if name in behind:
            raise ValueError(
                f"{self.path}: profiles are made from each other, {' from '.join((*behind, name))}: give one of them "
                "another base"
            )
        if name not in self.profiles:
            return delays.profile(name)
        key, own = self.profiles[name]
        where = f"{self.path}, profiles.{name}"
        table = {k: v for k, v in self.tables["profiles"][key].items() if k not in (templates.FOR, templates.EXCLUDE)}
        changes = templates.filled(table, {**values, **own}, where)
        others = {
            role: self.other(toml.checked(str, changes.pop(role), role, where), name, values, behind)
            for role in ("base", "mean_of")
            if role in changes
        }
        if "mean_of" in others:
            if changes or "base" not in others:
                raise ValueError(f"{where}: mean_of needs a base, and nothing else")
            return _rarer(others["base"], others["mean_of"], where)
        own_name = "mode" not in changes and name in delays.PROFILES
        start = others.get("base", delays.profile(name) if own_name else DelayProfileConfig())
        if "trace_path" in changes:
            changes["trace_path"] = self.trace(changes["trace_path"], "trace_path", where)
        if isinstance(changes.get("trace_scale"), Mapping):
            changes["trace_scale"] = self.scale(changes["trace_scale"], where)
        return toml.fill(start, changes, where)

    def other(self, name: str, of: str, values: Mapping[str, Any], behind: tuple[str, ...]) -> DelayProfileConfig:
        """A profile that the profile `of` is made from; its own name stands for the named one."""
        if name == of and name in delays.PROFILES:
            return delays.profile(name)
        return self.profile(name, values, (*behind, of))

    def scale(self, table: Mapping[str, Any], where: str) -> float:
        """Factor on latencies that makes the median of a trace `median_ms`."""
        if set(table) != {"trace", "median_ms"}:
            raise ValueError(f"{where}: trace_scale is a factor, or a table with trace and median_ms")
        wanted = toml.checked(float, table["median_ms"], "trace_scale.median_ms", where)
        median = float(np.median(delays.read_trace(self.trace(table["trace"], "trace_scale.trace", where))))
        if median == 0:
            raise ValueError(
                f"{where}: trace_scale.trace={table['trace']!r} has a median of 0 ms, and no factor makes that "
                f"{wanted:g} ms: take another trace, or give trace_scale as a number"
            )
        return wanted / median

    def arms(self) -> Iterator[Arm]:
        """The arms: methods in their order, each under every profile."""
        for key, table in self.tables["methods"].items():
            where = f"{self.path}, methods.{key}"
            _check_keys({"defaults": self.tables.get("defaults", {}), "methods." + key: table}, str(self.path))
            profiles = toml.checked(tuple[str, ...], table.get("profiles", list(self.profiles)), "profiles", where)
            require_some(f"{where}: profiles", profiles)
            combined = (
                {**self.profiles.get(profile, ("", {}))[1], **values, "profile": profile}
                for values in templates.combinations(table, self.axes, where)
                for profile in profiles
            )
            for here in templates.left(table, combined, where):
                yield self.arm(key, table, here)

    def arm(self, key: str, table: Mapping[str, Any], values: Mapping[str, Any]) -> Arm:
        """A method under a profile."""
        label = templates.name(key, values, f"{self.path}, methods.{key}")
        where = f"{self.path}, methods.{label}"
        own = {name: value for name, value in table.items() if name not in _METHOD_ONLY}
        method = templates.filled(table.get("method", label), values, where)
        require_choice(f"{where}: method", method, methods.METHODS)
        delay = self.profile(values["profile"], {"method": method, "label": label})
        changes = _merged(self.tables.get("defaults", {}), templates.filled(own, values, where))
        estimator = _estimator(changes.pop("estimator", {}), delay, where)
        config = EvalConfig(delay_profile=delay, method=method, estimator=estimator)
        run_path = templates.filled(table.get("run_path"), values, where)
        if run_path is not None:
            toml.checked(str, run_path, "run_path", where)
        return Arm(values["profile"], label, toml.fill(config, changes, where), run_path)


def _check_kinds(tables: Mapping[str, Any], path: Path) -> None:
    """Raises ValueError where a key at the top of the file, or a table below it, has something else than it holds."""
    for kind, keys in (
        (str, (_LIKE, *_TEXTS)),
        (bool, ("preregistered",)),
        (list, (*_LISTS, "levels", "figures", "sections", "preview", *LISTS)),
        (dict, (_AXES, "defaults", "profiles", "methods")),
    ):
        for key in keys:
            if key in tables:
                toml.checked(kind, tables[key], key, str(path))
    for key in ("profiles", "methods"):
        for name, table in tables.get(key, {}).items():
            toml.checked(dict, table, f"{key}.{name}", str(path))
    defaults = tables.get("defaults", {})
    toml.checked(dict, defaults.get("estimator", {}), "defaults.estimator", str(path))
    for name in _METHOD_ONLY:
        if name in defaults:
            raise ValueError(f"{path}, defaults: {name}={defaults[name]!r} belongs to the tables [methods.<label>]")


def _check_keys(tables: Mapping[str, Mapping[str, Any]], path: str) -> None:
    for where, values in tables.items():
        for name, place in _ELSEWHERE.items():
            if name in values:
                raise ValueError(f"{path}, {where}: {name} {place}")


def _merged(defaults: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Two tables of fields of EvalConfig; nested tables are merged, but an estimator of another kind replaces one."""
    found = dict(defaults)
    for name, value in changes.items():
        nested = isinstance(value, Mapping) and isinstance(found.get(name), Mapping)
        replaces = name == "estimator" and isinstance(value, Mapping) and "kind" in value
        found[name] = {**found[name], **value} if nested and not replaces else value
    return found


def _rarer(base: DelayProfileConfig, mean_of: DelayProfileConfig, where: str) -> DelayProfileConfig:
    """A profile's delays, but rarer, so that their mean is that of another."""
    try:
        return delays.thinned(base, delays.mean_delay(mean_of))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _estimator(table: Mapping[str, Any], delay: DelayProfileConfig, where: str) -> EstimatorConfig:
    toml.checked(dict, table, "estimator", where)
    at_median = table.get("initial", "median") == "median"
    given = {name: value for name, value in table.items() if not (name == "initial" and at_median)}
    config = toml.fill(EstimatorConfig(), given, f"{where}, estimator")
    found = starting_at_median(delay, config) if at_median else config
    if table.get("initial") == "median" and found is config:
        raise ValueError(f"{where}: initial has no effect on an estimator of kind {config.kind!r}; leave it out")
    return found


def _preview(entry: Any, path: Path) -> tuple[tuple[str, str], tuple[str, str]] | None:
    """The two arms of the preview."""
    if entry is None:
        return None
    try:
        return toml.checked(tuple[tuple[str, str], tuple[str, str]], entry, "preview", str(path))
    except ValueError as error:
        raise ValueError(f"{path}: preview={entry!r} must be two arms, each [profile, method]") from error
