"""From a latency log to a study: the policies whose chunks fit, the delays in their ticks, and the arms to compare.

A robot with chunks of C actions and a policy of the benchmark with chunks of H have the same *relative* delay: d ticks
of the robot, of which a chunk has C, become d · H / C ticks of the benchmark, rounded, and at least one.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from rtc import methods
from rtc.control.controller import ExecutionConfig
from rtc.delay import logs
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.logs import DelayLog
from rtc.delay.profiles import DelayProfileConfig
from rtc.policies import checkpoints
from rtc.shared import tables
from rtc.shared.paths import shipped
from rtc.shared.validation import require_int, require_positive, unknown
from rtc.study import plan as planning
from rtc.study.arguments import StudyArguments
from rtc.study.questions import ArmKey, Comparison
from rtc.study.study import Arm, Study, arm, starting_at_median
from rtc.worlds.kinetix.levels import LEVEL_NAMES

LEAST_QUERIES = 20
# Rows of a trace; those of logs of more delays are more.
ROWS = 1024
RUNS = "logs-bc"
LOG, CONSTANT, HALVED, DEADLINE = "log", "constant", "half_p99", "deadline"
# In the order in which they are run: where time is short, the last ones are left out.
METHODS = (
    "naive",
    "a2c2",
    "foresee_learned",
    "trained_prefix",
    "hard_masking",
    "synchronous",
    "carried_noise",
    "realtime",
    "temporal_ensemble",
    "trained_prefix+a2c2",
    "foresee_learned+a2c2",
    "foresee_learned+realtime",
)
# Those that do nothing with an expected delay.
UNPLANNED = ("naive", "carried_noise", "synchronous", "a2c2", "temporal_ensemble")
# Execute horizons, as shares of a chunk.
HORIZONS, MORE_HORIZONS = (1 / 4, 1 / 2, 3 / 4), (1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4)
# `synchronous` may use whole chunks, and `temporal_ensemble` needs some that overlap.
OWN_HORIZONS: Mapping[str, tuple[float, ...]] = {"synchronous": (1 / 2, 1.0), "temporal_ensemble": (1 / 4, 1 / 2)}
# With q = 1 the largest of the window, as in Real-Time Chunking's Algorithm 1: one compiled program serves both.
ESTIMATORS: Mapping[str, EstimatorConfig] = {
    "q80": EstimatorConfig("quantile", q=0.8),
    "max10": EstimatorConfig("quantile", q=1.0),
}
PLAIN = "q80"


@dataclass(frozen=True)
class Policies:
    """A run whose policies are asked, and its partner.

    Attributes:
        run_path: the run.
        chunk: H of its policies, in control ticks of the benchmark.
        levels: the benchmark's levels that it has policies for.
        prefix_run_path: the run of policies trained with simulated delay.
        longest_prefix: the longest one that those have seen, in control ticks of the benchmark; None: there are none.
    """

    run_path: str
    chunk: int
    levels: tuple[str, ...]
    prefix_run_path: str
    longest_prefix: int | None = None


def policies(root: str | Path | None = None) -> list[Policies]:
    """The ordinary runs below a folder, by default those that come with the project.

    A run counts if its last epoch has policies of one chunk size for levels of the benchmark, trained without simulated
    delay.
    """
    folder = shipped(RUNS) if root is None else Path(root)
    return [one for run in sorted(folder.iterdir()) if run.is_dir() and (one := of_run(run)) is not None]


def of_run(run: str | Path) -> Policies | None:
    """The policies of a run; None if they are not ordinary ones of one chunk size. FileNotFoundError: no such run."""
    found: dict[int, list[str]] = {}
    if not checkpoints.list_epochs(run):
        return None
    for level in LEVEL_NAMES:
        try:
            config = checkpoints.config_of(checkpoints.policy_path(run, level))
        except (FileNotFoundError, ValueError):
            continue
        if config.simulated_delay is None and config.robot_ahead is None:
            found.setdefault(config.action_chunk_size, []).append(level)
    if len(found) != 1:
        return None
    ((chunk, levels),) = found.items()
    path = str(run).rstrip("/")
    prefix = f"{path}_prefix"
    return Policies(path, chunk, tuple(levels), prefix, _longest_prefix(prefix, levels))


def _longest_prefix(run: str, levels: Iterable[str]) -> int | None:
    """The shortest over the levels of the longest prefixes that policies have been trained with."""
    seen = []
    for level in levels:
        try:
            config = checkpoints.config_of(checkpoints.policy_path(run, level))
        except FileNotFoundError:
            continue
        if config.simulated_delay is not None:
            seen.append(config.simulated_delay - 1)
    return min(seen, default=None)


def choose(found: Sequence[Policies], chunk: int, median: int) -> Policies:
    """The policies whose levels are most, among those that resolve the log's median delay; else those with most ticks.

    A run resolves a delay that is at least one of its ticks: `median` · H >= `chunk`. Ties: the run with a partner
    and with networks, then the larger H, then by name.

    Args:
        found: from `policies`.
        chunk: chunk size of the robot's policy, in its control ticks.
        median: the log's median delay, in the robot's control ticks.

    Raises:
        ValueError: there are none.
    """
    if not found:
        raise ValueError(f"{RUNS} holds no run with policies of the benchmark's levels: give --run-path")

    def worth(one: Policies) -> tuple[int, int, int, int]:
        run = checkpoints.run_folder(one.run_path)
        partner = checkpoints.run_folder(one.prefix_run_path).is_dir()
        return len(one.levels), int(partner), len(list(run.glob("networks/*/*.safetensors"))), one.chunk

    resolving = [one for one in found if median * one.chunk >= chunk]
    if resolving:
        return max(resolving, key=worth)
    return max(found, key=lambda one: (one.chunk, *worth(one)))


@dataclass(frozen=True)
class Scale:
    """How ticks of the robot become ticks of the benchmark.

    Attributes:
        hz: control rate of the robot.
        chunk: C, actions of a chunk of the robot's policy.
        horizon: H, actions of a chunk of the benchmark's policies.

    Raises:
        ValueError: a number is out of range.
    """

    hz: float
    chunk: int
    horizon: int

    def __post_init__(self) -> None:
        require_positive("hz", self.hz, "the robot's control rate in ticks per second")
        require_int("chunk", self.chunk, low=2)

    @property
    def tick(self) -> float:
        """Length of a tick of the benchmark, in ticks of the robot."""
        return self.chunk / self.horizon

    @property
    def tick_ms(self) -> float:
        """The same in milliseconds."""
        return 1000 / self.hz * self.tick

    def delays(self, ticks: Float[np.ndarray, " n"] | Int[np.ndarray, " n"] | Sequence[int]) -> Int[np.ndarray, " n"]:
        """Delays in ticks of the benchmark: rounded to the nearest, halves up, but to none only where there is none."""
        exact = np.asarray(ticks) * self.horizon / self.chunk
        return np.where(exact > 0, np.maximum(1, np.floor(exact + 0.5)), 0).astype(np.int64)

    def delay(self, ticks: float) -> int:
        """One of them."""
        return int(self.delays(np.array([float(ticks)]))[0])

    def robot(self, ticks: float) -> float:
        """Ticks of the benchmark in ticks of the robot."""
        return ticks * self.tick

    def whole(self, ticks: float) -> int:
        """As a setting: the nearest whole number, halves down, as a shorter interval reacts sooner; at least 1."""
        return max(1, math.ceil(self.robot(ticks) - 0.5))

    def trace(self, path: str | Path) -> DelayProfileConfig:
        """The profile that replays a trace, which `replayed` makes."""
        return DelayProfileConfig(mode="trace", trace_path=str(path), trace_order="replay", dt_ms=self.tick_ms)

    def replayed(self, ticks: Int[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
        """Delays in ticks of the robot as a trace: those of the benchmark, in ms, as often as they fit into `ROWS`.

        A replay goes round, so a repeated log is the same law; but traces of one size share a compiled program.
        """
        return np.tile(self.delays(ticks) * self.tick_ms, max(1, ROWS // len(ticks)))


def require_usable(log: DelayLog, hz: float, chunk: int) -> Int[np.ndarray, " n"]:
    """The log's delays in ticks of the robot.

    Raises:
        ValueError: too few delays; a rate or chunk that is none; or most delays are longer than a chunk lasts.
    """
    require_positive("hz", hz, "the robot's control rate in ticks per second")
    require_int("chunk", chunk, low=2)
    count = len(log.latency_ms)
    if count < LEAST_QUERIES:
        raise ValueError(
            f"{log.path} holds {count} delays, and at least {LEAST_QUERIES} are needed to say anything of their tail "
            "(a few hundred are better): log a longer run"
        )
    ticks = logs.ticks(log.latency_ms, hz)
    beyond = float((ticks >= chunk).mean())
    if beyond > 0.5:
        raise ValueError(
            f"{100 * beyond:.0f} % of the delays in {log.path} take as long as a whole chunk or longer ({chunk} "
            f"actions at {hz:g} Hz last {1000 * chunk / hz:.0f} ms, the median delay is "
            f"{np.median(log.latency_ms):.0f} ms). When such a chunk arrives, the time that it was made for is over, "
            "so no method can help: make inference faster, predict longer chunks, or control more slowly (check --hz "
            "and --chunk)"
        )
    return ticks


@dataclass(frozen=True)
class Tails:
    """What the log's tail is, and what could be done about it, in ticks of the benchmark.

    Attributes:
        constant: the median as a constant delay; None if the log is that.
        cap: half of the log's p99; None if that is no shorter than the p99 here.
        deadline: its p95, after which a query is given up; None if no delay is above it.
    """

    constant: int | None
    cap: int | None
    deadline: int | None


def tails(ticks: Int[np.ndarray, " n"], scale: Scale) -> Tails:
    """Of delays in ticks of the robot."""
    delays, at = scale.delays(ticks), tables.percentiles(ticks, (50, 95, 99))
    longest, constant = int(delays.max()), scale.delay(at[50])
    cap, deadline = scale.delay(at[99] / 2), max(1, scale.delay(at[95]))
    return Tails(
        None if (delays == constant).all() else constant,
        cap if cap < scale.delay(at[99]) else None,
        deadline if deadline < longest else None,
    )


def profiles(
    trace: DelayProfileConfig, constant: DelayProfileConfig, tail: Tails, *, thorough: bool = False
) -> dict[str, DelayProfileConfig]:
    """The delay conditions by name; the log comes first.

    Args:
        trace: replays the log.
        constant: replays its median, as often: a trace too, so that one compiled program serves both.
    """
    found = {LOG: trace}
    if tail.constant is not None:
        found[CONSTANT] = constant
    if tail.cap is not None:
        found[HALVED] = dataclasses.replace(trace, tail_cap=tail.cap)
    if tail.deadline is not None and thorough:
        found[DEADLINE] = dataclasses.replace(trace, deadline=tail.deadline)
    return found


def horizons(method: str, chunk: int, *, thorough: bool = False) -> list[int]:
    """Execute horizons of a method, in ticks of the benchmark."""
    shares = OWN_HORIZONS.get(method, MORE_HORIZONS if thorough else HORIZONS)
    return list(dict.fromkeys(max(1, round(share * chunk)) for share in shares))


def arms(
    method: str, chosen: Policies, conditions: Mapping[str, DelayProfileConfig], *, thorough: bool = False
) -> Iterator[Arm]:
    """A method's arms: every horizon under every condition, with every estimator.

    But under a constant delay, where all estimates are that delay, with `PLAIN` alone.
    """
    run_path = methods.run_for(method, chosen.run_path, chosen.prefix_run_path)
    for horizon in horizons(method, chosen.chunk, thorough=thorough):
        execution = ExecutionConfig(execute_horizon=horizon)
        for profile, delay in conditions.items():
            for name, estimator in ESTIMATORS.items():
                if name != PLAIN and (method in UNPLANNED or profile == CONSTANT):
                    continue
                label = f"{method}+s{horizon}" + ("" if method in UNPLANNED else f"+{name}")
                yield arm(
                    profile,
                    method,
                    label,
                    delay=delay,
                    run_path=run_path,
                    execution=execution,
                    estimator=starting_at_median(delay, estimator),
                )


def counterpart(one: Arm, profile: str) -> ArmKey:
    """The arm of the same setting under another condition."""
    if profile != CONSTANT or one.config.method in UNPLANNED:
        return profile, one.method
    return profile, f"{one.method.rpartition('+')[0]}+{PLAIN}"


def study(chosen: Policies, all_arms: Iterable[Arm], levels: Sequence[str], episodes: int) -> Study:
    """The study of some arms, with what the tail costs and what halving it brings as its comparisons."""
    every = tuple(all_arms)
    keys = {one.key for one in every}
    compared = [
        Comparison(counterpart(one, profile), one.key, family=profile)
        for one in every
        for profile in (CONSTANT, HALVED, DEADLINE)
        if one.profile == LOG and counterpart(one, profile) in keys
    ]
    return Study(
        name="advice",
        title="Advice",
        title_zh="",
        question="Which method, horizon, estimator and tail control serve the delays of this log best?",
        question_zh="",
        arms=every,
        comparisons=tuple(compared),
        levels=tuple(levels),
        num_evals=episodes,
    )


def available(
    chosen: Policies, conditions: Mapping[str, DelayProfileConfig], args: StudyArguments, *, thorough: bool = False
) -> tuple[dict[str, tuple[Arm, ...]], dict[str, str]]:
    """The arms of the methods whose policies and networks are there on all levels, and why others are left out.

    Args:
        args: as `StudyArguments.of` gives it.
    """
    found, missing = {}, {}
    for method in METHODS:
        its_arms = tuple(arms(method, chosen, conditions, thorough=thorough))
        alone = study(chosen, its_arms, args.levels, args.num_evals)
        try:
            for level in args.levels:
                planning.planned(alone, args, its_arms[0], level, args.seeds[0])
        except (FileNotFoundError, ValueError) as error:
            missing[method] = str(error)
        else:
            found[method] = its_arms
    return found, missing


def require_levels(levels: Sequence[str], chosen: Policies) -> tuple[str, ...]:
    """The levels to run: those given, or all of the run's. Raises ValueError for one that the run has no policy for."""
    for level in levels:
        if level not in chosen.levels:
            raise unknown(f"levels entry (run {chosen.run_path})", level, chosen.levels)
    return tuple(levels) or chosen.levels
