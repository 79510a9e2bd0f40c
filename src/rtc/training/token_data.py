"""Chunks of demonstrations for RSD: split by episode, with the actions that drive nothing set to 0."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rtc.policies import checkpoints
from rtc.shared.validation import require_float
from rtc.training import cloning, demonstrations, trainer
from rtc.training.demonstrations import Demonstrations
from rtc.worlds.kinetix import levels


class Chunks(NamedTuple):
    """Where chunks start, and the actions that they are cut from.

    Attributes:
        action: demonstrated actions, one episode after another.
        last: per transition, the index of its episode's last one.
        training, held_out: first transitions of the chunks of the two parts; an episode is in one of them.
    """

    action: Float[Array, "n a"]
    last: Int[Array, " n"]
    training: Int[np.ndarray, " t"]
    held_out: Int[np.ndarray, " v"]

    def at(self, start: Int[Array, " b"], chunk_size: int) -> Float[Array, "b h a"]:
        """The chunks that start at these transitions; zeros after the episode's end."""
        index = start[:, None] + jnp.arange(chunk_size)
        last = self.last[start][:, None]
        return jnp.where((index <= last)[..., None], self.action[jnp.minimum(index, last)], 0.0)

    def without_split(self) -> "Chunks":
        """What compiled programs can take: without the split, whose sizes differ."""
        return self._replace(training=np.zeros(1, int), held_out=np.zeros(1, int))


def held_out_episodes(done: Bool[np.ndarray, " n"], share: float, seed: int) -> Bool[np.ndarray, " n"]:
    """True for the transitions of a random `share` of the episodes, at least one."""
    require_float("held_out", share, low=0.0, high=0.5)
    episode = np.concatenate([[0], np.cumsum(done)[:-1]])
    count = int(done.sum())
    chosen = np.random.default_rng(seed).permutation(count)[: max(1, round(share * count))]
    return np.isin(episode, chosen)


def of_level(data: Demonstrations, level: str, *, held_out: float = 0.1, seed: int = 0) -> Chunks:
    """The chunks of one level's demonstrations.

    Args:
        data: whole episodes.
        level: name of the level, which knows the actions that drive something in it.
        held_out: share of the episodes that is kept from training.
        seed: seed of the split.
    """
    return of_world(data, levels.load(level).bound_actions, held_out=held_out, seed=seed)


def of_world(data: Demonstrations, bound: Bool[np.ndarray, " a"], *, held_out: float = 0.1, seed: int = 0) -> Chunks:
    """The chunks of any world's demonstrations; `bound` are the actions that drive something in it."""
    action = np.where(bound, data.action, 0.0).astype(np.float32)
    test = held_out_episodes(data.done, held_out, seed)
    return Chunks(
        action=jnp.asarray(action),
        last=jnp.asarray(cloning.episode_ends(data.done), jnp.int32),
        training=np.flatnonzero(~test),
        held_out=np.flatnonzero(test),
    )


def join(parts: Sequence[Chunks]) -> Chunks:
    """The chunks of several levels, one level after another."""
    offsets = np.cumsum([0, *(len(part.last) for part in parts)])[:-1]
    pairs = list(zip(parts, offsets, strict=True))
    return Chunks(
        action=jnp.concatenate([part.action for part in parts]),
        last=jnp.concatenate([part.last + int(offset) for part, offset in pairs]),
        training=np.concatenate([part.training + offset for part, offset in pairs]),
        held_out=np.concatenate([part.held_out + offset for part, offset in pairs]),
    )


def load(run_path: Path, names: Sequence[str]) -> Mapping[str, Demonstrations]:
    """The demonstrations of levels, by name.

    Raises:
        FileNotFoundError: one of them has not been recorded.
        ValueError: a file is damaged.
    """
    paths = {name: run_path / "data" / f"{checkpoints.level_slug(f'worlds/l/{name}.json')}.npz" for name in names}
    demonstrations.require(paths.values())
    return {name: demonstrations.load(path) for name, path in paths.items()}


@dataclasses.dataclass(frozen=True)
class ShuffledChunks:
    """Every training chunk once per epoch, in full batches (`rtc.training.trainer.Order`).

    Args:
        start: first transitions of the chunks.
        batch_size: chunks per update.
        seed: of the whole run.

    Raises:
        ValueError: the chunks are fewer than one batch.
    """

    start: Int[np.ndarray, " n"]
    batch_size: int
    seed: int

    def __post_init__(self):
        trainer.require_batch(len(self.start), self.batch_size)

    @property
    def updates(self) -> int:
        return len(self.start) // self.batch_size

    def calls(self, epoch: int) -> Iterator[tuple[Int[Array, "u b"], PRNGKeyArray]]:
        order = np.random.default_rng((self.seed, epoch)).permutation(self.start)
        batches = order[: self.updates * self.batch_size].reshape(self.updates, self.batch_size)
        key = jax.random.fold_in(jax.random.key(self.seed), epoch)
        for first in range(0, self.updates, trainer.UPDATES_PER_CALL):
            of_call = batches[first : first + trainer.UPDATES_PER_CALL]
            yield jnp.asarray(of_call, jnp.int32), jax.random.fold_in(key, first)
