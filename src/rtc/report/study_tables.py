"""The tables of a study, as they are printed. Names and formats come from the catalogue."""

from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np
import pandas as pd

from rtc.delay.profiles import DelayProfileConfig
from rtc.report import catalogue, insight
from rtc.report.catalogue import Metric
from rtc.shared import tables
from rtc.study import effects as factorial
from rtc.study import families, pairs, statistics, verdicts
from rtc.study import margins as judged
from rtc.study.outcome import Outcome
from rtc.study.pairs import PairedTest
from rtc.study.questions import Comparison, Effects
from rtc.study.statistics import Interval
from rtc.study.study import Study

Key = tuple[str, str]
ALPHA = 0.05
# From so many more evaluations per chunk on, the table of comparisons divides the gain by them.
LEAST_EXTRA = 0.5
# Fewer episodes on a level say nothing on a margin.
LEAST_JUDGED = 100
OUTCOMES = tuple(one.column for one in catalogue.METRICS.values() if one.per == catalogue.EPISODE)
DIFFERENCES = tuple(column for column in OUTCOMES if column != "max_delta_action")
COSTS = (
    "returned_episode_returns",
    "rms_ddelta_action",
    "mean_delay",
    "d_p99",
    "p_late",
    "starved_fraction",
    "mean_execute_horizon",
    "mean_flow_steps",
    "flow_evals_per_tick",
    "multiplications_per_tick",
)


def comparisons(outcome: Outcome, chosen: Iterable[Comparison]) -> pd.DataFrame:
    """Paired differences of the primary metric in the mean over the levels, p values before and after correction."""
    metric, chosen = catalogue.metric(outcome.study.primary), set(chosen)
    seen = insight.by_arm(outcome.study, [comparison.candidate for comparison in chosen])
    rows = []
    for comparison, (test, corrected) in outcome.tests(metric.column).items():
        if comparison in chosen:
            rows.append(
                {
                    "candidate - reference": str(comparison),
                    **insight.column(seen, comparison.candidate),
                    "difference" + (" (pp)" if metric.rate else ""): metric.interval(test.interval, signed=True),
                    "p": tables.p_value(test.p_value),
                    "p (Holm)": tables.p_value(corrected),
                    "finding": finding(test, corrected),
                    "better / worse levels": _better_worse(outcome, comparison),
                    **_cost(outcome, comparison, test.interval, metric),
                }
            )
    return pd.DataFrame(rows)


def margins(outcome: Outcome, chosen: Iterable[Comparison]) -> pd.DataFrame:
    """Paired differences of solve rates against the margin, and what their number of episodes can find."""
    metric, rows = catalogue.PRIMARY, []
    for comparison in chosen:
        if not outcome.complete(*comparison.arms):
            continue
        levels = [outcome.pairs(comparison, metric.column, level) for level in outcome.levels]
        found, spread = judged.judge_margin(levels, verdicts.MARGIN, comparison.bound), families.spread(levels)
        least = families.smallest_difference(spread, levels[0].size) if spread > 0 else np.nan
        rows.append(
            {
                "candidate - reference": str(comparison),
                metric.difference_heading: metric.interval(found.interval, signed=True),
                "finding": found.describe(metric.scale, "pp"),
                "not worse": "yes" if found.non_inferior() else "not shown",
                "finds (pp)": metric.show(least),
            }
        )
    return pd.DataFrame(rows)


def finding(test: PairedTest, corrected: float) -> str:
    """What a corrected p value allows to say."""
    if corrected > ALPHA:
        return "not told apart"
    return "higher" if test.interval.value > 0 else "lower"


def _better_worse(outcome: Outcome, comparison: Comparison) -> str:
    """On how many levels a sign test finds the candidate better and worse."""
    metric = catalogue.metric(outcome.study.primary)
    way = -1 if metric.better == catalogue.LOWER else 1
    signs = [way * pairs.sign_test(outcome.pairs(comparison, metric.column, level)) for level in outcome.levels]
    return f"{sum(sign > 0 for sign in signs)} / {sum(sign < 0 for sign in signs)}"


def _cost(outcome: Outcome, comparison: Comparison, gain: Interval, metric: Metric) -> dict[str, str]:
    """What the candidate evaluates more per chunk than the reference, and what each of these evaluations gains."""
    per_evaluation = ""
    if comparison.less:
        return {"extra evals/chunk": "", "gain per extra eval": per_evaluation}
    extra = outcome.evaluations_per_chunk(comparison.candidate) - outcome.evaluations_per_chunk(comparison.reference)
    if extra >= LEAST_EXTRA:
        scaled = (metric.scale * x / extra for x in (gain.value, gain.low, gain.high))
        per_evaluation = tables.interval(*scaled, 2, signed=True)
    return {"extra evals/chunk": tables.number(extra, 2, signed=True), "gain per extra eval": per_evaluation}


def differences(outcome: Outcome, chosen: Iterable[Comparison], columns: Sequence[str] = DIFFERENCES) -> pd.DataFrame:
    """Paired differences of several metrics with intervals over all pairs; `*`: the interval excludes 0."""
    rows = []
    for comparison in chosen:
        if outcome.complete(*comparison.arms):
            row = {"difference": str(comparison)}
            for metric in map(catalogue.metric, columns):
                levels = [outcome.pairs(comparison, metric.column, level) for level in outcome.levels]
                text = "n/a"
                if np.isfinite(np.concatenate(levels)).any():
                    interval = pairs.table_interval(metric.column, levels, comparison.bound)
                    text = metric.interval(interval, signed=True) + (" *" if interval.excludes_zero else "")
                row[metric.difference_heading] = text
            rows.append(row)
    return pd.DataFrame(rows)


def effects(outcome: Outcome, chosen: Effects) -> pd.DataFrame:
    """Effects of factors on a difference of the primary metric: in the mean over the levels, and on each."""
    metric = catalogue.metric(outcome.study.primary)
    by_level = {level: factorial.of_level(outcome, chosen, metric.column, level) for level in outcome.levels}
    rows = []
    for name in next(iter(by_level.values())):
        values = [found[name] for found in by_level.values()]
        interval = statistics.mean_over_levels(values)
        row = {"effect": name, metric.difference_heading: metric.interval(interval, signed=True)}
        row |= {
            level: metric.show(found[name].mean(), signed=True) + (" *" if _apart(found[name]) else "")
            for level, found in by_level.items()
        }
        rows.append(row)
    return pd.DataFrame(rows)


def _apart(values: np.ndarray) -> bool:
    return statistics.mean_over_levels([values]).excludes_zero


def arms(outcome: Outcome, keys: Sequence[Key]) -> pd.DataFrame:
    """The primary metric in the mean over the levels: a row per method, a column per profile."""
    metric, seen = catalogue.metric(outcome.study.primary), insight.by_arm(outcome.study, keys)
    rows = []
    for method in dict.fromkeys(method for _, method in keys):
        row = {"method": method} | insight.column(seen, *(key for key in keys if key[1] == method))
        for profile in dict.fromkeys(profile for profile, _ in keys):
            there = (profile, method) in keys and outcome.complete((profile, method))
            row[profile] = metric.interval(outcome.mean((profile, method), metric.column)) if there else ""
        rows.append(row)
    return pd.DataFrame(rows)


def curve(outcome: Outcome, keys: Sequence[Key], reference: str) -> pd.DataFrame:
    """Solve rates by delay and execute horizon, a row per profile: all methods, their gain over one, published ones."""
    study, metric, rows = outcome.study, catalogue.PRIMARY, []
    published = {method: study.published[method] for _, method in keys if method in study.published}
    configs = {one.key: one.config for one in study.arms}
    for profile in dict.fromkeys(profile for profile, _ in keys):
        there = [method for p, method in keys if p == profile and outcome.complete((p, method))]
        asked = [configs[key] for key in keys if key[0] == profile]
        delays = {c.delay_profile.fixed_delay or 0 if c.delay_profile.mode == "fixed" else profile for c in asked}
        horizons = {c.execution.execute_horizon for c in asked}
        row: dict[str, object] = {"d": _joined(delays), "s": _joined(horizons)}
        row |= {method: metric.interval(outcome.mean((profile, method), metric.column)) for method in there}
        for method in there:
            if method != reference and reference in there:
                gain = outcome.difference(Comparison((profile, method), (profile, reference)), metric.column)
                row[f"{method} - {reference}"] = metric.interval(gain.interval, signed=True)
        for method, rates in published.items():
            row[f"published {method}"] = metric.show(rates[profile]) if profile in rates else "n/a"
        rows.append(row)
    order = dict.fromkeys(name for row in rows for name in row)
    table = pd.DataFrame(rows, columns=sorted(order, key=lambda name: (name.startswith("published"), " - " in name)))
    return table.fillna("n/a")


def _joined(values: Collection[object]) -> object:
    """The one value, or all of them as text."""
    return next(iter(values)) if len(values) == 1 else ", ".join(sorted(map(str, values)))


def seed_summary(outcome: Outcome, keys: Sequence[Key]) -> pd.DataFrame:
    """One row per level and arm: `<metric>`, its `_std` over seeds, `_low` and `_high` of the 95 % interval.

    Metrics of queries and ticks are means over seeds and have no interval.
    """
    cell_columns = [one.column for one in catalogue.METRICS.values() if one.per in (catalogue.QUERY, catalogue.TICK)]
    rows = []
    for level in outcome.levels:
        where = {"level": level} if len(outcome.levels) > 1 else {}
        for profile, method in keys:
            cells = outcome.cells.get((level, profile, method))
            if cells:
                found = statistics.summarise_group(cells, OUTCOMES, cell_columns)
                rows.append({**where, "profile": profile, "method": method, **found})
    return pd.DataFrame(rows)


def seeds(summary: pd.DataFrame, columns: Sequence[str] = OUTCOMES) -> pd.DataFrame:
    """The episode metrics of `seed_summary` for reading: mean ± std over seeds [95 % interval]."""

    def text(row: dict, metric: Metric) -> str:
        value, std, low, high = (row.get(metric.column + end, np.nan) for end in ("", "_std", "_low", "_high"))
        return metric.spread(Interval(value, low, high), std)

    return _reading(summary, columns, text)


def _reading(summary: pd.DataFrame, columns: Sequence[str], text: Callable[[dict, Metric], str]) -> pd.DataFrame:
    shown = [catalogue.metric(column) for column in columns if column in summary.columns]
    named = [name for name in ("level", "profile", "method") if name in summary.columns]
    return pd.DataFrame(
        {name: row[name] for name in named} | {metric.heading: text(row, metric) for metric in shown}
        for row in summary.to_dict("records")
    )


def costs(outcome: Outcome, keys: Sequence[Key], columns: Sequence[str] = COSTS) -> pd.DataFrame:
    """What the arms cost and what else they change: means over levels and seeds."""
    there, seen = [key for key in keys if outcome.complete(key)], insight.by_arm(outcome.study, keys)
    results = {key: outcome.group(key) for key in there}
    shown = [column for column in columns if any(column in cell.result for key in there for cell in results[key])]
    return pd.DataFrame(
        _named(key, keys)
        | insight.column(seen, key)
        | {catalogue.metric(c).heading: catalogue.metric(c).show(outcome.cell_mean(key, c)) for c in shown}
        for key in there
    )


def outcomes(outcome: Outcome, keys: Sequence[Key], columns: Sequence[str] = ()) -> pd.DataFrame:
    """Per arm: what it is, solve rate in the mean and on every level, and the means of further metrics."""
    about, rows = outcome.study.about, []
    described = all(about.get(method) for _, method in keys)
    for key in keys:
        if not outcome.complete(key):
            continue
        row = _named(key, keys) | ({"what": about.get(key[1], "")} if described else {})
        row["solved (%)"] = catalogue.rate(outcome.mean(key, catalogue.PRIMARY.column))
        row |= {level: catalogue.rate(outcome.rate(level, key)) for level in outcome.levels}
        for metric in map(catalogue.metric, columns):
            row[metric.heading] = metric.interval(outcome.mean(key, metric.column))
        rows.append(row)
    return pd.DataFrame(rows)


def levels(outcome: Outcome, keys: Sequence[Key]) -> pd.DataFrame:
    """The primary metric of all arms on every level, without intervals."""
    metric = catalogue.metric(outcome.study.primary)

    def mean(level: str, key: Key) -> str:
        there = (level, *key) in outcome.cells
        return metric.show(outcome.episodes(level, key, metric.column).mean() if there else np.nan)

    return pd.DataFrame(_named(key, keys) | {level: mean(level, key) for level in outcome.levels} for key in keys)


def level_rates(outcome: Outcome, keys: Sequence[Key]) -> pd.DataFrame:
    """Solve rates with their intervals: a row per level, a column per profile of these keys, which share a method."""

    def rate(level: str, key: Key) -> str:
        return catalogue.rate(outcome.rate(level, key)) if (level, *key) in outcome.cells else "n/a"

    return pd.DataFrame({"level": level} | {key[0]: rate(level, key) for key in keys} for level in outcome.levels)


def passes(outcome: Outcome, keys: Sequence[Key]) -> pd.DataFrame:
    """Passes of the main model per query: their mean and the share of every number, averaged over the levels."""
    results = {key: [cell.result for cell in outcome.group(key)] for key in keys if outcome.complete(key)}
    columns = {name for found in results.values() for one in found for name in one if name.startswith("passes_")}
    counts = sorted(int(name.removeprefix("passes_")) for name in columns)
    rows = []
    for key, found in results.items():
        shares = {count: np.nan_to_num([one.get(f"passes_{count}", 0.0) for one in found]).mean() for count in counts}
        if any(shares.values()):
            row = _named(key, keys) | {"mean": tables.number(np.mean([one["mean_flow_steps"] for one in found]), 2)}
            rows.append(row | {f"{count} (%)": f"{100 * x:.1f}" if x else "" for count, x in shares.items()})
    return pd.DataFrame(rows)


def _named(key: Key, keys: Sequence[Key]) -> dict[str, str]:
    """The columns that name an arm: without the profile where all have the same."""
    profile, method = key
    return ({"profile": profile} if len({p for p, _ in keys}) > 1 else {}) | {"method": method}


def unfit_levels(study: Study, outcome: Outcome) -> list[str]:
    """Levels that no arm without delay solves; empty where the study has no such arm."""
    keys = [one.key for one in study.arms if one.config.delay_profile == DelayProfileConfig()]

    def best(level: str) -> float:
        return max((outcome.rate(level, key).high for key in keys if (level, *key) in outcome.cells), default=1.0)

    return [level for level in outcome.levels if best(level) < verdicts.MIN_BASELINE_SOLVED]
