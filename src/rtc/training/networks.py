"""What the trainings of all networks beside a policy share."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from rtc.policies import networks as files
from rtc.policies.networks import Network
from rtc.training import trainer
from rtc.training.trainer import FitConfig, Objective, Schedule

# Share of the ticks that forward models and latent predictors learn from; the rest is held out.
SHARE = 0.9


@dataclasses.dataclass(frozen=True)
class Job:
    """One training: of which level, where, and what to note.

    Attributes:
        level: slug of the level.
        folder: of the training's state and statistics.
        path: where the network goes, without suffix.
        facts: what to note beside it.
        resume: go on from the state in the folder.
    """

    level: str
    folder: Path
    path: Path
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    resume: bool = True


def fit(
    network: Network,
    objective: Objective,
    data: Any,
    count: int,
    config: FitConfig,
    job: Job,
    schedule: Schedule = trainer.constant,
) -> dict[str, float]:
    """Trains a network's `net` on the first `count` examples; returns the statistics of the last epoch.

    The network is as its file will hold it, so that errors measured on it are the file's.
    """
    order = trainer.Shuffled(count, config.batch_size, jax.random.key(config.seed))
    net, stats = trainer.fit(
        network.net,
        objective,
        data,
        order,
        config,
        folder=job.folder,
        name=job.level,
        schedule=schedule,
        resume=job.resume,
        label=f"{network.kind} network of {job.level}",
    )
    network.net = files.rounded(net)
    return stats


def mean_of(values: Float[Array, "*n"], counts: Bool[Array, "*n"]) -> Float[Array, ""]:
    """Mean of the values that count; 0 where none does."""
    return jnp.sum(values * counts) / jnp.maximum(counts.sum(), 1)


def cut(done: Bool[np.ndarray, " n"], share: float) -> int:
    """The number of ticks of the first episodes that hold at least this share of all ticks.

    Raises:
        ValueError: that leaves no episode.
    """
    ends = np.flatnonzero(done) + 1
    found = int(ends[np.searchsorted(ends, share * len(done))])
    if found == len(done):
        raise ValueError(f"of {len(ends)} episodes none is left beside a share of {share}: record more")
    return found
