"""Experts of the delayed decision process, from PPO's checkpoints to networks beside a policy."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flax import nnx

from rtc.policies import networks, weights
from rtc.policies.delayed import DelayedActor, DelayedConfig
from rtc.training.expert import Expert, load_expert, newest_experts


def best(run_path: Path, level: str) -> Path:
    """The expert of a level that solved most of its last episodes in training, without suffix.

    Args:
        run_path: a run of src/train_expert.py with `--config.delay`.
        level: slug of the level.

    Raises:
        FileNotFoundError: the run holds no expert for the level.
    """
    return max(newest_experts(run_path, level), key=lambda path: load_expert(path)[1]["solve_rate"])


def facts(path: Path) -> dict[str, Any]:
    """What tells one expert from another, and what it was trained for, from the files without suffix.

    Raises:
        ValueError: it was trained without delays.
    """
    expert, found = load_expert(path)
    if not expert.config.delay:
        raise ValueError(f"{path} was trained without delays: give --config.delay to src/train_expert.py")
    digest = hashlib.sha256(weights.with_suffix(path, weights.WEIGHTS).read_bytes()).hexdigest()
    names = ("level_sha256", "seed", "solve_rate", "training", "env_steps", "seconds", "git_commit")
    return {"expert_sha256": digest, **{name: found[name] for name in names if name in found}}


def export(path: Path, to: Path, noted: Mapping[str, Any]) -> None:
    """Writes the actor of an expert as a `DelayedActor`.

    Args:
        path: the expert's files, without suffix.
        to: where the network goes, without suffix.
        noted: its facts.
    """
    expert = load_expert(path)[0]
    networks.save(to, actor(expert), noted)


def actor(expert: Expert) -> DelayedActor:
    """What acts of an expert that was trained with delays."""
    shape = expert.config
    config = DelayedConfig(shape.delay, shape.width, shape.num_motors, shape.history)
    made = DelayedActor(entries=shape.obs_entries, action_dim=shape.action_dim, config=config, rngs=nnx.Rngs(0))
    # Every other one is a tanh.
    for ours, theirs in zip(made.net, expert.actor.layers[::2], strict=True):
        nnx.update(ours, nnx.state(theirs))
    return made
