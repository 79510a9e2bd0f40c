"""Records the episodes that the site's explorer plays side by side: `python exp/record_episodes.py`.

One episode per level and method, the same for all methods: its start and its delays depend on seed and number alone.
What is there already is kept, unless it was recorded with other settings, policies or code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rtc import methods
from rtc.control.controller import ExecutionConfig
from rtc.delay import profiles
from rtc.report.site import episodes
from rtc.shared import commands
from rtc.shared.validation import require_some
from rtc.study import subject
from rtc.study.evaluation import EvalConfig
from rtc.study.study import PREFIX_RUN, RUN, starting_at_median


@dataclass(frozen=True)
class Arguments:
    """Command line of record_episodes.

    Attributes:
        levels: names of levels.
        methods: execution methods; they plan with the largest of the last ten delays, at first with the median.
        profile: name of the delay profile.
        execute_horizon: control ticks between two queries, at least.
        seed, episode: which episode.
        run_path: run of the policies.
        prefix_run_path: run of the policies trained with simulated delay, for methods that need them.
        output_dir: where videos and timelines go.
        overwrite: record again what would be the same, too.
    """

    levels: tuple[str, ...] = ("catcher_v3", "hard_lunar_lander")
    methods: tuple[str, ...] = ("naive", "realtime", "trained_prefix")
    profile: str = "heavy"
    execute_horizon: int = 2
    seed: int = 0
    episode: int = 0
    run_path: str = RUN
    prefix_run_path: str = PREFIX_RUN
    output_dir: Path = episodes.FOLDER
    overwrite: bool = False

    def __post_init__(self) -> None:
        require_some("levels", self.levels)
        require_some("methods", self.methods)


def run(args: Arguments) -> None:
    """Records what is missing."""
    delay = profiles.profile(args.profile)
    for level in args.levels:
        for method in args.methods:
            scene = f"{level}, {args.profile}"
            path = episodes.place(args.output_dir, scene, method)
            config = EvalConfig(
                num_evals=1,
                num_slots=1,
                method=method,
                delay_profile=delay,
                estimator=starting_at_median(delay),
                execution=ExecutionConfig(execute_horizon=args.execute_horizon),
            )
            found = subject.load(methods.run_for(method, args.run_path, args.prefix_run_path), level)
            episodes.write(path, scene, found, config, args.seed, args.episode, again=args.overwrite)
            print(f"{path}: {path.stat().st_size} bytes", flush=True)
    commands.open_first(args.output_dir)


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
