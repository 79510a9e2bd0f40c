"""Video of one episode under one arm or several, side by side, made in a second pass: the executor runs that episode
again and records where bodies are."""

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8

from rtc.control import metrics
from rtc.control.records import NEVER, Records
from rtc.shared import files
from rtc.study import cells as store
from rtc.study.cells import CellData
from rtc.study.evaluation import EvalConfig
from rtc.study.statistics import SOLVED
from rtc.study.subject import Subject
from rtc.worlds.kinetix import levels, render
from rtc.worlds.kinetix.levels import Level
from rtc.worlds.kinetix.shapes import shapes

HOLD_FRAMES = 15  # half a second on the last state
_GAP = 4  # pixels between pictures
_CLOSE = 1e-6
DIFFERS = "replayed; not the recorded episode"


@dataclass(frozen=True)
class Take:
    """An arm whose episode is shown.

    Attributes:
        subject: level and policy.
        config: its evaluation.
        cell: its finished cell, which names profile and method, and says what happened in the episode.
    """

    subject: Subject
    config: EvalConfig
    cell: CellData

    @property
    def name(self) -> str:
        return f"{self.cell.cell.method} under {self.cell.cell.profile}"

    def row(self, episode: int) -> dict[str, float]:
        """What was recorded of an episode."""
        frame = self.cell.episodes
        return frame[frame["episode"] == episode].iloc[0].to_dict()


def typical(cell: CellData) -> int:
    """Of the episodes that starve, the one with the median number of starved ticks, solved or not; else the first."""
    starved = cell.episodes[cell.episodes["starved_ticks"] > 0].sort_values(["starved_ticks", "episode"])
    return int(starved["episode"].iloc[(len(starved) - 1) // 2] if len(starved) else cell.episodes["episode"].iloc[0])


def write(path: Path, takes: Sequence[Take], episode: int) -> None:
    """Writes the video of an episode and, beside it, which one that is; keeps a video of the same one.

    Args:
        path: the video, *.mp4.
        takes: the arms, from left to right, on one level and with one seed: they meet the same random numbers.
        episode: its number.
    """
    cell = takes[0].cell.cell
    about = f"{cell.level}, seed {cell.seed}, episode {episode}: {' | '.join(take.name for take in takes)}"
    source = store.fingerprint({"episode": episode, "cells": [dict(take.cell.inputs) for take in takes]})
    if shows(path, source):
        return
    streams, apart = [], {}
    for take in takes:
        records = play(take.subject, take.config, cell.seed, episode)
        apart[take.name] = differences(records, take.row(episode), take.subject.level)
        if apart[take.name]:
            warnings.warn(f"{path}: the replay of {take.name} differs in {', '.join(apart[take.name])}", stacklevel=2)
        streams.append(frames(take, records, differs=bool(apart[take.name])))
    facts = {"episode": about, "source": source, "differs": apart}
    keep(path, side_by_side(streams), 1000 / takes[0].config.delay_profile.tick_ms, facts, indent=2)


def shows(path: Path, source: str) -> bool:
    """Whether a video is there and, beside it, a note that it was made of this; says so.

    Args:
        path: the video.
        source: fingerprint of all that it depends on.
    """
    note = path.with_suffix(".json")
    found = path.exists() and note.exists() and json.loads(note.read_text()).get("source") == source
    if found:
        print(f"skip {path}: it shows this episode")
    return found


def keep(
    path: Path,
    shown: Iterable[UInt8[np.ndarray, "h w 3"]],
    fps: float,
    facts: Mapping[str, Any],
    indent: int | None = None,
) -> None:
    """Writes a video and then the note beside it; in between there is none, so that a killed run makes both again.

    Args:
        path: the video, *.mp4.
        shown: its pictures.
        fps: pictures per second.
        facts: what the note says, "source" among it.
        indent: of the note, which is JSON.
    """
    note = path.with_suffix(".json")
    note.unlink(missing_ok=True)
    render.write_video(path, shown, fps=fps)
    files.atomic_write(note, json.dumps(facts, indent=indent) + "\n")


def play(subject: Subject, config: EvalConfig, seed: int, episode: int) -> Records:
    """Runs an episode again, with the places of the bodies.

    Others run beside it, for a program with as many slots as the recorded one: fewer are rounded differently.
    """
    together = min(config.num_evals, config.num_slots * jax.local_device_count())
    others = [one for one in range(config.num_evals) if one != episode]
    episodes = np.array([episode, *others[: together - 1]])
    records = subject.rollout(config, seed=seed, episodes=episodes, num_slots=config.num_slots, record_poses=True)
    return jax.tree.map(lambda x: x[:1], records)


def differences(records: Records, row: dict[str, float], level: Level) -> list[str]:
    """The columns of episodes.csv in which a replayed episode is not the recorded one; none if it is the same."""
    length = int(records.length[0])
    *_, rms = metrics.smoothness(records.actions[0, :length][:, level.bound_actions])
    again = {
        SOLVED: float(records.solved[0]),
        "returned_episode_lengths": length,
        "returned_episode_returns": float(records.returned[0]),
        "rms_ddelta_action": rms,
        "starved_ticks": int((records.age[0, :length] == NEVER).sum()),
    }
    return [name for name, value in again.items() if not np.isclose(value, row[name], rtol=_CLOSE, atol=_CLOSE)]


def side_by_side(streams: Sequence[Iterator[UInt8[np.ndarray, "h w 3"]]]) -> Iterator[UInt8[np.ndarray, "h wide 3"]]:
    """The pictures of several episodes beside each other; who ends first stays on its last one, and so do all."""
    shown: list[UInt8[np.ndarray, "h w 3"] | None] = [None] * len(streams)
    while True:
        found = [next(stream, None) for stream in streams]
        if all(picture is None for picture in found):
            break
        shown = [old if new is None else new for old, new in zip(shown, found, strict=True)]
        picture = _joined(shown)
        yield picture
    for _ in range(HOLD_FRAMES):
        yield picture


def _joined(pictures: Sequence[UInt8[np.ndarray, "h w 3"]]) -> UInt8[np.ndarray, "h wide 3"]:
    gap = np.full((pictures[0].shape[0], _GAP, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture, gap)][:-1]
    return np.concatenate(parts, axis=1)


def frames(take: Take, records: Records, differs: bool = False) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """One frame before any action, where the episode starts as the level does, and one per control tick.

    Args:
        take: the arm; its profile and method stand in every frame.
        records: of the episode alone.
        differs: whether this is not the recorded episode; every frame says so.
    """
    cell = take.cell.cell
    head = [cell.method, f"{cell.profile}, {cell.level}", *([DIFFERS] if differs else [])]
    yield from pictures(take.subject.level, records, head, starts_alike=take.config.start_noise == 0)


def pictures(
    level: Level, records: Records, head: Sequence[str], *, starts_alike: bool = True, size: int = render.SIZE
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """One frame before any action, where the episode starts as the level does, and one per control tick.

    Args:
        level: the level.
        records: of the episode alone, with the places of the bodies.
        head: what stands in every frame.
        starts_alike: whether the episode starts as the level does.
        size: width and height in pixels.
    """
    if starts_alike:
        yield render.draw(shapes(level, level.start), size=size, caption=head)
    for tick in range(records.length[0]):
        state = levels.at_poses(level, jax.tree.map(lambda pose, tick=tick: pose[0, tick], records.poses))
        last = tick == records.length[0] - 1
        yield render.draw(shapes(level, state), size=size, caption=[*head, *_caption(records, tick, last)])


def _caption(records: Records, tick: int, last: bool) -> list[str]:
    """Tick, the query in flight or the chunk that has just arrived, and what the executed action goes by."""
    lines, age = [f"tick {tick + 1}"], records.age[0, tick]
    launched = np.flatnonzero(records.delay[0, : tick + 1] != NEVER)[-1]
    waited, delay = tick - launched, records.delay[0, launched]
    if waited < delay:
        lines.append(f"query in flight: {waited + 1} of {delay} ticks")
    elif waited == delay:
        lines.append("new chunk")
    if age == NEVER:
        lines.append("starved")
    elif age > 0:
        lines.append(f"acts on an observation {age} ticks old")
    if last:
        lines.append("solved" if records.solved[0] else "not solved")
    return lines
