"""How far advice can be trusted: agreement between levels, stability, and what it is not."""

import dataclasses
import math

import numpy as np

from rtc.report.advice.facts import Advice
from rtc.report.advice.worlds import elsewhere
from rtc.report.page import Section
from rtc.shared import tables
from rtc.study import agreement, ranking
from rtc.study.statistics import Interval


def trust(advice: Advice) -> Section:
    """Agreement between levels and between worlds, stability of the recommendation, and what this is not."""
    outcome, first = advice.outcome, ranking.best_of_each_method(advice.ranked)
    said = []
    if len(first) > 1 and len(outcome.levels) > 1:
        scores = np.array([[outcome.rate(level, one.key).value for one in first] for level in outcome.levels])
        spearman = agreement.spearman_interval(scores)
        said.append(
            f"- Levels agree on the order of the {len(first)} methods, each at its best setting, with a mean rank "
            f"correlation of {tables.interval(*dataclasses.astuple(spearman), 2)} (Spearman, 95 % for levels as a "
            f"sample; Kendall's W {agreement.kendall_w(scores):.2f}). 1 is full agreement, 0 none. {_verdict(spearman)}"
        )
        said.append(f"- {_stability(advice)}")
    said += [
        f"- The levels are two-dimensional physics puzzles ({', '.join(outcome.levels)}), and not your robot: what "
        "may carry over is the order of methods, not the solve rates.",
        f"- The best of {len(advice.ranked)} settings looks a little better than it is; intervals say how far more "
        f"episodes ({outcome.total_episodes} per level and setting here) could move a number, not other levels.",
        "- Delays are replayed whatever the method does. On a robot more queries per second may make each slower.",
    ]
    return Section("How far this can be trusted", ["\n".join(said), *elsewhere(advice)])


def _verdict(spearman: Interval) -> str:
    if math.isnan(spearman.low):
        return "These are too few levels to say more."
    if spearman.low > 0.5:
        return "The order is much the same everywhere."
    if spearman.low > 0:
        return "The order is similar, but it differs from level to level."
    return "**Levels do not agree on an order: take the ranking as a hint at most.**"


def _stability(advice: Advice) -> str:
    name, other = advice.recommended.arm.config.method, {}
    for level in advice.outcome.levels:
        rest = ranking.without_level(advice.outcome, level)
        found = ranking.cheapest_of_tied(ranking.rank(rest, [one.key for one in advice.ranked]))
        if found.arm.config.method != name:
            other[level] = found.arm.config.method
    total = len(advice.outcome.levels)
    if not other:
        return f"Whichever one level is left out, the recommended method stays `{name}`."
    listed = ", ".join(f"`{method}` without {level}" for level, method in other.items())
    return f"With one level left out, the method stays `{name}` in {total - len(other)} of {total} cases ({listed})."
