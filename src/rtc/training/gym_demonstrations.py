"""Demonstrations of Gymnasium's tasks: scripted experts under noise, in the format of `rtc.training.demonstrations`.

Labels are the expert's actions without noise in the states that noise leads to (DART, arXiv 1703.09327). Episodes go on
to the time limit, so that policies see how a solved one is kept.
"""

import dataclasses
from pathlib import Path

import numpy as np

from rtc.shared import provenance
from rtc.shared.validation import require_float, require_int
from rtc.training import demonstrations, runs, scripted
from rtc.training.demonstrations import Demonstrations
from rtc.worlds.gym.experts import EXPERTS, Expert
from rtc.worlds.gym.tasks import Task, TaskEnvironment


@dataclasses.dataclass(frozen=True)
class RecordingConfig:
    """How much to record and how.

    Attributes:
        num_transitions: transitions per task at least, in whole episodes.
        seed: seed of starts and noise.
        noise: largest standard deviation of the noise on an episode's actions, which are in -1…1; every episode draws
            its own, uniformly from 0 on.
        push_every: ticks between two random pushes, on average: one random action for up to `push_ticks` ticks.
        push_ticks: ticks of a push at most; 0 for no pushes.
    """

    num_transitions: int = 100_000
    seed: int = 0
    noise: float = 0.3
    push_every: int = 40
    push_ticks: int = 6

    def __post_init__(self):
        for name in ("num_transitions", "push_every"):
            require_int(name, getattr(self, name), low=1)
        for name in ("seed", "push_ticks"):
            require_int(name, getattr(self, name), low=0)
        require_float("noise", self.noise, low=0.0, high=1.0)
        if not self.push_ticks and self.push_every != type(self).push_every:
            raise ValueError(
                f"push_every={self.push_every} has no effect with push_ticks=0: give push_ticks, or leave it out"
            )


def record(task: Task, config: RecordingConfig) -> Demonstrations:
    """Runs the task's expert for whole episodes; failures are kept.

    Raises:
        ValueError: the task's simulator is not installed.
    """
    environment, expert = TaskEnvironment(task, stops=False), EXPERTS[task.name]
    episodes, transitions = [], 0
    try:
        while transitions < config.num_transitions:
            seed = int(np.random.SeedSequence([config.seed, len(episodes)]).generate_state(1)[0])
            rng = np.random.default_rng([config.seed, len(episodes), 1])
            episodes.append(_episode(environment, expert, seed, rng, config))
            transitions += len(episodes[-1]["done"])
    finally:
        environment.close()
    fields = {name: np.concatenate([episode[name] for episode in episodes]) for name in demonstrations.FIELDS}
    size = task.observation_dim
    how = runs.as_dict(config)
    facts = scripted.facts(task.name, task.sha256, expert.__name__, how, provenance.origin())
    facts |= demonstrations.counts(fields)
    return Demonstrations(**fields, template=np.zeros(size, np.float32), entries=np.arange(size), facts=facts)


def _episode(
    environment: TaskEnvironment, expert: Expert, seed: int, rng: np.random.Generator, config: RecordingConfig
) -> dict[str, np.ndarray]:
    """The fields of an episode's ticks."""
    scale, raw = rng.uniform(0, config.noise), np.asarray(environment.task.scale)
    obs, reached, rows = environment.reset(seed), False, []
    push, pushed = np.zeros(environment.action_dim), 0
    while True:
        label = expert(obs * raw)
        if not pushed and config.push_ticks and rng.random() < 1 / config.push_every:
            push, pushed = rng.uniform(-1, 1, len(label)), int(rng.integers(1, config.push_ticks + 1))
        commanded = push if pushed else label
        pushed = max(pushed - 1, 0)
        executed = np.clip(commanded + scale * rng.standard_normal(len(label)), -1, 1)
        step = environment.step(executed)
        over = step.terminated or step.truncated
        reached = reached or step.solved
        rows.append((obs, label, executed, over, reached and over))
        obs = step.obs
        if over:
            break
    obs, action, executed, done, solved = (np.array(column) for column in zip(*rows, strict=True))
    return {
        "obs": obs.astype(np.float32),
        "action": action.astype(np.float32),
        "other": executed.astype(np.float32),
        "done": done,
        "solved": solved,
        "finite": np.isfinite(obs).all(axis=1),
        "expert": np.zeros(len(done), np.int32),
    }


def recorded(path: Path, task: Task, config: RecordingConfig, *, resume: bool) -> Demonstrations:
    """What an earlier run recorded with this configuration, or a new recording, which is written to `path`.

    Raises:
        ValueError: what is there was recorded otherwise, or the task's simulator is not installed.
    """
    return scripted.recorded(path, task.sha256, runs.as_dict(config), lambda: record(task, config), resume=resume)
