"""The finished cells of a study: the one reader, and the statistics of its arms."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from jaxtyping import Float

from rtc.shared.files import PathLike
from rtc.study import archive, families, pairs, statistics
from rtc.study import plan as planning
from rtc.study.arguments import StudyArguments
from rtc.study.cells import CODE, SIMULATOR, CellData, CellError
from rtc.study.pairs import PairedTest
from rtc.study.questions import ArmKey, Comparison
from rtc.study.statistics import SOLVED, Interval
from rtc.study.study import Arm, Study

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Outcome:
    """The finished cells of a study.

    Attributes:
        study: the study.
        cells: by (level, profile, method): one per seed.
        missing: why an arm has no cells on a level.
    """

    study: Study
    cells: Mapping[Key, tuple[CellData, ...]]
    missing: Mapping[Key, str] = field(default_factory=dict)

    @classmethod
    def read(cls, study: Study, args: StudyArguments, *, required: Sequence[ArmKey] | None = ()) -> "Outcome":
        """Reads the cells that are complete and of this protocol; arms that lack a seed on a level are left out there.

        Args:
            study: the study.
            args: how it was run, as `StudyArguments.of` gives it.
            required: arms that must be complete; None: all of them.

        Raises:
            CellError: cells of required arms are missing; all are named.
            ValueError: cells were computed by different versions of the code.
        """
        found: dict[Key, tuple[CellData, ...]] = {}
        missing: dict[Key, str] = {}
        versions: dict[str, set[str]] = {}
        for level in args.levels:
            name = planning.level_name(level)
            for one in study.arms:
                try:
                    cells = [planning.finished(study, args, one, level, seed) for seed in args.seeds]
                except CellError as error:
                    missing[name, *one.key] = str(error)
                    continue
                found[name, *one.key] = tuple(cell.without(study.left_out) for cell, _ in cells)
                for cell, version in cells:
                    versions.setdefault(version, set()).add(cell.inputs[CODE])
        needed = [one.key for one in study.arms] if required is None else required
        _require_one_version(versions, args)
        _require_one_simulator(found, args)
        lacking = [text for (_, *key), text in missing.items() if tuple(key) in needed]
        if lacking:
            raise CellError("\n  ".join([f"{len(lacking)} arms are incomplete:", *lacking]))
        return cls(study, found, missing)

    def keep(self, root: PathLike) -> None:
        """Writes the cells to the study's archive, but for those that belong to another study; what is there stays."""
        own = {one.key for one in self.study.arms if one.root is None}
        cells = [cell for (_, *key), found in self.cells.items() if tuple(key) in own for cell in found]
        if cells:
            archive.update(root, cells)

    @property
    def levels(self) -> list[str]:
        """Levels with finished cells."""
        return list(dict.fromkeys(level for level, _, _ in self.cells))

    @property
    def total_episodes(self) -> int:
        """Episodes of an arm on a level, over its seeds; the least of all arms."""
        return min((sum(len(cell.episodes) for cell in found) for found in self.cells.values()), default=0)

    def complete(self, *keys: ArmKey) -> bool:
        """Whether all levels have these arms."""
        return bool(self.levels) and all((level, *key) in self.cells for level in self.levels for key in keys)

    def arms(self) -> list[Arm]:
        """Arms that all levels have."""
        return [one for one in self.study.arms if self.complete(one.key)]

    def group(self, key: ArmKey) -> list[CellData]:
        """An arm's cells, by level and seed."""
        return [cell for level in self.levels for cell in self.cells.get((level, *key), ())]

    def episodes(self, level: str, key: ArmKey, metric: str) -> Float[np.ndarray, " n"]:
        """A metric of all episodes, in order of seed and episode."""
        return np.concatenate([cell.episodes[metric].to_numpy(float) for cell in self.cells[level, *key]])

    def rate(self, level: str, key: ArmKey) -> Interval:
        """Solve rate on one level, with its Wilson interval."""
        return statistics.solve_rate(self.cells[level, *key])

    def mean(self, key: ArmKey, metric: str) -> Interval:
        """Mean over the levels of a per-episode metric."""
        of = statistics.rate_over_levels if metric == SOLVED else statistics.mean_over_levels
        return of([self.episodes(level, key, metric) for level in self.levels])

    def difference(self, comparison: Comparison, metric: str) -> PairedTest:
        """Paired difference, in the mean over the levels."""
        levels = [self.pairs(comparison, metric, level) for level in self.levels]
        return pairs.table_test(metric, levels, comparison.bound)

    def tests(self, metric: str) -> dict[Comparison, tuple[PairedTest, float]]:
        """The comparisons whose arms are complete, each with its p value corrected within its family (Holm)."""
        found = {c: self.difference(c, metric) for c in self.study.comparisons if self.complete(*c.arms)}
        corrected: dict[Comparison, float] = {}
        for family in dict.fromkeys(c.family for c in found):
            members = [c for c in found if c.family == family]
            planned = sum(c.family == family for c in self.study.comparisons)
            adjusted = families.holm([found[c].p_value for c in members], planned)
            corrected |= dict(zip(members, adjusted, strict=True))
        return {c: (test, corrected[c]) for c, test in found.items()}

    def pairs(self, comparison: Comparison, metric: str, level: str) -> Float[np.ndarray, " n"]:
        """The differences of the episodes of one level."""
        candidate, reference = (
            self.episodes(level, key, metric) for key in (comparison.candidate, comparison.reference)
        )
        less = self.pairs(comparison.less, metric, level) if comparison.less else 0.0
        return candidate - reference - less

    def cell_mean(self, key: ArmKey, column: str) -> float:
        """Mean over levels and seeds of a column of results.csv; NaN where a cell lacks it."""
        return float(np.mean([cell.result.get(column, np.nan) for cell in self.group(key)]))

    def delay_counts(self, key: ArmKey) -> Counter[int]:
        """Queries by their delay in ticks, over levels and seeds."""
        counts: Counter[int] = Counter()
        for cell in self.group(key):
            counts.update(cell.delay_counts)
        return counts

    def evaluations_per_chunk(self, key: ArmKey) -> float:
        """Network evaluations per chunk that arrived, mean over levels and seeds; abandoned queries cost, too."""

        def of(episodes: pd.DataFrame) -> float:
            # Every episode starts with a chunk that is there from the beginning.
            arrived = episodes["num_queries"] - episodes["abandoned_queries"] + 1
            return episodes["flow_evals"].sum() / arrived.sum()

        return float(np.mean([of(cell.episodes) for cell in self.group(key)]))

    def rows(self) -> pd.DataFrame:
        """All result rows, for results_all.csv."""
        return pd.DataFrame([cell.result for cells in self.cells.values() for cell in cells])


def _require_one_version(versions: Mapping[str, set[str]], args: StudyArguments) -> None:
    """Raises ValueError where cells come from different versions of the code; `versions`: now -> as recorded."""
    current = {now in there for now, there in versions.items()}
    if any(len(there) > 1 for there in versions.values()) or len(current) > 1:
        raise ValueError(f"{args.root} has cells of different versions of the code: run it again")


def _require_one_simulator(found: Mapping[Key, tuple[CellData, ...]], args: StudyArguments) -> None:
    """Raises ValueError where cells were simulated by different versions of a package."""
    versions: dict[str, set[str]] = {}
    for cells in found.values():
        for cell in cells:
            for package, version in cell.inputs.get(SIMULATOR, {}).items():
                versions.setdefault(package, set()).add(version)
    for package, there in versions.items():
        if len(there) > 1:
            raise ValueError(f"{args.root} has cells of {package} {', '.join(sorted(there))}: run it again")
