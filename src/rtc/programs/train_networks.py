"""Trains what methods need besides a policy: `python src/train_networks.py --run-path logs-bc/<run>`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from rtc.policies import networks, weights
from rtc.policies.checkpoints import level_slug
from rtc.policies.flow import FlowPolicy
from rtc.policies.forward import ForwardModel
from rtc.policies.heads import CorrectionHead
from rtc.programs import presets
from rtc.shared import provenance
from rtc.shared.validation import require_choice
from rtc.study import preparation, recordings, subject
from rtc.study.recordings import RecordingConfig
from rtc.study.subject import FlowSubject
from rtc.training import demonstrations, forward, heads, runs
from rtc.training.demonstrations import Demonstrations
from rtc.training.forward import ForwardTraining
from rtc.training.heads import HeadTraining
from rtc.training.trajectories import Trajectories

Kind = Literal["forward", "correction", "head_only"]


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
    """forward: models of the level; correction: heads of A2C2; head_only: heads that act by themselves."""
    work_path: Path = Path("logs-rollouts")
    """Folder of rollouts and training states."""
    demonstrations: Path | None = None
    """Folder of demonstrations, as in logs-expert/<run>/data, for heads to learn from as published. None: heads learn
    from the rollouts, what the policy itself would do without delay."""
    recording: RecordingConfig = dataclasses.field(default_factory=RecordingConfig)
    forward: ForwardTraining = dataclasses.field(default_factory=ForwardTraining)
    head: HeadTraining = dataclasses.field(default_factory=HeadTraining)
    resume: bool = True
    """Keep what is there; --no-resume starts afresh."""

    def __post_init__(self):
        for kind in self.kinds:
            require_choice("kinds", kind, ("forward", "correction", "head_only"))
        if self.demonstrations is not None and set(self.kinds) <= {"forward"}:
            raise ValueError("demonstrations has no effect on forward models: leave it out, or train heads")


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
    head = dataclasses.replace(args.head, model=heads.ALONE if kind == "head_only" else args.head.model)
    source = {} if kind == "forward" else {"demonstrations": args.demonstrations and str(args.demonstrations)}
    return {
        "level": one.level.name,
        "level_sha256": one.level.sha256,
        "policy_sha256": one.checkpoint_sha256,
        "recording": runs.as_dict(args.recording),
        "training": runs.as_dict(args.forward if kind == "forward" else head),
        **source,
    }


def _is_there(path: Path, one: FlowSubject, kind: Kind, args: Arguments) -> bool:
    if not weights.with_suffix(path, weights.HEADER).exists():
        return False
    cls = ForwardModel if kind == "forward" else CorrectionHead
    found = networks.load(path, cls)[1]
    return all(found.get(name) == value for name, value in _wanted(args, one, kind).items())


def _train(
    args: Arguments, one: FlowSubject, rollouts: Trajectories, kind: Kind, folder: Path, path: Path
) -> dict[str, Any]:
    wanted = _wanted(args, one, kind)
    facts = {**{name: value for name, value in wanted.items() if name != "training"}, **provenance.origin()}
    places = {"level": path.name, "folder": folder, "path": path}
    with runs.claim(folder / path.name, wanted, args.resume):
        if kind == "forward":
            return forward.train(rollouts, args.forward, facts=facts, resume=args.resume, **places)
        data = _head_data(args, rollouts, path.name)
        config = dataclasses.replace(args.head, model=heads.ALONE) if kind == "head_only" else args.head
        policy = _folded(one)
        return heads.train(policy, data, config, facts=facts, resume=args.resume, **places)


def _head_data(args: Arguments, rollouts: Trajectories, slug: str) -> Trajectories | Demonstrations:
    return rollouts if args.demonstrations is None else demonstrations.load(args.demonstrations / f"{slug}.npz")


def _folded(one: FlowSubject) -> FlowPolicy:
    return preparation.observed(one.level, one.policy, "fast")[1]


def main(argv: Sequence[str] | None = None) -> None:
    presets.start(Arguments, {"default": Arguments()}, train, argv)
