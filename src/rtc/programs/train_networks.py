"""Trains what methods need besides a policy: `python src/train_networks.py --run-path logs-bc/<run>`."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from rtc import methods, worlds
from rtc.policies import checkpoints, kinds, networks, weights
from rtc.policies.checkpoints import level_slug
from rtc.programs import presets
from rtc.shared import provenance
from rtc.shared.validation import require_choice, require_some
from rtc.study import hosted_suite, preparation, recordings, subject
from rtc.study.hosted_suite import HostedSuite
from rtc.study.recordings import RecordingConfig
from rtc.study.subject import FlowSubject
from rtc.training import cloning, delayed, demonstrations, forward, heads, latents, runs, trainer, trajectories, vlash
from rtc.training.demonstrations import Demonstrations
from rtc.training.forward import ForwardTraining
from rtc.training.heads import HeadTraining
from rtc.training.latents import LatentTraining
from rtc.training.networks import Job
from rtc.training.trainer import FitConfig
from rtc.training.trajectories import Trajectories
from rtc.training.vlash import VlashTraining

Trainable = FlowSubject | HostedSuite
Kind = Literal["forward", "correction", "head_only", "latent", "vlash", "delay_expert"]
HEADS = ("correction", "head_only")
VLASH, EXPERT = "vlash", "delay_expert"
# What may learn from demonstrations.
SHOWN = (*HEADS, VLASH)


def _many_episodes() -> RecordingConfig:
    return RecordingConfig(episodes=2048)


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Trains networks that go with a run's policies, level by level, on rollouts of these policies.

    Rollouts, statistics and the state to resume from go to <work-path>/<name of the run>/, the networks to
    <run-path>/networks/<kind>/, policies for vlash to <run-path>_vlash/. What is there already is kept; a killed run
    goes on where it was.
    """

    run_path: Path = Path("logs-bc/h8")
    """The policies' run."""
    level_paths: tuple[str, ...] = ("all",)
    """Levels, one after the other: paths, names, or "all" for the benchmark's 12. Worlds that are stepped from Python
    and share a policy (libero_state:libero_spatial_0, ...) share its networks: give all of them."""
    kinds: tuple[Kind, ...] = ("forward", "correction")
    """forward: models of the level; correction: heads of A2C2; head_only: heads that act by themselves; latent:
    predictors of FutureRTC; vlash: the run's policies, fine-tuned on observations whose robot is ahead; delay_expert:
    what acts of the experts in `experts`."""
    work_path: Path = Path("logs-rollouts")
    """Folder of rollouts and training states."""
    demonstrations: Path | None = None
    """Folder of demonstrations, as in logs-expert/<run>/data, for heads and vlash to learn from as published. None:
    heads learn from the rollouts, what the policy itself would do without delay; vlash from the policy's own solved
    episodes without delay."""
    experts: Path | None = None
    """Run of src/train_expert.py with --config.delay, for delay_expert."""
    recording: RecordingConfig = dataclasses.field(default_factory=RecordingConfig)
    own_recording: RecordingConfig = dataclasses.field(default_factory=_many_episodes)
    """The policy's own episodes, the solved ones of which vlash learns from."""
    forward: ForwardTraining = dataclasses.field(default_factory=ForwardTraining)
    head: HeadTraining = dataclasses.field(default_factory=HeadTraining)
    latent: LatentTraining = dataclasses.field(default_factory=LatentTraining)
    vlash: VlashTraining = dataclasses.field(default_factory=VlashTraining)
    resume: bool = True
    """Keep what is there; --no-resume starts afresh."""

    def __post_init__(self):
        require_some("kinds", self.kinds)
        for kind in self.kinds:
            require_choice("kinds", kind, get_args(Kind))
        chosen = set(self.kinds)
        if self.demonstrations is not None and not chosen & set(SHOWN):
            raise ValueError(f"demonstrations has no effect with kinds={self.kinds}: leave it out, or train heads")
        if (self.experts is None) == (EXPERT in chosen):
            fix = "leave it out" if self.experts else f"{EXPERT} needs the run of its experts"
            raise ValueError(f"experts={self.experts} with kinds={self.kinds}: {fix}")
        if not self.head.model.reads_base:
            raise ValueError("head.model.reads_base=False is what kinds=head_only is for: leave it out")
        if self.head.labels != HeadTraining.labels and ("correction" not in chosen or self.demonstrations is not None):
            raise ValueError(
                f"head.labels={self.head.labels!r} has no effect on heads that do not see the chunk, or learn from "
                "demonstrations: leave it out"
            )
        used = {
            "recording": self.needs_rollouts(self.kinds),
            "own_recording": VLASH in chosen and self.demonstrations is None,
            "forward": "forward" in chosen,
            "head": bool(chosen & set(HEADS)),
            "latent": "latent" in chosen,
            "vlash": VLASH in chosen,
        }
        for field in dataclasses.fields(self):
            if not used.get(field.name, True) and getattr(self, field.name) != field.default_factory():
                raise ValueError(f"{field.name} has no effect with kinds={self.kinds}: leave its settings out")

    def needs_rollouts(self, kinds: Sequence[Kind]) -> bool:
        """Whether any of these kinds learns from rollouts."""
        return bool(set(kinds) - {EXPERT, VLASH} - set(HEADS if self.demonstrations else ()))


def train(args: Arguments) -> list[Path]:
    """Trains what the arguments ask for; returns the networks' files, without suffix."""
    written = []
    for one in _subjects(args):
        require_flow(args, one)
        demonstrated = _demonstrated(args, one)
        wanted = {kind: _wanted(args, one, kind, demonstrated) for kind in args.kinds}
        paths = {kind: _place(args, kind, one.filed_under) for kind in args.kinds}
        missing = [kind for kind in args.kinds if not (args.resume and _is_there(paths[kind], kind, wanted[kind]))]
        rollouts = _rollouts(args, one) if args.needs_rollouts(missing) else None
        for kind in missing:
            if kind == EXPERT:
                delayed.export(delayed.best(args.experts, paths[kind].name), paths[kind], wanted[kind])
                print(f"{paths[kind]}: {wanted[kind]['solve_rate']:.1%} solved at the end of training, over all delays")
                continue
            own = None if kind == VLASH else rollouts
            data = demonstrated.data if demonstrated and kind in SHOWN else own
            facts = _train(args, one, data, kind, wanted[kind], paths[kind])
            print(f"{paths[kind]}: loss {facts['loss']:.4f}")
        written += paths.values()
    return written


def require_flow(args: Arguments, one: Trainable) -> None:
    """Raises ValueError where what is to be trained belongs to flow policies, and this one is none."""
    chosen = sorted({VLASH, "latent"} & set(args.kinds))
    kind = kinds.of_policy(one.policy) if chosen else None
    if kind is not None and not kind.flows:
        raise ValueError(
            f"kinds={', '.join(chosen)} needs flow policies, and those of {args.run_path} were trained with "
            f"loss={kind.loss!r}: leave it out, or choose another run"
        )


def _subjects(args: Arguments) -> Iterator[Trainable]:
    """The run's policies, one after the other: on every level, and those that some worlds share in these worlds.

    Raises:
        ValueError: a kind of network that is for Kinetix alone.
    """
    stepped = []
    for level_path in presets.expand(args.level_paths):
        if worlds.is_hosted(level_path):
            stepped.append(level_path)
        else:
            yield subject.load(args.run_path, level_path)
    if stepped and (kinetix := sorted({VLASH, EXPERT} & set(args.kinds))):
        raise ValueError(f"kinds={', '.join(kinetix)} is for levels of Kinetix, and {stepped[0]} is none: leave it out")
    yield from hosted_suite.load(args.run_path, stepped)


def _place(args: Arguments, kind: Kind, level_path: str) -> Path:
    """Where a network goes, without suffix: a policy for vlash where the run has one of the level, at any epoch."""
    if kind != VLASH:
        return networks.place(args.run_path, kind, level_path)
    run, slug = Path(methods.run_for(VLASH, str(args.run_path), "")), level_slug(level_path)
    found = run.glob(f"[0-9]*/policies/{slug}{weights.HEADER}")
    if args.resume and (newest := max(found, key=lambda file: int(file.parts[-3]), default=None)):
        return newest.with_name(slug)
    return cloning.policy_path(run, args.vlash.num_epochs, slug)


def _rollouts(args: Arguments, one: Trainable) -> Trajectories:
    return recordings.record(one, args.recording, _recorded(args, one, "rollouts"), resume=args.resume)


def _own_episodes(args: Arguments, one: Trainable) -> Demonstrations:
    path = _recorded(args, one, "own_episodes")
    found = recordings.demonstrate(one, args.own_recording, path, resume=args.resume)
    return trajectories.as_demonstrations(found, preparation.template(one.level))


def _recorded(args: Arguments, one: Trainable, what: str) -> Path:
    return args.work_path / args.run_path.name / what / f"{level_slug(one.filed_under)}.npz"


class Demonstrated(NamedTuple):
    """Demonstrations, and what to note of them."""

    data: Demonstrations
    facts: dict[str, Any]


def _demonstrated(args: Arguments, one: Trainable) -> Demonstrated | None:
    if args.demonstrations is None:
        return None
    path = args.demonstrations / f"{level_slug(one.filed_under)}.npz"
    data = demonstrations.load(path)
    return Demonstrated(data, cloning.data_facts(path, data, one.level.name, one.level.sha256))


def _wanted(args: Arguments, one: Trainable, kind: Kind, demonstrated: Demonstrated | None) -> dict[str, Any]:
    """What a network is trained for, on and how."""
    if kind == EXPERT:
        return {"level": one.level.name} | delayed.facts(delayed.best(args.experts, level_slug(one.filed_under)))
    found = recordings.of_subject(one) | {"training": runs.as_dict(_config(args, kind))}
    if kind in SHOWN and demonstrated is not None:
        return found | demonstrated.facts
    if kind == VLASH:
        return found | {"demonstrations": vlash.OWN, "data_experts": {}, "recording": runs.as_dict(args.own_recording)}
    rollouts = [dataclasses.asdict(one) for one in recordings.kinds(one.chunk_size)]
    return found | {"recording": runs.as_dict(args.recording), "rollouts": rollouts}


def _is_there(path: Path, kind: Kind, wanted: Mapping[str, Any]) -> bool:
    """Whether the network is there.

    Raises:
        ValueError: it is there, but was trained otherwise.
    """
    if not weights.with_suffix(path, weights.HEADER).exists():
        return False
    found = checkpoints.facts(path) if kind == VLASH else networks.facts(path)
    if kind in HEADS:
        found = found | {"training": heads.BEFORE | found["training"]}
    if changed := [name for name, value in wanted.items() if name != "data_path" and found.get(name) != value]:
        raise ValueError(f"{path} was trained otherwise ({', '.join(changed)}): --no-resume replaces it")
    print(f"{path}: there already")
    return True


def _train(
    args: Arguments,
    one: Trainable,
    data: Trajectories | Demonstrations | None,
    kind: Kind,
    wanted: Mapping[str, Any],
    path: Path,
) -> dict[str, Any]:
    folder = args.work_path / args.run_path.name / kind
    facts = {**{name: value for name, value in wanted.items() if name != "training"}, **provenance.origin()}
    job, config = Job(path.name, folder, path, facts, args.resume), _config(args, kind)
    if not args.resume:
        # Before the configuration beside it is replaced: a run killed in between must not go on from this state.
        trainer.forget(folder, path.name)
        if kind == VLASH:
            runs.discard(path.parents[2], path.name)
    with runs.claim(folder / path.name, wanted, args.resume):
        if kind == "forward":
            return forward.train(data, config, job)
        if kind == VLASH:
            data = data or _own_episodes(args, one)
            return vlash.train(one.policy, data, vlash.robot_entries(one.level, data.entries), config, job)
        if kind == "latent":
            return latents.train(one.observing, data, config, job)
        return heads.train(one.observing, data, config, job)


def _config(args: Arguments, kind: Kind) -> FitConfig:
    """The hyper-parameters of a kind of network."""
    if kind in HEADS:
        model = dataclasses.replace(args.head.model, reads_base=kind == "correction")
        # A head that does not see the chunk cannot tell its noise; demonstrations have labels of their own.
        labels = args.head.labels if kind == "correction" and args.demonstrations is None else "mean"
        return dataclasses.replace(args.head, model=model, labels=labels)
    return {"forward": args.forward, "latent": args.latent, VLASH: args.vlash}[kind]


def main(argv: Sequence[str] | None = None) -> None:
    presets.start(Arguments, {"default": Arguments()}, train, argv)
