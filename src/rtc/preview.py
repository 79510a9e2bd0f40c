"""Video of one episode, made in a second pass: its commanded actions are replayed with the noise they met."""

from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from jaxtyping import UInt8

from rtc import execution, levels, render, traces
from rtc.evaluation import EvalConfig
from rtc.levels import Level
from rtc.shapes import shapes
from rtc.slots import NEVER
from rtc.traces import EpisodeTrace

HOLD_FRAMES = 15  # half a second on the last state


def write(path: Path, level: Level, trace_path: Path, config: EvalConfig) -> None:
    """Writes the video of a saved episode, unless it is there and no older than the trace.

    Args:
        path: the video, *.mp4.
        level: the episode's level.
        trace_path: the trace that `rtc.traces.save_trace` wrote.
        config: the evaluation that the episode belongs to.
    """
    if path.exists() and path.stat().st_mtime >= trace_path.stat().st_mtime:
        print(f"skip {path}: newer than its episode")
        return
    trace = traces.load_trace(trace_path)
    render.write_video(path, frames(level, trace, config), fps=1000 / config.delay_profile.dt_ms)


def frames(level: Level, trace: EpisodeTrace, config: EvalConfig) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """One frame per control tick, the first before any action, and the last one held."""
    env = levels.make_env(level, config.physics)
    step = jax.jit(type(env).step)
    commanded = np.zeros((len(trace.action), env.action_dim), np.float32)
    commanded[:, level.bound_actions] = trace.action
    executed = execution.executed_actions(
        commanded, seed=trace.seed, episode=trace.episode, action_noise=config.execution.action_noise
    )
    state, _ = env.reset(1)
    yield render.draw(shapes(level, state, 0), caption=[level.name])
    for tick, action in enumerate(executed):
        state, outcome = step(env, state, action[None])
        picture = render.draw(shapes(level, state, 0), caption=_caption(trace, tick, bool(outcome.solved[0])))
        yield picture
    for _ in range(HOLD_FRAMES):
        yield picture


def _caption(trace: EpisodeTrace, tick: int, solved: bool) -> list[str]:
    lines = [f"tick {tick + 1}"]
    if trace.age[tick] == NEVER:
        lines.append("starved")
    elif trace.age[tick] > 0:
        lines.append(f"acts on an observation {trace.age[tick]} ticks old")
    if solved:
        lines.append("solved")
    return lines
