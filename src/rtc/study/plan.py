"""From a study and its command line to the cells that have to be there, each with its policy, place and inputs."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtc import methods, worlds
from rtc.delay.profiles import DelayProfileConfig
from rtc.policies import kinds
from rtc.policies.kinds import PolicyKind
from rtc.study import archive as archives
from rtc.study import cells as store
from rtc.study import hosted, hosted_tokens, identity, modes, policy_kinds, sequences, subject, tokens
from rtc.study.arguments import StudyArguments
from rtc.study.cells import Cell, CellData, CellError
from rtc.study.evaluation import EvalConfig
from rtc.study.sequences import SequenceDecoding
from rtc.study.study import Arm, Study
from rtc.study.subject import Subject
from rtc.study.tokens import Decoding


@dataclass(frozen=True, eq=False)
class PlannedCell:
    """A cell, the configuration that fills it, and where it goes.

    Attributes:
        cell: what it is.
        config: its configuration.
        subject: its policy and level.
        directory: its folder.
        archive: folder of the study's archive, where it may be if its own folder is not there; None for no archive.
    """

    cell: Cell
    config: EvalConfig
    subject: Subject
    directory: Path
    archive: Path | None = None

    @functools.cached_property
    def inputs(self) -> dict[str, Any]:
        """Everything that its results depend on."""
        found = self.subject.inputs(self.config, self.cell.seed)
        return found | {store.CODE: modes.code(found[store.CODE], self.cell.level, self.config)}

    def standing(self) -> store.Standing:
        """What is in its place, in its own folder or in the archive."""
        own = self._own()
        kept = self._kept(own)
        return kept if _archived(own, kept) else own

    def read(self) -> CellData:
        """The finished cell, perhaps of an older version of the code.

        Raises:
            CellError: it is not there, or was computed from another configuration.
        """
        own = self._own()
        kept = self._kept(own)
        if _archived(own, kept) or (own.status == "damaged" and kept.status == "older"):
            if kept.status == "other":
                raise CellError(f"{archives.path(self.archive)}, {self.cell}: {kept.reason}")
            return dataclasses.replace(archives.read(self.archive).cells[self.cell], directory=self.directory)
        return store.read_found(self.directory, own, older=True)

    def _own(self) -> store.Standing:
        return store.standing(self.directory, self.cell, self.inputs)

    def _kept(self, own: store.Standing) -> store.Standing:
        """What the archive holds, where that may count."""
        if self.archive is None or own.status in ("complete", "other"):
            return store.Standing("missing", "not asked for")
        return archives.read(self.archive).standing(self.cell, self.inputs)


def _archived(own: store.Standing, kept: store.Standing) -> bool:
    """Whether the archive's cell counts: where there is no other, or only an older or a damaged one."""
    if own.status == "missing":
        return kept.status != "missing"
    return own.status in ("older", "damaged") and kept.status == "complete"


def run_of(one: Arm, args: StudyArguments) -> str:
    """The run whose policies an arm executes."""
    if one.run_path is not None:
        return one.run_path
    return methods.run_for(one.config.method, args.run_path, args.prefix_run_path)


def load(one: Arm, args: StudyArguments, level: str) -> Subject:
    """An arm's policy on a level; arms share them."""
    if one.decoding is not None:
        of_tokens = hosted_tokens.load if worlds.is_hosted(level) else _TOKENS[type(one.decoding)]
        return of_tokens(run_of(one, args), one.decoding, level)
    found = hosted.load if worlds.is_hosted(level) else _flow
    return found(run_of(one, args), level, one.config.step, one.config.model, one.policy)


# What loads the policy of a decoding on a level of Kinetix.
_TOKENS = {Decoding: tokens.load, SequenceDecoding: sequences.load}
_flow = functools.lru_cache(maxsize=64)(subject.load)


def planned(study: Study, args: StudyArguments, one: Arm, level: str, seed: int) -> PlannedCell:
    """An arm's cell on one level; `args` are those of the study (`StudyArguments.of`).

    Raises:
        CellError: the arm has the delays of a cell that is not there.
        ValueError: the method does not fit the policy, or a trace cannot be read.
    """
    policy = load(one, args, level)
    config = _sized(one, args)
    if one.delays_of is not None:
        source = planned(study, args, study.arm(one.delays_of), level, seed).read()
        config = dataclasses.replace(config, delay_profile=pooled(source))
    policy.check(config)
    cell = Cell(*one.key, seed, policy.level.name)
    root = Path(one.root or args.root)
    place = store.cell_dir(root / study.layout.format(level=policy.level.name), cell)
    return PlannedCell(cell, config, policy, place, root)


def _sized(one: Arm, args: StudyArguments) -> EvalConfig:
    """An arm's configuration with the command line's number of episodes."""
    return dataclasses.replace(one.config, num_evals=args.num_evals, num_slots=args.num_slots)


def level_name(level: str) -> str:
    """The name of a level that is given by its name or path."""
    return worlds.load(level).name


def finished(study: Study, args: StudyArguments, one: Arm, level: str, seed: int) -> tuple[CellData, str]:
    """A finished cell, and the version of the code that would compute it now.

    Where the arm's policy or one of its networks is not there, as in a clone that ships neither, a cell of the archive
    counts if its settings are the arm's.

    Raises:
        CellError: it is not there; or the policy is not, does not fit the method, or a trace cannot be read, and the
            archive lacks the cell.
        ValueError: the archive is damaged.
    """
    try:
        cell = planned(study, args, one, level, seed)
        return cell.read(), cell.inputs[store.CODE]
    except CellError:
        raise
    except (FileNotFoundError, ValueError) as error:
        if one.decoding is not None:
            raise CellError(str(error)) from error
        config = _sized(one, args)
        kept = archives.read(one.root or args.root).cells.get(Cell(*one.key, seed, level_name(level)))
        kind = None if kept is None else _kind(kept, config, seed)
        if kept is None or kind is None:
            raise CellError(str(error)) from error
        return kept, _code(config, level, kind)


def _kind(kept: CellData, config: EvalConfig, seed: int) -> PolicyKind | None:
    """The kind of policy that a cell was computed with, if its settings are those of a configuration."""
    wanted = {kind: store.plain({**policy_kinds.settings(kind, config), "seed": seed}) for kind in kinds.KINDS.values()}
    return next((kind for kind, settings in wanted.items() if kept.inputs["config"] == settings), None)


def _code(config: EvalConfig, level: str, kind: PolicyKind) -> str:
    """Version of the code that evaluates chunk policies of a kind on a level."""
    if not worlds.is_hosted(level):
        return modes.code(identity.code(config, kind.loader), level_name(level), config)
    return identity.hosted_code(config, worlds.module_of(worlds.load(level).kind), kind.loader)


def pooled(cell: CellData) -> DelayProfileConfig:
    """A delay profile with the delays of a cell's queries, drawn independently of everything else."""
    counts = cell.delay_counts
    total, delays = sum(counts.values()), tuple(sorted(counts))
    probabilities = tuple(counts[delay] / total for delay in delays)
    return DelayProfileConfig(mode="mixture", base_delays=delays, base_probs=probabilities)


def cells(study: Study, args: StudyArguments, arms: Iterable[Arm] | None = None) -> Iterator[PlannedCell]:
    """The cells of a study's arms: by level, then arms in their order, then seeds."""
    chosen = study.arms if arms is None else tuple(arms)
    for level in args.levels:
        for one in chosen:
            for seed in args.seeds:
                yield planned(study, args, one, level, seed)


def known(study: Study, args: StudyArguments) -> Iterator[PlannedCell]:
    """The cells whose configurations are known before any work: without those that wait for the delays of others."""
    for level in args.levels:
        for one in study.arms:
            for seed in args.seeds:
                source = None if one.delays_of is None else study.arm(one.delays_of)
                if source is None or planned(study, args, source, level, seed).standing().status == "complete":
                    yield planned(study, args, one, level, seed)


def check_levels(study: Study, args: StudyArguments, names: Iterable[str]) -> None:
    """Raises ValueError where levels would share a directory."""
    names = list(names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"levels {', '.join(twice)} come twice: results are kept by level name, so give each once")
    if len(names) > 1 and study.layout.format(level="a") == study.layout:
        raise ValueError(f"{study.name} has one level, not {len(names)}: {', '.join(args.levels)}")


def distinct(study: Study, args: StudyArguments) -> Study:
    """The study with arms renamed whose place holds another configuration: `<profile>-<hash of the configuration>`.

    So runs with different settings share an output folder, and each finds its own cells again.
    """
    return dataclasses.replace(study, arms=tuple(_renamed(study, args, one) for one in study.arms))


def _renamed(study: Study, args: StudyArguments, one: Arm) -> Arm:
    mine = [planned(study, args, one, level, seed) for level in args.levels for seed in args.seeds]
    if not any(_taken(cell) for cell in mine):
        return one
    settings = {name: value for name, value in mine[0].inputs["config"].items() if name != "seed"}
    contents = {name: mine[0].inputs[name] for name in ("checkpoint_sha256", "level_sha256")}
    key = store.fingerprint({"config": settings, **contents})
    return dataclasses.replace(one, profile=f"{one.profile}-{key[:8]}")


def _taken(cell: PlannedCell) -> bool:
    """Whether this place or that of another seed holds another configuration."""
    for place in (cell.directory, *cell.directory.parent.glob("seed_*")):
        there = store.marked_inputs(place)
        if there is not None and _unlike(there, cell.inputs):
            return True
    return False


def _unlike(there: dict[str, Any], wanted: dict[str, Any]) -> bool:
    changed = store.differences(there, store.plain(wanted))
    return any(name != "config.seed" and name.split(".")[0] not in store.VERSIONS for name, _, _ in changed)
