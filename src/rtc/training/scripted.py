"""Demonstrations of scripted experts: their facts, and what an earlier run recorded."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rtc.training import demonstrations, npz
from rtc.training.demonstrations import Demonstrations


def facts(name: str, sha256: str, expert: str, config: Mapping[str, Any], origin: Any, **more: Any) -> dict[str, Any]:
    """The facts that a checkpoint keeps of its data.

    Args:
        name, sha256: of the level, task or suite.
        expert: name of the expert, whose commands are the labels; what was executed has noise.
        config: how it was recorded, with `seed` and `noise`.
        origin: of the recording.
        more: further facts.
    """
    return {
        "level": name,
        "level_sha256": sha256,
        "experts": {expert: {}},
        "masked_experts": {},
        "config": config,
        **more,
        "seed": config["seed"],
        "sample_actions": False,
        "record_mode": True,
        "action_noise_std": config["noise"],
        "max_experts": None,
        "origin": origin,
    }


def recorded(
    path: Path, sha256: str, config: Mapping[str, Any], record: Callable[[], Demonstrations], *, resume: bool
) -> Demonstrations:
    """What an earlier run recorded with this configuration, or a new recording, which is written to `path`.

    Raises:
        ValueError: what is there was recorded otherwise.
    """
    if resume and path.exists():
        data = demonstrations.load(path)
        npz.require_same(path, data.facts["config"], config)
        demonstrations.require_level(path, data.facts, sha256)
        return data
    data = record()
    npz.save(path, data, compressed=True)
    return data
