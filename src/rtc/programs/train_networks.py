"""Trains what methods need besides a policy: `python src/train_networks.py --run-path logs-bc/<run>`."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from rtc.policies import networks, weights
from rtc.policies.checkpoints import level_slug
from rtc.programs import presets
from rtc.shared import provenance
from rtc.shared.validation import require_choice
from rtc.study import preparation, recordings, subject
from rtc.study.recordings import RecordingConfig
from rtc.study.subject import FlowSubject
from rtc.training import cloning, delayed, demonstrations, forward, heads, latents, runs, trainer
from rtc.training.demonstrations import Demonstrations
from rtc.training.forward import ForwardTraining
from rtc.training.heads import HeadTraining
from rtc.training.latents import LatentTraining
from rtc.training.networks import Job
from rtc.training.trainer import FitConfig
from rtc.training.trajectories import Trajectories

Kind = Literal["forward", "correction", "head_only", "latent", "delay_expert"]
HEADS = ("correction", "head_only")
EXPERT = "delay_expert"


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Trains networks that go with a run's policies, level by level, on rollouts of these policies.

    Rollouts, statistics and the state to resume from go to <work-path>/<name of the run>/, the networks to
    <run-path>/networks/<kind>/. What is there already is kept; a killed run goes on where it was.
    """

    run_path: Path = Path("logs-bc/h8")
    """The policies' run."""
    level_paths: tuple[str, ...] = ("all",)
    """Levels, one after the other: paths, names, or "all" for the benchmark's 12."""
    kinds: tuple[Kind, ...] = ("forward", "correction")
    """forward: models of the level; correction: heads of A2C2; head_only: heads that act by themselves; latent:
    predictors of FutureRTC; delay_expert: what acts of the experts in `experts`."""
    work_path: Path = Path("logs-rollouts")
    """Folder of rollouts and training states."""
    demonstrations: Path | None = None
    """Folder of demonstrations, as in logs-expert/<run>/data, for heads to learn from as published. None: heads learn
    from the rollouts, what the policy itself would do without delay."""
    experts: Path | None = None
    """Run of src/train_expert.py with --config.delay, for delay_expert."""
    recording: RecordingConfig = dataclasses.field(default_factory=RecordingConfig)
    forward: ForwardTraining = dataclasses.field(default_factory=ForwardTraining)
    head: HeadTraining = dataclasses.field(default_factory=HeadTraining)
    latent: LatentTraining = dataclasses.field(default_factory=LatentTraining)
    resume: bool = True
    """Keep what is there; --no-resume starts afresh."""

    def __post_init__(self):
        for kind in self.kinds:
            require_choice("kinds", kind, get_args(Kind))
        chosen = set(self.kinds)
        if self.demonstrations is not None and not chosen & set(HEADS):
            raise ValueError(f"demonstrations has no effect with kinds={self.kinds}: leave it out, or train heads")
        if (self.experts is None) == (EXPERT in chosen):
            fix = "leave it out" if self.experts else f"{EXPERT} needs the run of its experts"
            raise ValueError(f"experts={self.experts} with kinds={self.kinds}: {fix}")
        if not self.head.model.reads_base:
            raise ValueError("head.model.reads_base=False is what kinds=head_only is for: leave it out")
        used = {
            "recording": self.needs_rollouts,
            "forward": "forward" in chosen,
            "head": bool(chosen & set(HEADS)),
            "latent": "latent" in chosen,
        }
        for field in dataclasses.fields(self):
            if not used.get(field.name, True) and getattr(self, field.name) != field.default_factory():
                raise ValueError(f"{field.name} has no effect with kinds={self.kinds}: leave its settings out")

    @property
    def needs_rollouts(self) -> bool:
        """Whether anything is learned from rollouts."""
        return bool(set(self.kinds) - {EXPERT} - set(HEADS if self.demonstrations else ()))


def train(args: Arguments) -> list[Path]:
    """Trains what the arguments ask for; returns the networks' files, without suffix."""
    written = []
    for level_path in presets.expand(args.level_paths):
        one = subject.load(args.run_path, level_path)
        demonstrated = _demonstrated(args, one)
        wanted = {kind: _wanted(args, one, kind, demonstrated) for kind in args.kinds}
        paths = {kind: networks.place(args.run_path, kind, level_path) for kind in args.kinds}
        missing = [kind for kind in args.kinds if not (args.resume and _is_there(paths[kind], wanted[kind]))]
        if set(missing) - {EXPERT}:
            rollouts = _rollouts(args, one, paths[missing[0]].name)
        for kind in missing:
            if kind == EXPERT:
                delayed.export(delayed.best(args.experts, paths[kind].name), paths[kind], wanted[kind])
                print(f"{paths[kind]}: {wanted[kind]['solve_rate']:.1%} solved at the end of training, over all delays")
                continue
            data = demonstrated.data if demonstrated and kind in HEADS else rollouts
            facts = _train(args, one, data, kind, wanted[kind], paths[kind])
            print(f"{paths[kind]}: loss {facts['loss']:.4f}")
        written += paths.values()
    return written


def _rollouts(args: Arguments, one: FlowSubject, slug: str) -> Trajectories | None:
    if not args.needs_rollouts:
        return None
    path = args.work_path / args.run_path.name / "rollouts" / f"{slug}.npz"
    return recordings.record(one, args.recording, path, resume=args.resume)


class Demonstrated(NamedTuple):
    """Demonstrations, and what to note of them."""

    data: Demonstrations
    facts: dict[str, Any]


def _demonstrated(args: Arguments, one: FlowSubject) -> Demonstrated | None:
    if args.demonstrations is None:
        return None
    path = args.demonstrations / f"{level_slug(one.level_path)}.npz"
    data = demonstrations.load(path)
    return Demonstrated(data, cloning.data_facts(path, data, one.level.name, one.level.sha256))


def _wanted(args: Arguments, one: FlowSubject, kind: Kind, demonstrated: Demonstrated | None) -> dict[str, Any]:
    """What a network is trained for, on and how."""
    if kind == EXPERT:
        return {"level": one.level.name} | delayed.facts(delayed.best(args.experts, level_slug(one.level_path)))
    found = {
        "level": one.level.name,
        "level_sha256": one.level.sha256,
        "policy_sha256": one.checkpoint_sha256,
        "training": runs.as_dict(_config(args, kind)),
    }
    if kind in HEADS and demonstrated is not None:
        return found | demonstrated.facts
    kinds = [dataclasses.asdict(one) for one in recordings.kinds(one.chunk_size)]
    return found | {"recording": runs.as_dict(args.recording), "rollouts": kinds}


def _is_there(path: Path, wanted: Mapping[str, Any]) -> bool:
    """Whether the network is there.

    Raises:
        ValueError: it is there, but was trained otherwise.
    """
    if not weights.with_suffix(path, weights.HEADER).exists():
        return False
    found = networks.facts(path)
    if changed := [name for name, value in wanted.items() if name != "data_path" and found.get(name) != value]:
        raise ValueError(f"{path} was trained otherwise ({', '.join(changed)}): --no-resume replaces it")
    print(f"{path}: there already")
    return True


def _train(
    args: Arguments,
    one: FlowSubject,
    data: Trajectories | Demonstrations,
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
    with runs.claim(folder / path.name, wanted, args.resume):
        if kind == "forward":
            return forward.train(data, config, job)
        policy = preparation.observed(one.level, one.policy, "fast")[1]
        if kind == "latent":
            return latents.train(policy, data, config, job)
        return heads.train(policy, data, config, job)


def _config(args: Arguments, kind: Kind) -> FitConfig:
    """The hyper-parameters of a kind of network."""
    if kind in HEADS:
        model = dataclasses.replace(args.head.model, reads_base=kind == "correction")
        return dataclasses.replace(args.head, model=model)
    return {"forward": args.forward, "latent": args.latent}[kind]


def main(argv: Sequence[str] | None = None) -> None:
    presets.start(Arguments, {"default": Arguments()}, train, argv)
