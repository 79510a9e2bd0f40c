"""Entries of the leaderboard: a method under a fixed protocol, the file of its outcomes, and what is checked of it.

An entry is a folder with `entry.json` (what was run), `episodes.parquet` (`rtc.study.archive`) and, for a method of the
user's own, the plugin that registers it.
"""

import dataclasses
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rtc import methods, worlds
from rtc.delay.estimators import EstimatorConfig
from rtc.methods import MethodOptions
from rtc.shared import files, provenance
from rtc.shared.files import PathLike
from rtc.study import archive, identity
from rtc.study import cells as store
from rtc.study import files as study_files
from rtc.study.cells import Cell, CellData
from rtc.study.outcome import Outcome
from rtc.study.statistics import SOLVED
from rtc.study.study import Arm, Study, starting_at_median
from rtc.worlds.kinetix import levels

PROTOCOL = "beat_the_delay"
FOLDER = Path("exp_runs/leaderboard")
NAME = "entry.json"
# What a row per episode has to have besides what names the cell.
COLUMNS = (
    "episode",
    SOLVED,
    "returned_episode_returns",
    "returned_episode_lengths",
    "rms_ddelta_action",
    "starved_ticks",
    "num_queries",
    "abandoned_queries",
    "flow_evals",
)
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_TOLERANCE = 1e-6  # of means that were computed in another order


@dataclass(frozen=True)
class Entry:
    """What was run.

    Attributes:
        method: name of the method.
        label: its name in the table.
        protocol: name of the study whose profiles, levels, seeds, episodes and horizons it met.
        method_options: numbers of the method.
        estimator: what it was told about the delay; its first value is the profile's median.
        plugin: file name of the plugin that registers it; None for a method of the package.

    Raises:
        ValueError: what should be a text is none, or a name is no plain word: it becomes a folder and a row of the
            table.
    """

    method: str
    label: str = ""
    protocol: str = PROTOCOL
    method_options: MethodOptions = field(default_factory=MethodOptions)
    estimator: EstimatorConfig = field(default_factory=EstimatorConfig)
    plugin: str | None = None

    def __post_init__(self) -> None:
        for name in ("method", "label", "protocol", "plugin"):
            value = getattr(self, name)
            if not isinstance(value, str) and (name, value) != ("plugin", None):
                raise ValueError(f"{name}={value!r} must be a text")
        if not _LABEL.fullmatch(self.name):
            field_name = "label" if self.label else "method"
            raise ValueError(
                f"{field_name}={self.name!r} cannot name an entry: give a label of letters, digits and _ . + -, that "
                "begins with a letter or digit"
            )

    @property
    def name(self) -> str:
        return self.label or self.method


def study(entry: Entry) -> Study:
    """The entry's cells as a study: an arm per profile of the protocol.

    Each is the arm of the protocol's first method with another method, its options and its estimator.

    Raises:
        ValueError: there is no such protocol or method, an option that the method does not read, a label that is a
            row of the protocol, or a protocol on other worlds than Kinetix's or of token policies.
    """
    fixed = study_files.read(entry.protocol)
    if any(map(worlds.is_hosted, fixed.levels)) or any(one.decoding is not None for one in fixed.arms):
        raise ValueError(
            f"protocol={entry.protocol!r} cannot have entries: it has worlds outside Kinetix or token policies; give a "
            f"study of Kinetix's levels, such as {PROTOCOL}"
        )
    if entry.name in fixed.methods:
        raise ValueError(
            f"label={entry.name!r} is a row of {fixed.name} already: give the entry a label of its own (--label)"
        )
    methods.make(entry.method, entry.method_options)
    arms = tuple(_arm(entry, fixed.arm((profile, fixed.methods[0]))) for profile in fixed.profiles)
    none = dict.fromkeys(("comparisons", "effects", "aggregates", "figures", "sections"), ())
    none |= {"preview": None, "baseline": None}
    return dataclasses.replace(fixed, name="leaderboard", title=entry.name, title_zh="", arms=arms, **none)


def _arm(entry: Entry, like: Arm) -> Arm:
    estimator = starting_at_median(like.config.delay_profile, entry.estimator)
    changes = {"method": entry.method, "method_options": entry.method_options, "estimator": estimator}
    return dataclasses.replace(like, method=entry.name, config=dataclasses.replace(like.config, **changes))


def write(folder: PathLike, entry: Entry, plugin: Path | None) -> None:
    """Writes entry.json, and the plugin beside it."""
    about = dataclasses.asdict(entry) | {"command": provenance.command_line()}
    files.atomic_write(Path(folder) / NAME, json.dumps(about, indent=2) + "\n")
    if plugin is not None and plugin.resolve() != (Path(folder) / plugin.name).resolve():
        with files.atomic_path(Path(folder) / plugin.name) as temporary:
            shutil.copyfile(plugin, temporary)


def read(folder: PathLike) -> Entry:
    """What an entry ran; its plugin is loaded.

    Raises:
        ValueError: there is no entry.json, or it holds something else.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        raise ValueError(f"{path} is missing: make the entry with exp-delta leaderboard run")
    try:
        about = json.loads(path.read_text())
        about.pop("command", None)
        options = about.get("method_options", {})
        options["own"] = tuple(tuple(pair) for pair in options.get("own", ()))
        about["method_options"] = MethodOptions(**options)
        about["estimator"] = EstimatorConfig(**about.get("estimator", {}))
        entry = Entry(**about)
    except (TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is no entry of the leaderboard ({error})") from error
    if entry.plugin is not None:
        _register(entry.method, Path(folder) / Path(entry.plugin).name)
    return entry


def _register(method: str, plugin: Path) -> None:
    """Loads a plugin, unless a file of the same content has registered the method already."""
    if not plugin.is_file():
        raise ValueError(f"{plugin} is missing: it registers the method {method!r}")
    known = methods.METHODS.get(method)
    if known is None or known.sha256 != provenance.sha256(plugin.read_bytes()):
        try:
            methods.load_plugin(plugin)
        except Exception as error:  # what a stranger's file may raise
            raise ValueError(f"{plugin} cannot be loaded: {type(error).__name__}: {error}") from error


def outcome(folder: PathLike) -> Outcome:
    """The outcomes of an entry, which `problems` has found complete.

    Raises:
        ValueError: as of `read`, or the archive is damaged.
    """
    asked, found = study(read(folder)), {}
    for cell, data in archive.read(folder).cells.items():
        found.setdefault((cell.level, cell.profile, cell.method), []).append(data)
    return Outcome(asked, {key: tuple(cells) for key, cells in found.items()})


def problems(folder: PathLike) -> list[str]:
    """What keeps an entry from the table, one line each; none if it is as the protocol wants it.

    Raises:
        ValueError: as of `outcome`.
    """
    asked = study(read(folder))
    there = archive.read(folder).cells
    wanted = {
        Cell(*one.key, seed, levels.load(level).name): (one, level)
        for level in asked.levels
        for one in asked.arms
        for seed in asked.seeds
    }
    found = [f"{cell} on {cell.level} is missing" for cell in wanted if cell not in there]
    found += [f"{cell} on {cell.level} is not part of the protocol" for cell in there if cell not in wanted]
    for cell, (one, level) in wanted.items():
        if cell in there:
            found += [f"{cell} on {cell.level}: {text}" for text in _of_cell(asked, one, level, there[cell])]
    return found


def _of_cell(asked: Study, one: Arm, level: str, cell: CellData) -> Iterator[str]:
    """What is wrong with a cell: its episodes, its settings, its level, its code."""
    missing = [name for name in COLUMNS if name not in cell.episodes]
    if missing:
        yield f"lacks the columns {', '.join(missing)}"
        return
    numbers = cell.episodes["episode"].to_numpy()
    if not np.array_equal(numbers, np.arange(asked.num_evals)):
        yield f"has {len(numbers)} episodes, not those numbered 0 to {asked.num_evals - 1}"
    solved = cell.episodes[SOLVED].to_numpy(float)
    if not np.isin(solved, (0.0, 1.0)).all():
        yield f"{SOLVED} is neither 0 nor 1 somewhere"
    if not np.isfinite(cell.episodes[list(COLUMNS)].to_numpy(float)).all():
        yield "some values are not finite"
    means = {
        name: cell.episodes[name].mean() for name in (SOLVED, "returned_episode_returns", "returned_episode_lengths")
    }
    means["flow_evals_per_tick"] = cell.episodes["flow_evals"].sum() / cell.episodes["returned_episode_lengths"].sum()
    for name, mean in means.items():
        if not np.isclose(cell.result.get(name, np.nan), mean, rtol=_TOLERANCE, atol=_TOLERANCE):
            yield f"its result says {name} = {cell.result.get(name)}, its episodes {mean}"
    config = dataclasses.replace(one.config, num_evals=asked.num_evals)
    wanted = {
        "config": {**identity.settings(config), "seed": cell.cell.seed},
        "level_sha256": levels.load(level).sha256,
        store.CODE: identity.code(config),
    }
    given = {name: cell.inputs.get(name) for name in wanted}
    for name, has, wants in store.differences(given, store.plain(wanted)):
        advice = "; run it again with this version of the code and the locked packages" if name == store.CODE else ""
        yield f"{name} = {has}, not {wants}{advice}"
