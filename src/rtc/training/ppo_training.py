"""A whole PPO run: schedule, resume, statistics, checkpoints and the rule that ends it."""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rtc.control.environment import Environment
from rtc.policies import weights
from rtc.shared import provenance, runtime
from rtc.shared.validation import require_float, require_int
from rtc.training import progress, runs
from rtc.training.expert import Expert, ExpertConfig, save_expert
from rtc.training.ppo import PPO, PPOConfig


@dataclasses.dataclass(frozen=True)
class TrainConfig(PPOConfig):
    """PPO's hyper-parameters and the length, seeds and records of a run.

    Attributes:
        seed: seed of the first expert.
        num_seeds: experts per level, with seeds `seed`, `seed + 1`, …
        seeds_at_a_time: experts that learn side by side in one program; None: one on a CPU, all on an accelerator.
        max_attempts: seeds that may be tried per expert: one that is given up is replaced by the next free seed.
        patience: an expert that has solved no episode in so many updates is given up.
        num_updates: updates after which training stops in any case.
        target_solve_rate: training stops once this share of recent episodes was solved; above 1, never.
        window: number of updates whose finished episodes count as recent.
        history: observations in the expert's input.
        delay: largest age, in ticks, of the newest of them; each environment has one of 0 … delay, and above 0 the
            expert sees the commands since (`kinds=delay_expert` of src/train_networks.py).
        width: units in each hidden layer.
        initial_std: standard deviation of the raw actions before training; above 1 most are close to a bound.
        physics: which physics step simulates the level.
        save_every: updates between two saves of the complete state, from which a killed run resumes.
        checkpoint_every: updates between two expert checkpoints (the last one is always kept).
        wandb: log to Weights & Biases too; needs WANDB_MODE=online or offline, as it is disabled by default.
    """

    seed: int = 0
    num_seeds: int = 1
    seeds_at_a_time: int | None = None
    max_attempts: int = 8
    patience: int = 80
    num_updates: int = 400
    target_solve_rate: float = 0.98
    window: int = 8
    history: int = 1
    delay: int = 0
    width: int = 128
    initial_std: float = 1.0
    physics: str = "fast"
    save_every: int = 10
    checkpoint_every: int = 100
    wandb: bool = False

    def __post_init__(self):
        super().__post_init__()
        for name in ("seed", "delay"):
            require_int(name, getattr(self, name), low=0)
        for name in (
            "num_seeds",
            "max_attempts",
            "patience",
            "num_updates",
            "window",
            "save_every",
            "checkpoint_every",
        ):
            require_int(name, getattr(self, name), low=1)
        if self.seeds_at_a_time is not None:
            require_int("seeds_at_a_time", self.seeds_at_a_time, low=1)
        require_float("initial_std", self.initial_std, low=1e-3)
        require_float("target_solve_rate", self.target_solve_rate, low=0.0)


# Fields that may change between a run and its continuation.
FREE_FIELDS = (
    "num_seeds",
    "seeds_at_a_time",
    "max_attempts",
    "patience",
    "num_updates",
    "target_solve_rate",
    "save_every",
    "checkpoint_every",
    "wandb",
)
# What runs of before did, by fields that they lack.
BEFORE = MappingProxyType({"delay": 0})
PUBLISHED = TrainConfig(
    num_envs=256,
    num_steps=256,
    num_updates=1000,
    num_seeds=8,
    max_attempts=1,
    patience=1000,
    target_solve_rate=2.0,
    history=4,
    width=256,
)


class _Run:
    """One expert's records, and whether it still learns.

    Args:
        config: hyper-parameters and schedule.
        seed: the expert's seed.
        level: slug of the level.
        run_path: folder of the run.
        first: update that the run starts with.
        facts: what to note in its checkpoints besides the training itself.
    """

    def __init__(
        self, config: TrainConfig, seed: int, level: str, run_path: Path, first: int, facts: Mapping[str, Any]
    ):
        self.config, self.seed, self.level, self.run_path, self.facts = config, seed, level, run_path, facts
        self.name = expert_name(level, seed)
        wandb_config = runs.as_dict(config) if config.wandb else None
        stats_path = run_path / "stats" / f"{self.name}.csv"
        self.recorder = progress.Recorder(stats_path, "update", first, config.num_updates, self.name, wandb_config)
        self.origin = provenance.origin()

    @property
    def rate(self) -> float:
        return recent_solve_rate(self.recorder.rows, self.config.window)

    @property
    def finished(self) -> bool:
        rows, config = self.recorder.rows, self.config
        return self.rate >= config.target_solve_rate or len(rows) >= config.num_updates or _hopeless(rows, config)

    def add(self, update: int, stats: Mapping[str, float], expert: Callable[[], Expert]) -> None:
        """Records an update and, where one is due, writes a checkpoint."""
        row = _row(update, self.config, stats)
        where = f"PPO update {update}, level {self.level}, seed {self.seed}"
        progress.require_finite(row, where, self.recorder.rows)
        rate = recent_solve_rate([*self.recorder.rows, row], self.config.window)
        self.recorder.log(row, {"solved": f"{rate:.3f}", "env_steps": row["env_steps"]})
        done = update + 1
        reached = rate >= self.config.target_solve_rate
        if reached or done == self.config.num_updates or done % self.config.checkpoint_every == 0:
            facts = {"level": self.level, **self.facts, "seed": self.seed, "solve_rate": rate}
            facts |= {"training": runs.as_dict(self.config), "update": done, "env_steps": row["env_steps"]}
            facts |= {"seconds": self.recorder.seconds} | self.origin
            save_expert(self.run_path / str(done) / "policies" / self.name, expert(), facts)


def expert_name(level: str, seed: int) -> str:
    """Name of an expert's files."""
    return f"{level}_seed_{seed}"


def _state_path(run_path: Path, level: str, seeds: Sequence[int]) -> Path:
    together = f"{level}_seeds_{seeds[0]}-{seeds[-1]}"
    return run_path / "resume" / f"{together if len(seeds) > 1 else expert_name(level, seeds[0])}.safetensors"


def _require_same_groups(run_path: Path, level: str, seeds: Sequence[int]) -> None:
    """Raises ValueError where one of the seeds has learned side by side with others than these."""
    wanted = _state_path(run_path, level, seeds)
    for path in wanted.parent.glob(f"{level}_seed*.safetensors"):
        found = re.fullmatch(r"_seeds?_(\d+)(?:-(\d+))?", path.stem.removeprefix(level))
        if found is None or path == wanted:
            continue
        first, last = int(found[1]), int(found[2] or found[1])
        shared = [seed for seed in seeds if first <= seed <= last]
        if shared:
            raise ValueError(
                f"seed {shared[0]} of {level} has learned in one program with seeds {first} to {last} ({path}), not "
                f"with {seeds[0]} to {seeds[-1]}: give --config.seeds-at-a-time {last - first + 1}, or --no-resume to "
                "start afresh"
            )


def train(
    env: Environment,
    expert_config: ExpertConfig,
    config: TrainConfig,
    *,
    seeds: Sequence[int],
    level: str,
    run_path: Path,
    resume: bool,
    facts: Mapping[str, Any] = MappingProxyType({}),
) -> dict[int, float]:
    """Trains experts side by side; writes `<run_path>/<update>/policies/<level>_seed_<seed>.safetensors` and `.json`.

    The complete state (parameters, optimisers, environments, update index) is saved every `save_every`
    updates, and all random numbers derive from (seed, update, device): on the same number of devices a killed
    and resumed run ends with the same experts as an uninterrupted one.

    Args:
        env: the environment, observing everything.
        expert_config: shape of the actor-critic.
        config: hyper-parameters and schedule.
        seeds: the experts' seeds; they learn until the last of them is finished.
        level: slug of the level, for file names.
        run_path: folder of the run.
        resume: continue from the saved state if there is one.
        facts: what to note in each checkpoint besides the training itself.

    Returns:
        By seed, the solve rate over the last `window` updates (sampled actions, with action noise); 0 if it was
        given up.

    Raises:
        FloatingPointError: if a loss or a parameter is no longer finite.
        ValueError: if the saved state does not fit the configuration, or a seed has learned with others at its side.
    """
    runtime.make_room()
    state_path = _state_path(run_path, level, seeds)
    if not resume:
        for seed in seeds:
            runs.discard(run_path, expert_name(level, seed))
    else:
        _require_same_groups(run_path, level, seeds)
    ppo, env = PPO(expert_config, config, len(seeds)), env.observing(expert_config.obs_entries)
    init_keys, update_keys = jax.vmap(jax.random.split, out_axes=1)(jnp.stack([jax.random.key(s) for s in seeds]))
    saved = runs.restore(state_path, {"learner": ppo.init(env, init_keys), "update": 0}, resume)
    learner, first = ppo.place(saved["learner"]), int(saved["update"])

    with ExitStack() as stack:
        experts = [_Run(config, seed, level, run_path, first, facts) for seed in seeds]
        for run in experts:
            stack.enter_context(run.recorder)
        for update in range(first, config.num_updates):
            if all(run.finished for run in experts):
                break
            correlation = jnp.array([config.noise_correlation * (1.0 - run.rate) for run in experts])
            keys = jax.vmap(jax.random.fold_in, (0, None))(update_keys, update)
            learner, stats = ppo.update(env, learner, keys, correlation)
            stats = jax.tree.map(np.asarray, stats)
            for number, run in enumerate(experts):
                if not run.finished:
                    of_run = {name: float(values[number]) for name, values in stats.items()}
                    run.add(update, of_run, partial(ppo.expert, learner, number))
            # Last, so that a run killed in between writes its checkpoints again.
            if all(run.finished for run in experts) or (update + 1) % config.save_every == 0:
                weights.save_tree(state_path, {"learner": learner, "update": update + 1})
    return {run.seed: run.rate for run in experts}


def train_seeds(
    env: Environment,
    expert_config: ExpertConfig,
    config: TrainConfig,
    *,
    level: str,
    run_path: Path,
    resume: bool,
    facts: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[tuple[int, float]]:
    """Trains `num_seeds` experts, trying up to `max_attempts` seeds for each; yields every seed and its solve rate.

    Arguments as for `train`.
    """
    trained, tried, limit = 0, 0, config.num_seeds * config.max_attempts
    at_a_time = config.seeds_at_a_time or (1 if jax.default_backend() == "cpu" else config.num_seeds)
    while trained < config.num_seeds and tried < limit:
        first, size = config.seed + tried, min(at_a_time, config.num_seeds - trained, limit - tried)
        seeds = range(first, first + size)
        options = {"level": level, "run_path": run_path, "resume": resume, "facts": facts}
        rates = train(env, expert_config, config, seeds=seeds, **options)
        yield from rates.items()
        tried += size
        trained += sum(rate > 0 or config.max_attempts == 1 for rate in rates.values())


def _hopeless(rows: Sequence[Mapping[str, float]], config: TrainConfig) -> bool:
    return len(rows) >= config.patience and not any(row["solved"] for row in rows[-config.patience :])


def recent_solve_rate(rows: Sequence[Mapping[str, float]], window: int) -> float:
    """Solved share of the episodes that finished in the last `window` updates; 0 before that many updates."""
    recent = rows[-window:]
    episodes = sum(row["episodes"] for row in recent)
    return sum(row["solved"] for row in recent) / episodes if len(recent) == window and episodes else 0.0


def _row(update: int, config: TrainConfig, stats: Mapping[str, float]) -> dict[str, float]:
    """Statistics of one update; means are over the episodes that finished in it."""
    episodes = max(stats["episodes"], 1.0)
    return {
        "update": update,
        "env_steps": (update + 1) * config.num_envs * config.num_steps,
        "episodes": stats["episodes"],
        "solved": stats["solved"],
        "solve_rate": stats["solved"] / episodes,
        "mean_return": stats["returns"] / episodes,
        "mean_length": stats["lengths"] / episodes,
        "non_finite": stats["non_finite"],
        "policy_loss": stats["policy_loss"],
        "value_loss": stats["value_loss"],
        "clip_fraction": stats["clip_fraction"],
        "action_std": stats["action_std"],
        "param_norm": stats["param_norm"],
    }
