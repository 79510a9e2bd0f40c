"""Episodes as they went, for what is learned from a policy's own rollouts: observations and executed actions."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from rtc.training import demonstrations, npz
from rtc.training.cloning import episode_ends
from rtc.training.demonstrations import Demonstrations
from rtc.training.networks import cut


class Trajectories(NamedTuple):
    """Whole episodes, one tick after another.

    Attributes:
        obs: what was observed, of the entries that can change.
        action: what was executed then, action noise included; in a policy's own demonstrations what was commanded.
        done: last tick of an episode.
        robot: which of the observed entries are those of the robot's own bodies.
        entries: where the observed entries belong in the full observation.
        facts: where they come from.
    """

    obs: Float[np.ndarray, "n o"]
    action: Float[np.ndarray, "n a"]
    done: Bool[np.ndarray, " n"]
    robot: Bool[np.ndarray, " o"]
    entries: Int[np.ndarray, " o"]
    facts: dict[str, Any]

    @property
    def last(self) -> Int[np.ndarray, " n"]:
        """For every tick, the index of its episode's last one."""
        return episode_ends(self.done)

    def split(self, share: float) -> tuple["Trajectories", "Trajectories"]:
        """The first episodes, with about this share of the ticks, and the others. Raises ValueError if none is left."""
        end = cut(self.done, share)
        return self._ticks(slice(None, end)), self._ticks(slice(end, None))

    def _ticks(self, ticks: slice) -> "Trajectories":
        return self._replace(obs=self.obs[ticks], action=self.action[ticks], done=self.done[ticks])


def save(path: Path, data: Trajectories) -> None:
    """Writes a file of trajectories, atomically."""
    npz.save(path, data)


def load(path: Path) -> Trajectories:
    """Reads a file of trajectories.

    Raises:
        ValueError: it is damaged or something else.
    """
    return Trajectories(**npz.load(path, Trajectories, "no file of trajectories"))


def joined(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]], **others: Any) -> Trajectories:
    """Trajectories from recordings [episodes, ticks, …] of observations and actions, and the episodes' lengths.

    The episodes are put in an order in which every part of the recordings is spread evenly.
    """
    episodes = [
        ((number + 0.5) / len(length), obs[number, :ticks], action[number, :ticks])
        for obs, action, length in parts
        for number, ticks in enumerate(length)
    ]
    episodes.sort(key=lambda episode: episode[0])
    obs, action = (np.concatenate([episode[i] for episode in episodes]) for i in (1, 2))
    done = np.zeros(len(obs), bool)
    done[np.cumsum([len(episode[1]) for episode in episodes]) - 1] = True
    return Trajectories(obs, action, done, **others)


def as_demonstrations(data: Trajectories, template: Float[np.ndarray, " f"]) -> Demonstrations:
    """Trajectories that all end in the goal, as demonstrations by one expert who did what was commanded.

    Args:
        data: the trajectories.
        template: a full observation of their level.
    """
    true = np.ones(len(data.done), bool)
    fields = {
        "obs": data.obs,
        "action": data.action,
        "other": data.action,
        "done": data.done,
        "solved": data.done,
        "finite": true,
        "expert": np.zeros(len(data.done), np.int32),
    }
    facts = data.facts | demonstrations.counts(fields)
    return Demonstrations(**fields, template=template, entries=data.entries, facts=facts)
