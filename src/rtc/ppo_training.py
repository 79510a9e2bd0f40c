"""A whole PPO run: schedule, resume, statistics, checkpoints and the rule that ends it."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import jax

from rtc import provenance, runtime, training
from rtc.environment import Environment
from rtc.expert import ExpertConfig, save_expert
from rtc.ppo import PPO, PPOConfig
from rtc.validation import require_float, require_int


@dataclasses.dataclass(frozen=True)
class TrainConfig(PPOConfig):
    """PPO's hyper-parameters and the length, seeds and records of a run.

    Attributes:
        seed: seed of the first expert.
        num_seeds: experts per level, with seeds `seed`, `seed + 1`, …
        max_attempts: seeds that may be tried per expert: one that is given up is replaced by the next free seed.
        patience: an expert that has solved no episode in so many updates is given up.
        num_updates: updates after which training stops in any case.
        target_solve_rate: training stops once this share of recent episodes was solved; above 1, never.
        window: number of updates whose finished episodes count as recent.
        history: observations in the expert's input.
        width: units in each hidden layer.
        physics: which physics step simulates the level.
        save_every: updates between two saves of the complete state, from which a killed run resumes.
        checkpoint_every: updates between two expert checkpoints (the last one is always kept).
        wandb: log to Weights & Biases too; needs WANDB_MODE=online or offline, as it is disabled by default.
    """

    seed: int = 0
    num_seeds: int = 1
    max_attempts: int = 8
    patience: int = 80
    num_updates: int = 400
    target_solve_rate: float = 0.98
    window: int = 8
    history: int = 1
    width: int = 128
    physics: str = "fast"
    save_every: int = 10
    checkpoint_every: int = 100
    wandb: bool = False

    def __post_init__(self):
        super().__post_init__()
        require_int("seed", self.seed, low=0)
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
        require_float("target_solve_rate", self.target_solve_rate, low=0.0)


# Fields that may change between a run and its continuation.
FREE_FIELDS = (
    "num_seeds",
    "max_attempts",
    "patience",
    "num_updates",
    "target_solve_rate",
    "save_every",
    "checkpoint_every",
    "wandb",
)
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


def train(
    env: Environment,
    expert_config: ExpertConfig,
    config: TrainConfig,
    *,
    seed: int,
    level: str,
    run_path: Path,
    resume: bool,
) -> float:
    """Trains one expert; writes `<run_path>/<update>/policies/<level>_seed_<seed>.safetensors` and `.json`.

    The complete state (parameters, optimiser, environments, update index) is saved every `save_every`
    updates, and all random numbers derive from (seed, update, device): on the same number of devices a killed
    and resumed run ends with the same expert as an uninterrupted one.

    Args:
        env: the environment, observing everything.
        expert_config: shape of the actor-critic.
        config: hyper-parameters and schedule.
        seed: this expert's seed.
        level: slug of the level, for file names.
        run_path: folder of the run.
        resume: continue from the saved state if there is one.

    Returns:
        The solve rate over the last `window` updates (sampled actions, with action noise); 0 if it was given up.

    Raises:
        FloatingPointError: if a loss or a parameter is no longer finite.
        ValueError: if the saved state does not fit the configuration.
    """
    runtime.make_room()
    name = f"{level}_seed_{seed}"
    state_path = run_path / "resume" / f"{name}.safetensors"
    if not resume:
        training.discard(run_path, name)
    ppo, env = PPO(expert_config, config), env.observing(expert_config.obs_entries)
    init_key, update_key = jax.random.split(jax.random.key(seed))
    saved = training.restore(state_path, {"learner": ppo.init(env, init_key), "update": 0}, resume)
    learner, first = ppo.place(saved["learner"]), int(saved["update"])

    wandb_config, origin = training.as_dict(config) if config.wandb else None, provenance.origin()
    stats_path = run_path / "stats" / f"{name}.csv"
    with training.Recorder(stats_path, "update", first, config.num_updates, name, wandb_config) as recorder:
        rate = recent_solve_rate(recorder.rows, config.window)
        for update in range(first, config.num_updates):
            if rate >= config.target_solve_rate or _hopeless(recorder.rows, config):
                break
            correlation = config.noise_correlation * (1.0 - rate)
            learner, stats = ppo.update(env, learner, jax.random.fold_in(update_key, update), correlation)
            row = _row(update, config, jax.tree.map(float, stats))
            training.require_finite(row, f"PPO update {update}, level {level}, seed {seed}", recorder.rows)
            rate = recent_solve_rate([*recorder.rows, row], config.window)
            recorder.log(row, {"solved": f"{rate:.3f}", "env_steps": row["env_steps"]})

            done = update + 1
            finished = done == config.num_updates or rate >= config.target_solve_rate
            if finished or done % config.checkpoint_every == 0:
                facts = {
                    "level": level,
                    "seed": seed,
                    "solve_rate": rate,
                    "training": training.as_dict(config),
                }
                facts |= {"update": done, "env_steps": row["env_steps"], "seconds": recorder.seconds} | origin
                save_expert(run_path / str(done) / "policies" / name, ppo.expert(learner), facts)
            # Last, so that a run killed in between writes its checkpoint again.
            if finished or done % config.save_every == 0:
                training.save_tree(state_path, {"learner": learner, "update": done})
    return rate


def train_seeds(
    env: Environment, expert_config: ExpertConfig, config: TrainConfig, *, level: str, run_path: Path, resume: bool
) -> Iterator[tuple[int, float]]:
    """Trains `num_seeds` experts, trying up to `max_attempts` seeds for each; yields every seed and its solve rate.

    Arguments as for `train`.
    """
    trained = 0
    for seed in range(config.seed, config.seed + config.num_seeds * config.max_attempts):
        rate = train(env, expert_config, config, seed=seed, level=level, run_path=run_path, resume=resume)
        yield seed, rate
        trained += rate > 0 or config.max_attempts == 1
        if trained == config.num_seeds:
            return


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
