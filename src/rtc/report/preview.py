"""Video of one episode, made in a second pass: the executor runs that episode again and records where bodies are."""

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from jaxtyping import UInt8

from rtc.control import timeline
from rtc.control.records import NEVER, Records
from rtc.control.timeline import EpisodeTrace
from rtc.shared import files, provenance
from rtc.study.evaluation import EvalConfig
from rtc.study.subject import Subject
from rtc.worlds.kinetix import levels, render
from rtc.worlds.kinetix.levels import Level
from rtc.worlds.kinetix.shapes import shapes

HOLD_FRAMES = 15  # half a second on the last state


def write(path: Path, subject: Subject, config: EvalConfig, trace_path: Path) -> None:
    """Writes the video of a recorded episode and, beside it, which episode that is; keeps a video of the same one.

    Args:
        path: the video, *.mp4.
        subject: level and policy.
        config: the evaluation that the episode belongs to.
        trace_path: the trace of the episode, as its cell keeps it.
    """
    note, source = path.with_suffix(".json"), provenance.sha256(trace_path.read_bytes())
    if path.exists() and note.exists() and json.loads(note.read_text()).get("trace_sha256") == source:
        print(f"skip {path}: it shows this episode")
        return
    trace = timeline.load_trace(trace_path)
    records = play(subject, config, trace)
    differs_from = first_difference(records, trace, subject.level)
    if differs_from is not None:
        warnings.warn(
            f"{path}: the replay of {trace.description} differs from tick {differs_from + 1} on", stacklevel=2
        )
    pictures = frames(subject, records, differs_from, starts_alike=config.start_noise == 0)
    render.write_video(path, pictures, fps=1000 / config.delay_profile.tick_ms)
    facts = {"episode": trace.description, "trace_sha256": source, "differs_from_tick": differs_from}
    files.atomic_write(note, json.dumps(facts, indent=2) + "\n")


def play(subject: Subject, config: EvalConfig, trace: EpisodeTrace) -> Records:
    """Runs the episode of a trace again, with the places of the bodies.

    Others run beside it, for a program with as many slots as the recorded one: fewer are rounded differently.
    """
    together = min(config.num_evals, config.num_slots * jax.local_device_count())
    others = [episode for episode in range(config.num_evals) if episode != trace.episode]
    episodes = np.array([trace.episode, *others[: together - 1]])
    records = subject.rollout(config, seed=trace.seed, episodes=episodes, num_slots=config.num_slots, record_poses=True)
    return jax.tree.map(lambda x: x[:1], records)


def first_difference(records: Records, trace: EpisodeTrace, level: Level) -> int | None:
    """The first tick at which a replayed episode is not the recorded one; None if it is the same to the end."""
    again = records.actions[0, : records.length[0]][:, level.bound_actions]
    both = min(len(again), len(trace.action))
    apart = np.flatnonzero((again[:both] != trace.action[:both]).any(axis=1))
    if apart.size:
        return int(apart[0])
    return None if len(again) == len(trace.action) else both


def frames(
    subject: Subject, records: Records, differs_from: int | None = None, starts_alike: bool = True
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """One frame before any action, one per control tick, and the last one held.

    Args:
        differs_from: tick from which this is not the recorded episode; every frame says so.
        starts_alike: whether the episode starts as the level does; else the frame before any action is left out.
    """
    level = subject.level
    note = (
        [] if differs_from is None else ["replayed; differs from the", f"recorded episode from tick {differs_from + 1}"]
    )
    if starts_alike:
        yield render.draw(shapes(level, level.start), caption=[level.name, *note])
    for tick in range(records.length[0]):
        state = levels.at_poses(level, jax.tree.map(lambda pose, tick=tick: pose[0, tick], records.poses))
        last = tick == records.length[0] - 1
        picture = render.draw(shapes(level, state), caption=[*_caption(records, tick, last), *note])
        yield picture
    for _ in range(HOLD_FRAMES):
        yield picture


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
