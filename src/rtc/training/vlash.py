"""Fine-tuning of flow policies on observations whose robot is ahead of the rest (after VLASH, arXiv 2512.01031)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rtc.policies import checkpoints
from rtc.policies.flow import FlowPolicy
from rtc.shared import runtime
from rtc.shared.validation import require_int
from rtc.training import cloning, networks, runs, trainer
from rtc.training.demonstrations import Demonstrations
from rtc.training.networks import Job
from rtc.training.trainer import FitConfig
from rtc.worlds.kinetix import levels
from rtc.worlds.kinetix.levels import Level

# What a policy's facts say of demonstrations that are its own.
OWN = "the policy's own solved episodes (d = 0, s = 1); published are the task's demonstrations"
SHARE = 0.95
# Examples of the held-out error at a time.
BLOCK = 1024


@dataclasses.dataclass(frozen=True)
class VlashTraining(FitConfig):
    """One training run; the fields of `FitConfig`, and

    Attributes:
        robot_ahead: how many ticks the robot is ahead at most.
    """

    num_epochs: int = 8
    parts: int = 16
    learning_rate: float = 3e-4
    warmup_steps: int = 200
    ema_decay: float = 0.99
    robot_ahead: int = 4

    def __post_init__(self):
        super().__post_init__()
        require_int("robot_ahead", self.robot_ahead, low=1)


def robot_entries(level: Level, entries: Int[np.ndarray, " k"]) -> Bool[np.ndarray, " k"]:
    """Which of these observation entries are those of the robot's own bodies, as `robot_only` methods take them."""
    return np.asarray(levels.make_env(level, "fast").observing(tuple(entries.tolist())).robot)


def train(
    policy: FlowPolicy, data: Demonstrations, robot: Bool[np.ndarray, " k"], config: VlashTraining, job: Job
) -> dict[str, Any]:
    """Fine-tunes a policy and writes it as a checkpoint; returns its facts, with its loss on held-out episodes and that
    of the policy as it was.

    The robot's entries are from t + δ, all others from t, δ being uniform in 0 … `robot_ahead`; what is learned are the
    actions from t + δ on (`cloning.ahead_chunks`).

    Args:
        policy: the policy, for full observations.
        data: demonstrations, the task's or the policy's own.
        robot: which of their observed entries are those of the robot's own bodies.
        config: hyper-parameters.
        job: where and for what.

    Raises:
        ValueError: the episodes are too few.
    """
    shown = networks.cut(data.done, SHARE)
    inputs = cloning.make_dataset(data, robot, config.robot_ahead)
    tuned, stats = trainer.fit(
        _copy(policy, config.robot_ahead),
        cloning.robot_ahead_objective,
        inputs,
        trainer.Shuffled(shown, config.batch_size, jax.random.key(config.seed)),
        config,
        folder=job.folder,
        name=job.level,
        schedule=trainer.cosine,
        resume=job.resume,
        label=f"vlash policy of {job.level}",
    )
    held_out = {"held_out_loss": _loss(tuned, inputs, shown), "untuned_loss": _loss(policy, inputs, shown)}
    counts = {f"data_{name}": data.facts[name] for name in ("transitions", "episodes", "solve_rate")}
    progress = {**stats, "epoch": config.num_epochs}
    facts = {**job.facts, **counts, "training": runs.as_dict(config), **progress, **held_out}
    checkpoints.save_policy(job.path, tuned, facts)
    return facts


def _copy(policy: FlowPolicy, robot_ahead: int) -> FlowPolicy:
    """A policy with arrays of its own, as training consumes those that it is given."""
    graph, state = nnx.split(policy)
    copy = nnx.merge(graph, jax.tree.map(jnp.copy, state))
    copy.config = dataclasses.replace(policy.config, robot_ahead=robot_ahead)
    return copy


def _loss(policy: FlowPolicy, data: cloning.Dataset, first: int) -> float:
    """Mean loss of the examples from the `first` on, in whole blocks."""
    count = len(data.last) - first
    size = min(BLOCK, count)
    starts = range(first, first + count - size + 1, size)
    losses = [_block_loss(policy, data, start + jnp.arange(size), jax.random.key(start)) for start in starts]
    return float(np.mean([float(loss) for loss in losses]))


@runtime.jit
def _block_loss(
    policy: FlowPolicy, data: cloning.Dataset, batch: Int[Array, " b"], key: PRNGKeyArray
) -> Float[Array, ""]:
    return cloning.robot_ahead_objective(policy, data, batch, key)[0]
