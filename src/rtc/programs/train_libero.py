"""Records demonstrations of a suite of LIBERO's by the scripted expert, and clones one flow policy for its tasks.

python exp/train_libero.py
bash exp/train_libero.sh

The second line trains all runs in logs-bc/libero.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from rtc.policies.checkpoints import level_slug
from rtc.policies.mixer import ModelConfig
from rtc.programs import libero_demonstrations as recording
from rtc.shared import commands, files
from rtc.training import cloning, npz, runs
from rtc.training import demonstrations as shown
from rtc.training import libero_demonstrations as demonstrations
from rtc.training.cloning import CloningConfig
from rtc.training.demonstrations import Demonstrations
from rtc.training.libero_demonstrations import RecordingConfig, find_source

CONFIG = CloningConfig(
    run_path=Path("logs-expert/libero_spatial"),
    num_epochs=64,
    save_every=64,
    batch_size=128,
    parts=1,
    learning_rate=1e-3,
    warmup_steps=300,
    ema_decay=0.999,
    model=ModelConfig(channel_dim=64, channel_hidden_dim=128, token_hidden_dim=32, num_layers=2, action_chunk_size=8),
)


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Command line of train_libero.

    Attributes:
        recording: how much to record and how.
        config: how the policy is trained; recordings of the tasks go to <run-path>/, and joined to <run-path>/<data>/.
        output_path: folder of the run.
        processes: tasks that are recorded at the same time; by default one per CPU core.
        resume: go on from what is there; --no-resume starts afresh.
    """

    recording: RecordingConfig = dataclasses.field(default_factory=RecordingConfig)
    config: CloningConfig = CONFIG
    output_path: Path = Path("logs-bc/libero/h8")
    processes: int | None = None
    resume: bool = True

    def __post_init__(self):
        if self.config.labels is not None or self.config.model.robot_ahead is not None:
            raise ValueError("config.labels and config.model.robot_ahead have no effect on LIBERO: leave them out")


def train(args: Arguments) -> Path:
    """Records and trains what the arguments ask for; returns the policy's last checkpoint, without suffix."""
    home, config = find_source(args.recording.suite).home, args.config
    slug = level_slug(home.name)
    path = files.require_writable(config.run_path / config.data) / f"{slug}.npz"
    with runs.claim(args.output_path, runs.as_dict(config), args.resume, cloning.FREE_FIELDS, cloning.BEFORE):
        data = cloning.chosen(_demonstrations(args, path), config)
        print(f"{path}: {data.summary()}", flush=True)
        facts = cloning.data_facts(path, data, home.name, home.sha256)
        places = {"level": slug, "output_path": args.output_path}
        policy = cloning.train(data, config, **places, facts=facts, resume=args.resume)
    print(f"{policy}.safetensors: {home.name}, chunks of {config.model.action_chunk_size}", flush=True)
    commands.open_first(args.output_path / "stats" / f"{slug}.csv")
    return policy


def _demonstrations(args: Arguments, path: Path) -> Demonstrations:
    """The suite's demonstrations, recorded and joined where they are not there yet."""
    places = {"folder": args.config.run_path, "processes": args.processes}
    asked = recording.Arguments(args.recording, **places, resume=args.resume)
    recorded = [demonstrations.load(one) for one in recording.recorded(asked, wait=True).values()]
    with files.lock(path.parent, wait=True):
        npz.save(path, demonstrations.joined(recorded))
    return shown.load(path)


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, train, __doc__, argv)
