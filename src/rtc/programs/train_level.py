"""From a level's file to a policy, by one command: `exp-delta train my_level.json`.

An expert is trained, demonstrations are recorded, and a flow policy is cloned from them; what is there already is kept,
and a killed run goes on where it was when the same command is given again.
"""

import dataclasses
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from rtc.programs import generate_data, train_expert, train_flow
from rtc.shared import commands, paths
from rtc.shared.paths import WorldRules
from rtc.training import cloning
from rtc.training.cloning import CloningConfig
from rtc.training.demonstrations import DataConfig
from rtc.training.ppo_training import TrainConfig

CHUNK_SIZE = 8
POLICY = CloningConfig(model=dataclasses.replace(cloning.SMALL_MODEL, action_chunk_size=CHUNK_SIZE))


@dataclass(frozen=True)
class Arguments:
    """Command line of train.

    Attributes:
        level: the level's file.
        run_path: folder of expert and demonstrations, by default logs-expert/<level>.
        output_path: folder of the policy, by default logs-bc/<level>.
        expert: how the expert is trained.
        data: how much is recorded, and how.
        policy: how the policy is cloned; chunks of 8 actions.
        resume: continue what is found in the folders; --no-resume starts afresh.
        world_rules: how a Kinetix dump is read: as written (dump, the default), or as Kinetix's importer builds it.
    """

    level: tyro.conf.Positional[Path]
    run_path: Path | None = None
    output_path: Path | None = None
    expert: TrainConfig = field(default_factory=TrainConfig)
    data: DataConfig = field(default_factory=DataConfig)
    policy: CloningConfig = POLICY
    resume: bool = True
    world_rules: WorldRules | None = None

    def __post_init__(self) -> None:
        for name, default in (("data", DataConfig()), ("policy", POLICY)):
            given = getattr(self, name).run_path
            if given != default.run_path:
                raise ValueError(f"{name}.run_path={str(given)!r} has no effect: give run_path, which all parts share")
        if self.policy.data != self.data.folder:
            raise ValueError(
                f"policy.data={self.policy.data!r} and data.folder={self.data.folder!r}: give both the same"
            )


def run(args: Arguments) -> Path:
    """Trains, records and clones; returns the policy, without suffix."""
    name = paths.level_name(args.level)
    run_path = args.run_path or Path("logs-expert") / name
    output_path = args.output_path or Path("logs-bc") / name
    common = {"level_paths": (str(args.level),), "resume": args.resume, "world_rules": args.world_rules}
    data = dataclasses.replace(args.data, run_path=run_path)
    policy = dataclasses.replace(args.policy, run_path=run_path)
    print(f"1 of 3: an expert, in {run_path}", flush=True)
    train_expert.train(train_expert.Arguments(config=args.expert, run_path=run_path, **common))
    print(f"2 of 3: demonstrations, in {run_path / data.folder}", flush=True)
    generate_data.generate(generate_data.Arguments(config=data, **common))
    print(f"3 of 3: a policy with chunks of {policy.model.action_chunk_size}, in {output_path}", flush=True)
    (found,) = train_flow.train(train_flow.Arguments(config=policy, output_path=output_path, **common))
    print(f"evaluate it: {evaluation(args, name, output_path)}")
    commands.open_first(f"{found}.json")
    return found


def evaluation(args: Arguments, name: str, output_path: Path) -> str:
    """The command that evaluates the policy, for a shell: on the level as it was trained on, under the same rules."""
    words = ["exp-delta", "eval", "--run-path", str(output_path), "--level-paths", str(args.level)]
    words += ["--world-rules", args.world_rules] if args.world_rules is not None else []
    return shlex.join([*words, "--profile", "long_tail", "--output-dir", f"exp_runs/{name}"])


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
