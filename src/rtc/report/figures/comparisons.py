"""The paired differences that a study was made to measure, and the effects of factors on them."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from rtc.report import catalogue
from rtc.report.figures import palette, rows
from rtc.report.figures.palette import Look
from rtc.report.figures.rows import Panel, Row
from rtc.study import effects as factorial
from rtc.study import statistics
from rtc.study.outcome import Outcome
from rtc.study.questions import Comparison
from rtc.study.study import Study

NO_DIFFERENCE = {"": 0.0}


def draw(study: Study, outcome: Outcome) -> dict[str, Figure]:
    """A mark with its interval per comparison, in the candidate's colour; panels are profiles, or what is compared.

    Dots are levels, or seeds where there is one level. Dashed: no difference.
    """
    metric, looks = catalogue.metric(study.primary), palette.of_study(outcome.study)
    panels: dict[str, list[Row]] = {}
    for comparison in study.comparisons:
        if outcome.complete(*comparison.arms):
            title, label = names(comparison)
            interval = outcome.difference(comparison, metric.column).interval
            row = Row(label, looks[comparison.candidate[1]], interval, _dots(outcome, comparison, metric.column))
            panels.setdefault(title, []).append(row)
    axis = metric.difference_axis
    return rows.figures({title: Panel(found, NO_DIFFERENCE) for title, found in panels.items()}, axis, metric.scale)


def names(comparison: Comparison) -> tuple[str, str]:
    """The panel of a comparison, and its name there."""
    (profile, method), (other_profile, other_method) = comparison.candidate, comparison.reference
    if comparison.less is not None:
        (less_profile, _), less = comparison.less.candidate, dataclasses.replace(comparison, less=None)
        title, label = names(less)
        return f"{title}, less the same in {less_profile}", label
    if profile == other_profile:
        return profile, f"{method}\n\N{MINUS SIGN} {other_method}"
    if method == other_method:
        return f"{profile} \N{MINUS SIGN} {other_profile}", method
    return f"{profile} \N{MINUS SIGN} {other_profile}", f"{method}\n\N{MINUS SIGN} {other_method}"


def _dots(outcome: Outcome, comparison: Comparison, column: str) -> list[float]:
    levels = [outcome.pairs(comparison, column, level) for level in outcome.levels]
    if len(levels) > 1:
        return [float(values.mean()) for values in levels]
    sizes = [len(cell.episodes) for cell in outcome.group(comparison.candidate)]
    seeds, first = [], 0
    for size in sizes:
        seeds.append(float(levels[0][first : first + size].mean()))
        first += size
    return seeds


def effects(study: Study, outcome: Outcome) -> dict[str, Figure] | None:
    """Each difference, and main effects of factors on it: a panel per difference and profile; dots are levels."""
    metric, panels = catalogue.metric(study.primary), {}
    order = list(dict.fromkeys(one.name for one in study.effects))
    for chosen in sorted(study.effects, key=lambda one: order.index(one.name)):
        if outcome.complete(*chosen.arms):
            found = [factorial.of_level(outcome, chosen, metric.column, level) for level in outcome.levels]
            main = list(found[0])[: 1 + len(chosen.factors)]  # the first is the mean of all combinations
            shown = [_effect(name, number, [one[name] for one in found]) for number, name in enumerate(main)]
            panels[f"{chosen.name}, {chosen.profile}"] = Panel(shown, NO_DIFFERENCE)
    return rows.figures(panels, metric.difference_axis, metric.scale) if panels else None


def _effect(name: str, number: int, levels: Sequence[Float[np.ndarray, " n"]]) -> Row:
    look = Look(palette.SERIES[number % len(palette.SERIES)])
    return Row(name, look, statistics.mean_over_levels(levels), [float(values.mean()) for values in levels])
