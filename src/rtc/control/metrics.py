"""Every metric of an evaluation, from the records of its episodes; docs/metrics.md, made from `rtc.report.catalogue`,
defines each.

Nothing looks across a reset or past an episode's end. Percentiles are values that occurred; an episode too short for a
difference of actions scores 0 in it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from rtc.control.records import NEVER, Records
from rtc.shared.tables import percentiles

EPISODE_MEANS = (
    "returned_episode_solved",
    "returned_episode_returns",
    "returned_episode_lengths",
    "max_delta_action",
    "max_ddelta_action",
    "rms_ddelta_action",
)


@dataclass(frozen=True)
class Summary:
    """Metrics of one evaluation.

    Attributes:
        row: the scalar metrics, by name.
        episodes: one row per episode.
        delay_counts: number of queries by delay in ticks.
    """

    row: dict[str, float]
    episodes: pd.DataFrame
    delay_counts: dict[int, int]


def smoothness(actions: Float[np.ndarray, "t a"]) -> tuple[float, float, float]:
    """max_delta_action, max_ddelta_action and rms_ddelta_action of one episode's commanded actions."""
    delta = np.diff(actions, axis=0)
    ddelta = np.diff(delta, axis=0)
    max_delta = np.linalg.norm(delta, axis=1).max(initial=0.0)
    max_ddelta = np.linalg.norm(ddelta, axis=1).max(initial=0.0)
    rms_ddelta = np.sqrt(np.mean(ddelta**2)) if ddelta.size else 0.0
    return float(max_delta), float(max_ddelta), float(rms_ddelta)


def _query_metrics(records: Records, chunk_size: int) -> dict[str, float]:
    launched = records.delay != NEVER
    delay, planned = records.delay[launched], records.planned[launched]
    begins = delay if records.origin is None else np.maximum(delay, records.origin[launched])
    horizon, abandoned = records.execute_horizon[launched], records.abandoned[launched] == 1
    p50, p95, p99 = percentiles(delay).values()
    return {
        "d_p50": p50,
        "d_p95": p95,
        "d_p99": p99,
        "mean_delay": float(np.mean(delay)),
        "p_violate": float(np.mean(delay > chunk_size - horizon)),
        "p_starve_condition": float(np.mean(records.shift[launched] + begins > chunk_size)),
        "p_late": float(np.mean((delay > planned) | abandoned)),
        "mean_planned_delay": float(np.mean(planned)),
        "mean_execute_horizon": float(np.mean(records.interval[launched])),
        "abandoned_fraction": float(np.mean(abandoned)),
        "mean_flow_steps": float(np.mean(records.steps[launched])),
    }


def _episode_frame(
    records: Records,
    episodes: Int[np.ndarray, " n"],
    bound_actions: Bool[np.ndarray, " a"],
    evaluations: Callable[[Int[np.ndarray, "n t"]], Int[np.ndarray, "n t"]],
    bootstrap_evaluations: int,
) -> pd.DataFrame:
    executed = np.arange(records.age.shape[1]) < records.length[:, None]
    launched = records.delay != NEVER
    spent = np.where(launched, evaluations(records.steps), 0).sum(axis=1)
    if records.evaluations is not None:
        spent = spent + np.where(executed, records.evaluations, 0).sum(axis=1)
    smooth = np.array(
        [smoothness(a[:n][:, bound_actions]) for a, n in zip(records.actions, records.length, strict=True)]
    )
    return pd.DataFrame(
        {
            "episode": episodes,
            "returned_episode_solved": records.solved.astype(int),
            "returned_episode_returns": records.returned.astype(float),
            "returned_episode_lengths": records.length,
            "max_delta_action": smooth[:, 0],
            "max_ddelta_action": smooth[:, 1],
            "rms_ddelta_action": smooth[:, 2],
            "starved_ticks": ((records.age == NEVER) & executed).sum(axis=1),
            "num_queries": launched.sum(axis=1),
            "abandoned_queries": (records.abandoned == 1).sum(axis=1),
            "flow_evals": spent + bootstrap_evaluations,
        }
    )


def summarise(
    records: Records,
    episodes: Int[np.ndarray, " n"],
    *,
    chunk_size: int,
    bound_actions: Bool[np.ndarray, " a"],
    evaluations: Callable[[Int[np.ndarray, "n t"]], Int[np.ndarray, "n t"]],
    bootstrap_evaluations: int,
) -> Summary:
    """All metrics of one evaluation.

    Args:
        records: what happened in the episodes.
        episodes: their numbers.
        chunk_size: H.
        bound_actions: action dimensions that the level binds to a motor or thruster.
        evaluations: network evaluations of queries, hedged copies included, from their flow steps.
        bootstrap_evaluations: network evaluations for the chunk before the first query.
    """
    frame = _episode_frame(records, episodes, bound_actions, evaluations, bootstrap_evaluations)
    ticks = int(frame["returned_episode_lengths"].sum())
    age = records.age[records.age != NEVER]
    age_p50, age_p99 = percentiles(age, (50, 99)).values() if age.size else (np.nan, np.nan)
    row = {name: float(frame[name].mean()) for name in EPISODE_MEANS}
    row |= _query_metrics(records, chunk_size)
    row |= {
        "starved_fraction": float(frame["starved_ticks"].sum() / ticks),
        "age_p50": age_p50,
        "age_p99": age_p99,
        "flow_evals_per_tick": float(frame["flow_evals"].sum() / ticks),
        "num_evals": len(frame),
    }
    values, counts = np.unique(records.delay[records.delay != NEVER], return_counts=True)
    return Summary(row, frame, {int(v): int(c) for v, c in zip(values, counts, strict=True)})
