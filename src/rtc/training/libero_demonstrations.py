"""Demonstrations of LIBERO's tasks on state observations: the scripted expert under noise, one file per task.

A file (`.npz`, no pickles) holds one episode after another, each in the order of time:

    obs       [n, o]   what `ENTRIES` of `rtc.worlds.libero.scene` lists, or with two right answers that of
                       `rtc.worlds.libero.choice`, float32; the task's one-hot vector is left out
    action    [n, 7]   what the expert commanded in that state, without noise, float16: the label
    executed  [n, 7]   what was executed, float16
    done      [n]      last tick of an episode
    solved    [n]      the first tick that reached the goal
    episode   [n]      number of the episode, from 0
    seed      [e]      the seed that its start was drawn from, per episode
    task      []       number of the task in its suite
    facts     JSON     the configuration, versions and numbers

Labels are the expert's without noise in the states that noise leads to (DART, arXiv 1703.09327).
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from rtc.control.host.environments import Step
from rtc.shared import provenance
from rtc.shared.validation import require_choice, require_float, require_int
from rtc.training import demonstrations, npz, scripted
from rtc.training.demonstrations import Demonstrations
from rtc.worlds.libero import choice, choice_worlds, scene, state, state_worlds
from rtc.worlds.libero.choice import ChoiceScene
from rtc.worlds.libero.choice_expert import ChoiceExpert
from rtc.worlds.libero.choice_worlds import ChoiceSuite
from rtc.worlds.libero.constants import ACTION_DIM
from rtc.worlds.libero.expert import BowlExpert
from rtc.worlds.libero.scene import Scene
from rtc.worlds.libero.state import StateEnvironment
from rtc.worlds.libero.state_worlds import StateSuite

GRIPPER = ACTION_DIM - 1
_SHARED = ("obs", "action", "executed", "done", "solved")
# Largest deltas of a push; one that turns more can leave a joint at its limit, with no way back.
PUSHED = np.array([1.0, 1.0, 1.0, 0.3, 0.3, 0.3])


@dataclasses.dataclass(frozen=True)
class RecordingConfig:
    """How much to record and how.

    Attributes:
        suite: name of the suite, one of `SOURCES`: those in which the scripted expert can move bowls.
        episodes: episodes per task.
        seed: seed of starts and noise.
        noise: largest standard deviation of the noise on an episode's six deltas, in units of an action; every episode
            draws its own, uniformly from 0 on.
        push_ticks: ticks at most for which an episode's first actions are one random push, so that hands start
            elsewhere; every episode draws its own number, uniformly from 0 on.
        after_ticks: ticks for which an episode goes on once the goal is reached: chunks of actions that begin shortly
            before it then go on, too.
    """

    suite: str = "libero_spatial"
    episodes: int = 50
    seed: int = 0
    noise: float = 0.15
    push_ticks: int = 10
    after_ticks: int = 16

    def __post_init__(self):
        find_source(self.suite)
        require_int("episodes", self.episodes, low=1)
        require_int("seed", self.seed, low=0)
        require_float("noise", self.noise, low=0.0, high=1.0)
        for name in ("push_ticks", "after_ticks"):
            require_int(name, getattr(self, name), low=0)


class StateDemonstrations(NamedTuple):
    """A file in memory; the fields are explained at the top of this module."""

    obs: Float[np.ndarray, "n o"]
    action: Float[np.ndarray, "n 7"]
    executed: Float[np.ndarray, "n 7"]
    done: Bool[np.ndarray, " n"]
    solved: Bool[np.ndarray, " n"]
    episode: Int[np.ndarray, " n"]
    seed: Int[np.ndarray, " e"]
    task: int
    facts: dict[str, Any]

    @property
    def num_solved(self) -> int:
        return int(self.solved.sum())

    @property
    def ticks(self) -> int:
        """Ticks of all episodes, those after the goal left out."""
        return len(self.done) - self.num_solved * self.facts["config"]["after_ticks"]


class Tabletop(Protocol):
    """What a recording needs of an environment; see `rtc.worlds.libero.state.StateEnvironment`."""

    def reset(self, seed: int) -> np.ndarray: ...

    def step(self, action: np.ndarray) -> Step: ...

    def scene(self) -> Scene | ChoiceScene: ...


class Expert(Protocol):
    """What acts; see `rtc.worlds.libero.expert.BowlExpert`."""

    def reset(self) -> None: ...

    def act(self, scene: Scene | ChoiceScene) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True)
class Source:
    """What a suite's demonstrations are made with.

    Attributes:
        home: the suite.
        state_dim: numbers of an observation, without the task.
        scaled: observations as networks read them.
        opened: opens a task, with places that are drawn.
        expert: what acts, from the recording's seed and the task.
    """

    home: StateSuite | ChoiceSuite
    state_dim: int
    scaled: Callable[[np.ndarray], np.ndarray]
    opened: Callable[[int], StateEnvironment]
    expert: Callable[[int, int], Expert]


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "libero_spatial": Source(
            StateSuite("libero_spatial"),
            scene.STATE_DIM,
            state_worlds.scaled,
            lambda task: state.opened(task, suite="libero_spatial"),
            lambda seed, task: BowlExpert(),
        ),
        choice.SUITE.name: Source(
            ChoiceSuite(),
            choice.STATE_DIM,
            choice_worlds.scaled,
            lambda task: choice.opened(task),
            lambda seed, task: ChoiceExpert((seed, task)),
        ),
    }
)


def find_source(suite: str) -> Source:
    """What a suite's demonstrations are made with. Raises ValueError, with the closest name, if it has no expert."""
    require_choice("suite", suite, SOURCES)
    return SOURCES[suite]


def episode_seed(config: RecordingConfig, task: int, episode: int) -> int:
    """The seed of an episode's start: 32 bits."""
    return int(np.random.SeedSequence([config.seed, task, episode]).generate_state(1)[0])


def record(environment: Tabletop, expert: Expert, task: int, config: RecordingConfig) -> StateDemonstrations:
    """Runs the expert for all episodes of a task, failures included."""
    seeds = [episode_seed(config, task, episode) for episode in range(config.episodes)]
    episodes = [
        _episode(environment, expert, seed, np.random.default_rng([config.seed, task, number, 1]), config)
        for number, seed in enumerate(seeds)
    ]
    obs, action, executed, solved = (np.concatenate([episode[i] for episode in episodes]) for i in range(4))
    lengths = np.array([len(episode[0]) for episode in episodes])
    done = np.zeros(len(obs), bool)
    done[np.cumsum(lengths) - 1] = True
    facts = {"config": dataclasses.asdict(config), "origin": provenance.origin()}
    number = np.repeat(np.arange(config.episodes), lengths)
    return StateDemonstrations(obs, action, executed, done, solved, number, np.array(seeds), task, facts)


def _episode(
    environment: Tabletop, expert: Expert, seed: int, rng: np.random.Generator, config: RecordingConfig
) -> tuple[np.ndarray, ...]:
    """Observations, labels, executed actions and outcomes of one episode."""
    scale, pushed = rng.uniform(0, config.noise), int(rng.integers(0, config.push_ticks + 1))
    push = rng.uniform(-1, 1, GRIPPER) * PUSHED
    environment.reset(seed)
    expert.reset()
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray, bool]] = []
    reached = None
    while True:
        scene = environment.scene()
        label = expert.act(scene)
        executed = label.copy()
        if len(rows) < pushed:
            executed[:GRIPPER] = push
        executed[:GRIPPER] = np.clip(executed[:GRIPPER] + scale * rng.standard_normal(GRIPPER), -1, 1)
        executed = executed.astype(np.float16)
        step = environment.step(executed.astype(float))
        first = step.solved and reached is None
        rows.append((scene.vector().astype(np.float32), label.astype(np.float16), executed, first))
        reached = len(rows) if first else reached
        if step.truncated if reached is None else len(rows) >= reached + config.after_ticks:
            return tuple(np.array(column) for column in zip(*rows, strict=True))


def joined(recordings: Sequence[StateDemonstrations]) -> Demonstrations:
    """The tasks of a suite as demonstrations for one policy, in numbers for networks; failures are kept.

    Args:
        recordings: of some tasks, all by one configuration.
    """
    config = recordings[0].facts["config"]
    source = find_source(config["suite"])
    home, expert = source.home, type(source.expert(0, 0)).__name__
    one_hot = np.eye(home.suite.num_tasks, dtype=np.float32)
    obs = [np.concatenate([one.obs, np.tile(one_hot[one.task], (len(one.obs), 1))], axis=1) for one in recordings]
    merged = {name: np.concatenate([getattr(one, name) for one in recordings]) for name in _SHARED}
    fields = {
        "obs": source.scaled(np.concatenate(obs)),
        "action": merged["action"].astype(np.float32),
        "other": merged["executed"].astype(np.float32),
        "done": merged["done"],
        "solved": merged["solved"],
        "finite": np.isfinite(merged["obs"]).all(axis=1),
        "expert": np.zeros(len(merged["done"]), np.int32),
    }
    origin = [one.facts["origin"] for one in recordings]
    tasks = [one.task for one in recordings]
    facts = scripted.facts(home.name, home.sha256, expert, config, origin, tasks=tasks) | demonstrations.counts(fields)
    size = fields["obs"].shape[1]
    return Demonstrations(**fields, template=np.zeros(size, np.float32), entries=np.arange(size), facts=facts)


def path_of(folder: Path, task: int) -> Path:
    """Where a task's demonstrations are."""
    return folder / f"task_{task:02d}.npz"


def save(path: Path, data: StateDemonstrations) -> None:
    """Writes a file, atomically."""
    npz.save(path, data, compressed=True)


def load(path: Path) -> StateDemonstrations:
    """Reads a file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged or something else.
    """
    if not path.exists():
        raise FileNotFoundError(f"no demonstrations at {path}; record them with exp/libero_demonstrations.py first")
    fields = npz.load(path, StateDemonstrations, "no file of demonstrations")
    shape, size = fields["obs"].shape, find_source(fields["facts"]["config"]["suite"]).state_dim
    if len(shape) != 2 or shape[1] != size:
        raise ValueError(f"{path} has observations of shape {shape}, not (n, {size}): delete it and record again")
    return StateDemonstrations(**fields | {"task": int(fields["task"])})


def recorded(path: Path, config: RecordingConfig) -> StateDemonstrations | None:
    """What an earlier run recorded with this configuration; None where there is nothing.

    Raises:
        ValueError: the file was recorded otherwise, or is damaged.
    """
    if not path.exists():
        return None
    found = load(path)
    npz.require_same(path, found.facts["config"], dataclasses.asdict(config))
    return found
