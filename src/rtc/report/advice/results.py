"""The ranking, and what the tail costs, as tables."""

import pandas as pd

from rtc import methods
from rtc.report import catalogue, insight
from rtc.report.advice.facts import Advice, deadline, estimator, points, usual
from rtc.report.advice.words import ESTIMATOR_TEXTS
from rtc.report.page import Section
from rtc.study import ranking
from rtc.study.advice import CONSTANT, DEADLINE, HALVED, LOG, UNPLANNED
from rtc.study.statistics import SOLVED

STEM = "advice"
MOST_ROWS = 24


def table(advice: Advice) -> pd.DataFrame:
    """All arms that were run under the log, with tail control or without, from best to worst."""
    best, rows = advice.ranked[0], []
    halved = [one.key for one in advice.outcome.arms() if one.profile == HALVED and ranking.eligible(one)]
    every = [*advice.ranked, *(ranking.rank(advice.outcome, halved) if halved else [])]
    for one in sorted(every, key=lambda one: -one.solved.value):
        ideal = one.arm.profile == HALVED
        behind = advice.difference(one.key, best.key)
        rows.append(
            {
                "method": one.arm.config.method,
                "query every (ticks)": advice.every(one.arm),
                "plans for": "" if one.arm.config.method in UNPLANNED else estimator(one.arm),
                "tail control": {HALVED: "p99 halved", DEADLINE: f"deadline {deadline(advice):.0f} ms"}.get(
                    one.arm.profile, "none"
                ),
                "solved (%)": catalogue.rate(one.solved),
                "against the best (pp)": "the best" if one.key == best.key else points(behind),
                "tied": "(not a setting)" if ideal else "yes" if one.tied else "",
                "no action (%)": catalogue.metric("starved_fraction").show(
                    advice.outcome.cell_mean(one.key, "starved_fraction")
                ),
                "queries/s": f"{advice.queries(one.key):.1f}",
                "evaluations/tick": f"{advice.evaluations(one):.2f}",
                "needs": insight.of(methods.make(one.arm.config.method)),
            }
        )
    return pd.DataFrame(rows)


def ranks(advice: Advice) -> Section:
    """The table and what its columns mean."""
    whole = table(advice)
    shown = whole.head(MOST_ROWS)
    more = f" The {len(whole) - len(shown)} rows below are in `{STEM}.csv`." if len(whole) > len(shown) else ""
    text = (
        "Solve rates are means over the levels, with 95 % intervals; differences are paired by episode. **Tied**: the "
        "interval of the difference from the best holds 0; of those the cheapest is recommended. `q80`: the method "
        f"plans for {ESTIMATOR_TEXTS['q80']}; `max10`: {ESTIMATOR_TEXTS['max10']}. `p99 halved`: no delay is longer "
        "than half of your p99: a target for whoever speeds up inference, no setting. `no action`: share of ticks for "
        "which no chunk had an action left, so that the last one was repeated. `evaluations/tick`: passes through the "
        "network per control tick of yours, with 5 denoising steps per query. `needs`: what a method has that plain "
        f"execution has not.{more}"
    )
    return Section("Ranking", [shown, text], ["ranking"])


def tail_costs(advice: Advice) -> Section:
    """Every method's best horizon: under the log, the constant median, the halved p99."""
    rows = []
    for one in ranking.best_of_each_method([row for row in advice.ranked if row.arm.profile == LOG]):
        log = usual(one.arm, LOG)
        row = {"method": one.arm.config.method, "query every (ticks)": advice.every(one.arm)}
        row["your delays (%)"] = catalogue.rate(advice.outcome.mean(log, SOLVED))
        for profile, heading in (
            (CONSTANT, "always the median (pp)"),
            (HALVED, "p99 halved (pp)"),
            (DEADLINE, "deadline (pp)"),
        ):
            difference = advice.difference(usual(one.arm, profile), log)
            if difference is not None:
                row[heading] = points(difference)
        rows.append(row)
    found, scale, tail = advice.found, advice.scale, advice.tail
    said = []
    if tail.constant is None:
        said.append("All delays take the same number of ticks here: there is no tail to compare with.")
    else:
        said.append(f"*Always the median*: every query takes {_ms(advice, tail.constant)}, the median as replayed.")
    if tail.cap is None:
        said.append("Half of the p99 is no shorter than the longest delay at this resolution: nothing to halve.")
    else:
        said.append(
            f"*p99 halved*: your delays, none longer than {_ms(advice, tail.cap)}; the p99 was replayed as "
            f"{_ms(advice, scale.delay(found.percentile(99)))}."
        )
    return Section("What the tail costs", [pd.DataFrame(rows), " ".join(said) + " Differences from your delays."])


def _ms(advice: Advice, ticks: int) -> str:
    robot = ticks * advice.scale.tick
    return f"{robot:.3g} ticks ({1000 * robot / advice.scale.hz:.0f} ms)"
