"""Recorded episodes of the explorer: a video each, and what its delay timeline shows."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from rtc.control.records import NEVER, Records
from rtc.report import preview
from rtc.shared import provenance
from rtc.study import cells as store
from rtc.study.evaluation import EvalConfig
from rtc.study.subject import FlowSubject

FOLDER = Path("docs/episodes")
SIZE = 240  # pixels
_UNSHOWN = ("provenance", "source")


def index(root: Path) -> list[dict[str, Any]]:
    """The episodes that are there, for the page; videos by their path in the site."""
    found = []
    for path in sorted((root / FOLDER).glob("*.json")):
        shown = json.loads(path.read_text())
        shown["video"] = f"episodes/{path.stem}.mp4"
        found.append({name: value for name, value in shown.items() if name not in _UNSHOWN})
    return found


def place(folder: Path, scene: str, method: str) -> Path:
    """The video of a scene and a method."""
    return folder / f"{scene.replace(', ', '-')}-{method}.mp4"


def write(
    path: Path, scene: str, subject: FlowSubject, config: EvalConfig, seed: int, episode: int, again: bool = False
) -> None:
    """Runs an episode and writes its video and, beside it, its timeline; keeps those of the same episode and settings.

    Args:
        path: the video, *.mp4.
        scene: level and delay in words; episodes of a scene are shown side by side.
        subject: level and policy.
        config: the evaluation.
        seed, episode: which episode; its start and delays are the same with every method.
        again: replace them even so.
    """
    inputs = dict(subject.inputs(config, seed))
    source = store.fingerprint({"inputs": inputs, "episode": episode, "scene": scene, "size": SIZE})
    if not again and preview.shows(path, source):
        return
    records = subject.rollout(config, seed=seed, episodes=np.array([episode]), num_slots=1, record_poses=True)
    fps = 1000 / config.delay_profile.tick_ms
    head = [config.method, scene]
    frames = preview.pictures(subject.level, records, head, starts_alike=config.start_noise == 0, size=SIZE)
    facts = {"scene": scene, "method": config.method, "seed": seed, "episode": episode, "fps": fps}
    about = {**facts, **timeline(records), "source": source, "provenance": provenance.origin()}
    preview.keep(path, frames, fps, about)


def timeline(records: Records) -> dict[str, Any]:
    """One episode: queries as [launch, delay, planned delay], ages of actions (-1: starved), whether it is solved."""
    ticks = int(records.length[0])
    delay, planned = np.asarray(records.delay[0, :ticks]), np.asarray(records.planned[0, :ticks])
    launches = np.flatnonzero(delay != NEVER)
    return {
        "queries": [[int(t), int(delay[t]), int(planned[t])] for t in launches],
        "age": [int(age) for age in np.asarray(records.age[0, :ticks])],
        "solved": bool(records.solved[0]),
    }
