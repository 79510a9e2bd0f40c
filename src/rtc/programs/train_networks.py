"""Trains what methods need besides a policy: `python src/train_networks.py --run-path logs-bc/<run>`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rtc.policies import networks, weights
from rtc.policies.checkpoints import level_slug
from rtc.policies.forward import ForwardModel
from rtc.policies.heads import CorrectionHead
from rtc.policies.latents import LatentModel
from rtc.programs import presets
from rtc.shared import provenance
from rtc.shared.validation import require_choice
from rtc.study import preparation, recordings, subject
from rtc.study.recordings import RecordingConfig
from rtc.study.subject import FlowSubject
from rtc.training import demonstrations, forward, heads, latents, runs
from rtc.training.forward import ForwardTraining
from rtc.training.heads import HeadTraining
from rtc.training.latents import LatentTraining
from rtc.training.trainer import FitConfig
from rtc.training.trajectories import Trajectories

Kind = Literal["forward", "correction", "head_only", "latent"]
CLASSES = {
    "forward": ForwardModel,
    "correction": CorrectionHead,
    "head_only": CorrectionHead,
    "latent": LatentModel,
}
HEADS = ("correction", "head_only")


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
    predictors of FutureRTC."""
    work_path: Path = Path("logs-rollouts")
    """Folder of rollouts and training states."""
    demonstrations: Path | None = None
    """Folder of demonstrations, as in logs-expert/<run>/data, for heads to learn from as published. None: heads learn
    from the rollouts, what the policy itself would do without delay."""
    recording: RecordingConfig = dataclasses.field(default_factory=RecordingConfig)
    forward: ForwardTraining = dataclasses.field(default_factory=ForwardTraining)
    head: HeadTraining = dataclasses.field(default_factory=HeadTraining)
    latent: LatentTraining = dataclasses.field(default_factory=LatentTraining)
    resume: bool = True
    """Keep what is there; --no-resume starts afresh."""

    def __post_init__(self):
        for kind in self.kinds:
            require_choice("kinds", kind, CLASSES)
        if self.demonstrations is not None and not set(self.kinds) & set(HEADS):
            raise ValueError(f"demonstrations has no effect with kinds={self.kinds}: leave it out, or train heads")


def train(args: Arguments) -> list[Path]:
    """Trains what the arguments ask for; returns the networks' files, without suffix."""
    written = []
    for level_path in presets.expand(args.level_paths):
        one = subject.load(args.run_path, level_path)
        work = args.work_path / args.run_path.name
        rollouts = recordings.record(
            one, args.recording, work / "rollouts" / f"{level_slug(level_path)}.npz", resume=args.resume
        )
        for kind in args.kinds:
            path = networks.place(args.run_path, kind, level_path)
            if args.resume and _is_there(path, one, kind, args):
                print(f"{path}: there already")
            else:
                facts = _train(args, one, rollouts, kind, work / kind, path)
                print(f"{path}: loss {facts['loss']:.4f}")
            written.append(path)
    return written


def _wanted(args: Arguments, one: FlowSubject, kind: Kind) -> dict[str, Any]:
    """What a network was trained for, and how."""
    source = {"demonstrations": args.demonstrations and str(args.demonstrations)} if kind in HEADS else {}
    return {
        "level": one.level.name,
        "level_sha256": one.level.sha256,
        "policy_sha256": one.checkpoint_sha256,
        "recording": runs.as_dict(args.recording),
        "training": runs.as_dict(_config(args, kind)),
        **source,
    }


def _is_there(path: Path, one: FlowSubject, kind: Kind, args: Arguments) -> bool:
    if not weights.with_suffix(path, weights.HEADER).exists():
        return False
    found = networks.load(path, CLASSES[kind])[1]
    return all(found.get(name) == value for name, value in _wanted(args, one, kind).items())


def _train(
    args: Arguments, one: FlowSubject, rollouts: Trajectories, kind: Kind, folder: Path, path: Path
) -> dict[str, Any]:
    wanted = _wanted(args, one, kind)
    facts = {**{name: value for name, value in wanted.items() if name != "training"}, **provenance.origin()}
    places = {"level": path.name, "folder": folder, "path": path}
    with runs.claim(folder / path.name, wanted, args.resume):
        options = {"facts": facts, "resume": args.resume, **places}
        if kind == "forward":
            return forward.train(rollouts, _config(args, kind), **options)
        policy = preparation.observed(one.level, one.policy, "fast")[1]
        if kind == "latent":
            return latents.train(policy, rollouts, _config(args, kind), **options)
        demonstrated = args.demonstrations and demonstrations.load(args.demonstrations / f"{path.name}.npz")
        return heads.train(policy, demonstrated or rollouts, _config(args, kind), **options)


def _config(args: Arguments, kind: Kind) -> FitConfig:
    """The hyper-parameters of a kind of network."""
    if kind == "head_only":
        return dataclasses.replace(args.head, model=heads.ALONE)
    return {"forward": args.forward, "correction": args.head, "latent": args.latent}[kind]


def main(argv: Sequence[str] | None = None) -> None:
    presets.start(Arguments, {"default": Arguments()}, train, argv)
