"""The primary metric of all arms of a study."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from rtc.delay.profiles import DelayProfileConfig
from rtc.report import catalogue
from rtc.report.figures import palette, rows
from rtc.report.figures.rows import Panel, Row
from rtc.study.outcome import Outcome
from rtc.study.questions import ArmKey
from rtc.study.study import Study

MOST_LINES = 2


def draw(study: Study, outcome: Outcome) -> dict[str, Figure]:
    """A mark with its interval per arm; a panel per profile or, where these are more, per method.

    Dots are levels, or seeds where there is one level. Dashed: what the study's comparisons are made against.
    """
    profiles, methods = study.profiles, study.methods
    metric, looks = catalogue.metric(study.primary), palette.of_study(outcome.study)
    per_method = len(profiles) > len(methods)
    panels = {}
    for name in methods if per_method else profiles:
        keys = [one.key for one in study.arms if one.key[per_method] == name and outcome.complete(one.key)]
        found = [
            Row(key[not per_method], looks[key[1]], outcome.mean(key, metric.column), dots(outcome, key, metric.column))
            for key in keys
        ]
        lines = {
            reference[not per_method]: outcome.mean(reference, metric.column).value
            for reference in references(study, keys)
        }
        if found:
            panels[name] = Panel(found, lines)
    return rows.figures(panels, metric.axis, metric.scale)


def dots(outcome: Outcome, key: ArmKey, column: str) -> list[float]:
    """The means of an arm on every level; where there is one level, those of its seeds."""
    if len(outcome.levels) > 1:
        return [float(outcome.episodes(level, key, column).mean()) for level in outcome.levels]
    return [float(cell.episodes[column].mean()) for cell in outcome.group(key)]


def references(study: Study, keys: Sequence[ArmKey]) -> list[ArmKey]:
    """What arms are read against: the references of comparisons among them, at most two; else the one without delay."""
    found: dict[ArmKey, int] = {}
    for comparison in study.comparisons:
        if comparison.less is None and {comparison.candidate, comparison.reference} <= set(keys):
            found[comparison.reference] = found.get(comparison.reference, 0) + 1
    if found:
        return sorted(found, key=lambda key: -found[key])[:MOST_LINES]
    plain = [key for key in keys if study.arm(key).config.delay_profile == DelayProfileConfig()]
    return plain[:1]
