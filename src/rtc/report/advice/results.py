"""The ranking, and what the tail costs, as tables."""

import pandas as pd

from rtc import methods
from rtc.report import catalogue, insight
from rtc.report.advice.facts import Advice, deadline, planned, points, ticks
from rtc.report.advice.words import ESTIMATOR_TEXTS
from rtc.report.page import Section
from rtc.study import ranking
from rtc.study.advice import CONSTANT, DEADLINE, HALVED, LOG, counterpart
from rtc.study.ranking import Ranked

STEM = "advice"
# Rows of the ranking on the page, besides the best of each method and the recommended one.
MOST_ROWS = 12
HALVED_TEXT, NO_CONTROL = "p99 halved", "none"

FIGURE = (
    "Solve rates under your delays: a method's best setting, or the recommended one (bold). Coloured: mean over the "
    "levels and its 95 % interval; grey, below: single levels, stacked where they are solved alike."
)


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
                "query every (ticks)": ticks(advice.every(one.arm)),
                "plans for": planned(one.arm),
                "tail control": {HALVED: HALVED_TEXT, DEADLINE: f"deadline {deadline(advice):.0f} ms"}.get(
                    one.arm.profile, NO_CONTROL
                ),
                "solved (%)": catalogue.rate(one.solved),
                "against the best (pp)": "the best" if one.key == best.key else points(behind),
                "tied": "(not a setting)" if ideal else "yes" if one.tied else "",
                "advice": ", ".join(advised(advice, one)),
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
    shown = _shown(whole)
    more = f" Of {len(whole)} rows {len(shown)} are shown; all are in `{STEM}.csv`." if len(whole) > len(shown) else ""
    text = (
        "Solve rates are means over the levels, with 95 % intervals; differences are paired by episode. **Tied**: the "
        "interval of the difference from the best holds 0; of those the cheapest is recommended. `q80`: the method "
        f"plans for {ESTIMATOR_TEXTS['q80']}; `max10`: {ESTIMATOR_TEXTS['max10']}. `p99 halved`: no delay is longer "
        "than half of your p99, as rounded in the table below: a target for whoever speeds up inference, no setting. "
        "`no action`: share of ticks for which no chunk had an action left, so that the last one was repeated. "
        "`evaluations/tick`: passes through the network per control tick of yours, with 5 denoising steps per query; a "
        "correction counts as one, once per tick of the benchmark. `needs`: what a method has that plain "
        f"execution has not.{more}"
    )
    return Section("Ranking", [shown, text], {"ranking": FIGURE})


def _shown(whole: pd.DataFrame) -> pd.DataFrame:
    """The rows of the page: the first ones, the best setting of every method, and the recommended ones."""
    best = whole[whole["tail control"] != HALVED_TEXT].drop_duplicates("method").index
    # Those that `tail_costs` begins with.
    plain = whole[whole["tail control"] == NO_CONTROL].drop_duplicates("method").index
    kept = {*whole.index[:MOST_ROWS], *best, *plain, *whole.index[whole["advice"] != ""]}
    return whole.loc[sorted(kept)]


def tail_costs(advice: Advice) -> Section:
    """Every method's best setting, and what is recommended: under the log, the constant median, the halved p99."""
    rows = []
    for one, what in _settings(advice):
        row = {
            "method": one.arm.config.method,
            "query every (ticks)": ticks(advice.every(one.arm)),
            "plans for": planned(one.arm),
            "setting": what,
            "your delays (%)": catalogue.rate(one.solved),
        }
        for profile, heading in (
            (CONSTANT, "always the median (pp)"),
            (HALVED, "p99 halved (pp)"),
            (DEADLINE, "deadline (pp)"),
        ):
            difference = advice.difference(counterpart(one.arm, profile), one.key)
            if difference is not None and profile != one.arm.profile:
                row[heading] = points(difference)
        rows.append(row)
    found, scale, tail = advice.found, advice.scale, advice.tail
    said = []
    if tail.constant is None:
        said.append("All delays take the same number of ticks here: there is no tail to compare with.")
    else:
        said.append(f"*Always the median*: every query takes {_ms(advice, tail.constant)}, the median as replayed.")
    if tail.cap is None:
        said.append(
            "*p99 halved*: left out, as half of your p99 is no shorter than your p99 in ticks of the benchmark."
        )
    else:
        said.append(
            f"*p99 halved*: your delays, none longer than {_ms(advice, tail.cap)}; the p99 was replayed as "
            f"{_ms(advice, scale.delay(found.percentile(99)))}."
        )
    table = pd.DataFrame(rows).fillna("")
    text = (
        "A method's first row is its best setting; what is recommended has a row of its own where it is another "
        "setting. Rates are those of *Ranking*; differences are from them, paired by episode."
    )
    return Section("What the tail costs", [table, f"{text} {' '.join(said)}"])


def advised(advice: Advice, one: Ranked) -> list[str]:
    """What the page recommends the setting for."""
    found = ["recommended"] if one.key == advice.recommended.key else []
    if advice.untrained is not None and one.key == advice.untrained.key:
        found.append("recommended without training")
    return found


def _settings(advice: Advice) -> list[tuple[Ranked, str]]:
    """Every method's best setting under the log, and what is recommended, from best to worst, with what they are."""
    best = {one.key for one in ranking.best_of_each_method([one for one in advice.ranked if one.arm.profile == LOG])}
    said = [(one, ["the method's best"] * (one.key in best) + advised(advice, one)) for one in advice.ranked]
    return [(one, ", ".join(texts)) for one, texts in said if texts]


def _ms(advice: Advice, ticks: int) -> str:
    robot = ticks * advice.scale.tick
    return f"{robot:.3g} ticks ({1000 * robot / advice.scale.hz:.0f} ms)"
