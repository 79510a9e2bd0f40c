"""Records demonstrations of a level with two routes by a scripted expert, which takes either.

python exp/route_demonstrations.py
bash exp/train_routes.sh

The second line then trains all policies of such levels.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from rtc.policies.checkpoints import level_slug
from rtc.shared import commands, files
from rtc.training import route_demonstrations
from rtc.training.route_demonstrations import RecordingConfig
from rtc.worlds.kinetix import levels


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Command line of route_demonstrations.

    Attributes:
        config: how much to record and how.
        level: the level.
        folder: where the file goes.
        resume: keep what is recorded; --no-resume records it again.
    """

    config: RecordingConfig = dataclasses.field(default_factory=RecordingConfig)
    level: str = "worlds/choice/two_routes.json"
    folder: Path = Path("logs-expert/two_routes/data")
    resume: bool = True


def run(args: Arguments) -> None:
    level = levels.load(args.level)
    path = files.require_writable(args.folder) / f"{level_slug(level.name)}.npz"
    with files.lock(args.folder, wait=True):
        data = route_demonstrations.recorded(path, level, args.config, resume=args.resume)
    print(f"{path}: {data.summary()}")
    commands.open_first(path)


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
