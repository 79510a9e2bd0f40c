"""The explorer's data: what it draws of a study, computed by the functions that its tables use, as plain JSON.

Arms are named by profile, method and policy. An arm is paired with those that differ from it in one of the three; the
intervals of these differences are those of the study's tables. The page computes no statistic: it turns differences
round and, on one level of several, subtracts means of metrics of which no interval is given there.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rtc.delay.profiles import DelayProfileConfig
from rtc.report import catalogue, insight
from rtc.report.figures import palette
from rtc.study import pairs, statistics
from rtc.study.outcome import Outcome
from rtc.study.questions import ArmKey, Comparison
from rtc.study.statistics import SOLVED, Interval
from rtc.study.study import Arm

# More places than a table prints, so that numbers are rounded as they are there.
PLACES = 9
COSTS = (
    "multiplications_per_tick",
    "flow_evals_per_tick",
    "mean_delay",
    "d_p99",
    "p_late",
    "starved_fraction",
    "mean_execute_horizon",
)
SETTINGS = ("profile", "method", "policy")


@dataclass(frozen=True)
class Named:
    """An arm's place in the explorer.

    Attributes:
        profile: name of the delay profile.
        method: the arm's label, without what names its policy.
        policy: what names its policy: the rest of the label, or the folder of its run.
    """

    profile: str
    method: str
    policy: str

    def differs(self, other: "Named") -> list[str]:
        """The settings in which two arms differ."""
        return [name for name in SETTINGS if getattr(self, name) != getattr(other, name)]


def named(arms: Sequence[Arm], run_path: str) -> dict[ArmKey, Named]:
    """The arms by profile, method and policy.

    Labels of a study with several policies have parts, joined by `+`, that all arms of a policy share and those of no
    other have: they name the policy.

    Args:
        arms: a study's arms.
        run_path: run of the arms that name none.
    """
    runs: dict[str, list[set[str]]] = {}
    for one in arms:
        runs.setdefault(one.run_path or run_path, []).append(set(one.method.split("+")))
    shared = {run: set.intersection(*labels) if len(runs) > 1 else set() for run, labels in runs.items()}
    found = {}
    for one in arms:
        run = one.run_path or run_path
        words = one.method.split("+")
        method = "+".join(word for word in words if word not in shared[run]) or one.method
        policy = "+".join(word for word in words if word in shared[run]) if method != one.method else ""
        found[one.key] = Named(one.profile, method, policy or Path(run).name)
    if len(set(found.values())) < len(found):
        return {one.key: Named(one.profile, one.method, Path(one.run_path or run_path).name) for one in arms}
    return found


def data(outcome: Outcome, run_path: str, report: str) -> dict[str, Any]:
    """All that the explorer shows of a study.

    Args:
        outcome: its finished cells.
        run_path: run of the policies of arms that name none.
        report: address of its report.

    Returns:
        What JSON can hold. Intervals are [value, low, high], in the units of results.csv; differences, "pairs" by
        metric, have a row [a, b, value, low, high, p] per pair of arms, a minus b.
    """
    study, arms = outcome.study, outcome.arms()
    names = named(arms, run_path)
    seen = insight.by_arm(study, [one.key for one in arms])
    methods = list(dict.fromkeys(names[one.key].method for one in arms))
    metrics = [one for one in episode_metrics() if _everywhere(outcome, arms, one)]
    return {
        "name": study.name,
        "title": study.title,
        "question": study.question,
        "primary": study.primary,
        "report": report,
        "levels": outcome.levels,
        "episodes": outcome.total_episodes,
        "seeds": len(next(iter(outcome.cells.values()))),
        "code": sorted({cell.inputs["code"][:12] for cells in outcome.cells.values() for cell in cells}),
        "profiles": [_profile(outcome, arms, name) for name in dict.fromkeys(one.profile for one in arms)],
        "colors": palette.distinct_colors(methods),
        "metrics": metrics,
        "arms": [_arm(outcome, one, names[one.key], seen.get(one.key, ""), metrics) for one in arms],
        "pairs": {metric: _pairs(outcome, arms, names, metric) for metric in metrics},
        "level_pairs": _level_pairs(outcome, arms, names),
    }


def episode_metrics() -> list[str]:
    """Columns with a value per episode, of which there are paired differences."""
    return [one.column for one in catalogue.METRICS.values() if one.per == catalogue.EPISODE]


def catalogue_entries() -> dict[str, dict[str, Any]]:
    """What the page has to know of metrics, by column."""
    wanted = (*episode_metrics(), *COSTS)
    return {
        column: {
            "heading": one.heading,
            "difference": one.difference_heading,
            "axis": one.axis,
            "scale": one.scale,
            "places": one.places,
            "better": one.better,
            "definition": one.definition,
        }
        for column, one in ((name, catalogue.metric(name)) for name in wanted)
    }


def _everywhere(outcome: Outcome, arms: Sequence[Arm], metric: str) -> bool:
    """Whether every episode of every arm has a finite value."""
    return all(
        metric in cell.episodes and np.isfinite(cell.episodes[metric].to_numpy(float)).all()
        for one in arms
        for cell in outcome.group(one.key)
    )


def _profile(outcome: Outcome, arms: Sequence[Arm], name: str) -> dict[str, Any]:
    first = next(one for one in arms if one.profile == name)
    delay = first.config.delay_profile
    constant = (delay.fixed_delay or 0) if delay.mode == "fixed" and first.delays_of is None else None
    return {"name": name, "constant": constant, "none": delay == DelayProfileConfig() and first.delays_of is None}


def _arm(outcome: Outcome, one: Arm, name: Named, sees: str, metrics: Sequence[str]) -> dict[str, Any]:
    costs = {column: outcome.cell_mean(one.key, column) for column in COSTS}
    return {
        "profile": name.profile,
        "method": name.method,
        "policy": name.policy,
        "label": one.method,
        "sees": sees,
        "values": {metric: _plain(outcome.mean(one.key, metric)) for metric in metrics},
        "levels": {metric: [_on(outcome, level, one.key, metric) for level in outcome.levels] for metric in metrics},
        "costs": {column: _rounded(value) for column, value in costs.items() if np.isfinite(value)},
    }


def _on(outcome: Outcome, level: str, key: ArmKey, metric: str) -> list[float | None]:
    if metric == SOLVED:
        return _plain(outcome.rate(level, key))
    return _plain(statistics.mean_over_levels([outcome.episodes(level, key, metric)]))


def _paired(arms: Sequence[Arm], names: Mapping[ArmKey, Named]) -> Iterator[tuple[int, int]]:
    """Places of two arms that differ in one setting."""
    for (a, one), (b, other) in itertools.combinations(enumerate(arms), 2):
        if len(names[one.key].differs(names[other.key])) == 1:
            yield a, b


def _pairs(
    outcome: Outcome, arms: Sequence[Arm], names: Mapping[ArmKey, Named], metric: str
) -> list[list[float | None]]:
    rows = []
    for a, b in _paired(arms, names):
        test = outcome.difference(Comparison(arms[a].key, arms[b].key), metric)
        rows.append([a, b, *_plain(test.interval), _rounded(test.p_value)])
    return rows


def _level_pairs(outcome: Outcome, arms: Sequence[Arm], names: Mapping[ArmKey, Named]) -> list[list[Any]]:
    """Of the primary metric, per pair of arms and level: value, low, high. Nothing for a study on one level."""
    metric, rows = outcome.study.primary, []
    if len(outcome.levels) < 2:
        return rows
    for a, b in _paired(arms, names):
        comparison = Comparison(arms[a].key, arms[b].key)
        tests = [pairs.table_test(metric, [outcome.pairs(comparison, metric, level)]) for level in outcome.levels]
        rows.append([_plain(test.interval) for test in tests])
    return rows


def _plain(interval: Interval) -> list[float | None]:
    return [_rounded(value) for value in (interval.value, interval.low, interval.high)]


def _rounded(value: float) -> float | None:
    return round(float(value), PLACES) if np.isfinite(value) else None
