"""Records demonstrations of Gymnasium's tasks by scripted experts, and clones flow policies from them: minutes.

python exp/train_gym.py
python exp/train_gym.py --config.model.action-chunk-size 16 --output-path logs-bc/gym/h16
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from rtc.policies.checkpoints import level_slug
from rtc.policies.mixer import ModelConfig
from rtc.shared import commands, files
from rtc.shared.validation import require_choice
from rtc.training import cloning, gym_demonstrations, runs
from rtc.training.cloning import CloningConfig
from rtc.training.gym_demonstrations import RecordingConfig
from rtc.worlds.gym import tasks

# A few numbers are observed: a small network does, trained for a minute or two of one core.
CONFIG = CloningConfig(
    run_path=Path("logs-expert/gym"),
    num_epochs=10,
    save_every=10,
    batch_size=256,
    parts=4,
    learning_rate=1e-3,
    warmup_steps=200,
    ema_decay=0.998,
    model=ModelConfig(channel_dim=32, channel_hidden_dim=64, token_hidden_dim=16, num_layers=2, action_chunk_size=8),
)


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Command line of train_gym.

    Attributes:
        recording: how much to record and how.
        config: how policies are trained; recordings go to <run-path>/<data>/.
        tasks: which tasks, by Gymnasium's names; all of them by default.
        output_path: folder of the run.
        resume: go on from what is there; --no-resume starts afresh.
    """

    recording: RecordingConfig = dataclasses.field(default_factory=RecordingConfig)
    config: CloningConfig = CONFIG
    tasks: tuple[str, ...] = tuple(tasks.TASKS)
    output_path: Path = Path("logs-bc/gym/h8")
    resume: bool = True

    def __post_init__(self):
        if not self.tasks:
            raise ValueError(f"tasks has no entry, so nothing would be trained: give some of {', '.join(tasks.TASKS)}")
        for name in self.tasks:
            require_choice("tasks entry", name, tasks.TASKS)
        if self.config.labels is not None or self.config.model.robot_ahead is not None:
            raise ValueError("config.labels and config.model.robot_ahead have no effect on these tasks: leave them out")


def train(args: Arguments) -> list[Path]:
    """Records and trains what the arguments ask for; returns the last checkpoint of each task, without suffix."""
    config, policies = args.config, []
    folder = files.require_writable(config.run_path / config.data)
    with runs.claim(args.output_path, runs.as_dict(config), args.resume, cloning.FREE_FIELDS, cloning.BEFORE):
        for name in args.tasks:
            task, slug = tasks.find(name), level_slug(name)
            path = folder / f"{slug}.npz"
            with files.lock(folder, wait=True):
                data = gym_demonstrations.recorded(path, task, args.recording, resume=args.resume)
            data = cloning.chosen(data, config)
            print(f"{path}: {data.summary()}", flush=True)
            facts = cloning.data_facts(path, data, task.name, task.sha256)
            places = {"level": slug, "output_path": args.output_path}
            policies.append(cloning.train(data, config, **places, facts=facts, resume=args.resume))
            print(f"{policies[-1]}.safetensors: {name}, chunks of {config.model.action_chunk_size}", flush=True)
    commands.open_first(args.output_path / "stats" / f"{policies[0].name}.csv")
    return policies


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, train, __doc__, argv)
