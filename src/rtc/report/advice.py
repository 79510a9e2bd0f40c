"""The page that answers a latency log: what to use, what the tail costs, settings to copy, how far to trust it."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rtc import methods
from rtc.delay.logs import DelayLog, Description
from rtc.report import advice_settings, catalogue, insight, page
from rtc.report.advice_words import ESTIMATOR_TEXTS, METHOD_TEXTS
from rtc.report.figures import advice as figure
from rtc.report.figures import latency_log
from rtc.report.page import Page, Section
from rtc.shared import files, provenance, tables
from rtc.study import agreement, identity, ranking
from rtc.study.advice import CONSTANT, DEADLINE, HALVED, LOG, PLAIN, UNPLANNED, Policies, Scale, Tails
from rtc.study.outcome import Outcome
from rtc.study.ranking import Ranked
from rtc.study.statistics import SOLVED, Interval
from rtc.study.study import Arm, ArmKey, Comparison

STEM = "advice"
MOST_ROWS = 24
# Fewer delays say little of a p99.
FEW_QUERIES = 300


@dataclass(frozen=True)
class Advice:
    """All that the page is written from.

    Attributes:
        log, found: the log and its description.
        scale: how ticks of the robot became ticks of the benchmark.
        chosen: the policies that were asked.
        tail: what was compared with the log's delays.
        outcome: the finished cells.
        left_out: methods whose policies or networks are not there, and why.
        unfinished: methods for which there was no time.
    """

    log: DelayLog
    found: Description
    scale: Scale
    chosen: Policies
    tail: Tails
    outcome: Outcome
    left_out: Mapping[str, str]
    unfinished: Sequence[str] = ()

    @functools.cached_property
    def ranked(self) -> list[Ranked]:
        """What a robot could run under this log, from best to worst."""
        return ranking.rank(self.outcome, candidates(self.outcome))

    @property
    def recommended(self) -> Ranked:
        return ranking.cheapest_of_tied(self.ranked)

    @property
    def untrained(self) -> Ranked | None:
        """What is recommended of the methods that need no training of their own; None where that is all the same."""
        if not self.needs_training(self.recommended.arm):
            return None
        plain = [one.key for one in self.ranked if not self.needs_training(one.arm)]
        return ranking.cheapest_of_tied(ranking.rank(self.outcome, plain)) if plain else None

    @staticmethod
    def needs_training(one: Arm) -> bool:
        return insight.OWN in insight.of(methods.make(one.config.method))

    def every(self, one: Arm) -> int:
        """Control ticks of the robot between two queries."""
        return self.scale.robot(one.config.execution.execute_horizon)

    def evaluations(self, one: Ranked) -> float:
        """Network evaluations per control tick of the robot."""
        return one.cost / self.scale.tick

    def queries(self, key: ArmKey) -> float:
        """Queries per second."""
        return self.scale.hz / (self.outcome.cell_mean(key, "mean_execute_horizon") * self.scale.tick)

    def difference(self, candidate: ArmKey, reference: ArmKey) -> Interval | None:
        """Of the solve rates, paired; None where an arm is not there."""
        if not self.outcome.complete(candidate, reference):
            return None
        return self.outcome.difference(Comparison(candidate, reference), SOLVED).interval


def candidates(outcome: Outcome) -> list[ArmKey]:
    """Arms that could be recommended: complete, possible on a robot, under the log as it is or with a deadline."""
    return [one.key for one in outcome.arms() if one.profile in (LOG, DEADLINE) and ranking.eligible(one)]


def _points(interval: Interval) -> str:
    return catalogue.rate(interval, signed=True)


def _named(advice: Advice, one: Arm) -> str:
    """An arm in words: method, horizon, what it plans for, deadline."""
    every = advice.every(one)
    words = f"`{one.config.method}`, a new query every {every} ticks ({1000 * every / advice.scale.hz:.0f} ms)"
    if one.config.method not in UNPLANNED:
        words += f", planning for {ESTIMATOR_TEXTS[_estimator(one)]}"
    if one.profile == DEADLINE:
        words += f", giving up on an answer after {_deadline(advice):.0f} ms"
    return words


def _estimator(one: Arm) -> str:
    return one.method.rpartition("+")[2]


def _deadline(advice: Advice) -> float:
    return (advice.tail.deadline or 0) * advice.scale.tick * 1000 / advice.scale.hz


def headline(advice: Advice) -> Section:
    """What to use, in three sentences; and without training."""
    best, name = advice.recommended, advice.recommended.arm.config.method
    parts = [f"**Use {_named(advice, best.arm)}**: {METHOD_TEXTS[name]}. {_how_good(advice)} {_tail_sentence(advice)}"]
    parts.append(
        f"(A tick is one control period, {1000 / advice.scale.hz:.3g} ms. A query sends an observation and asks for "
        "the next chunk; where its answer takes longer than the interval, the next query waits for it.)"
    )
    plain = advice.untrained
    if plain is not None:
        parts.append(
            f"`{name}` needs training of its own. Without any: {_named(advice, plain.arm)} "
            f"({METHOD_TEXTS[plain.arm.config.method]}), {catalogue.rate(plain.solved)} % solved."
        )
    if advice.unfinished:
        parts.append(
            f"**Not compared for lack of time:** {', '.join(advice.unfinished)}. Run the same command again to add "
            "them: what is computed is kept."
        )
    return Section("What to use", parts)


def _how_good(advice: Advice) -> str:
    best = advice.recommended
    others = sum(one.tied for one in advice.ranked) - 1
    text = (
        f"Under your delays it solves {catalogue.rate(best.solved)} % of the episodes on "
        f"{len(advice.outcome.levels)} simulated levels"
    )
    rival = _rival(advice)
    if rival is not None:
        difference = advice.difference(best.key, rival.key)
        text += f" ({_points(difference)} points against {_named(advice, rival.arm)})"
    if others:
        plural = "s" if others > 1 else ""
        return (
            text + f"; {others} other setting{plural} cannot be told apart from the best one, and it is the cheapest."
        )
    return text + ", and all other settings that were tried solve fewer."


def _rival(advice: Advice) -> Ranked | None:
    """What it is measured against: naive execution at its best, or waiting where naive is recommended."""
    first = {one.arm.config.method: one for one in reversed(advice.ranked) if one.arm.profile == LOG}
    name = "synchronous" if advice.recommended.arm.config.method == "naive" else "naive"
    return first.get(name)


def _plain(one: Arm, profile: str) -> ArmKey:
    """The same method and horizon with the usual estimator under another condition."""
    label = one.method if one.config.method in UNPLANNED else f"{one.method.rpartition('+')[0]}+{PLAIN}"
    return profile, label


def _tail_sentence(advice: Advice) -> str:
    one, said = advice.recommended.arm, []
    lost = advice.difference(_plain(one, CONSTANT), _plain(one, LOG))
    if lost is not None:
        shown = f"{_points(lost)} points against a constant delay of the median"
        said.append(f"Your tail costs it {shown}" if lost.low > 0 else f"No cost of your tail can be shown ({shown})")
    gained = advice.difference(_plain(one, HALVED), _plain(one, LOG))
    if gained is not None:
        no_gain = "" if gained.low > 0 else ", so a gain cannot be shown"
        said.append(f"halving the p99 would bring {_points(gained)} points{no_gain}")
    return "; ".join(said) + "." if said else "At this resolution your delays have no tail."


def delays(advice: Advice) -> Section:
    """The log in a few numbers, how it was scaled, and what that distorts."""
    found, scale = advice.found, advice.scale
    rows = []
    for name, level in (("median", 50), ("p95", 95), ("p99", 99), ("longest", 100)):
        ticks = max(found.ticks) if level == 100 else found.percentile(level)
        asked = scale.delay(ticks)
        rows.append(
            {
                "": name,
                "delay (ms)": f"{getattr(found, name):.4g}",
                f"ticks at {scale.hz:g} Hz": ticks,
                "of a chunk (%)": f"{100 * ticks / scale.chunk:.0f}",
                "replayed as (ticks)": asked,
                f"of a chunk of {scale.horizon} (%)": f"{100 * asked / scale.horizon:.0f}",
            }
        )
    taken = f"`{advice.log.path}`: {found.count} delays, read as `{advice.log.format}`: {advice.log.measures}."
    left = ", ".join(f"{one.count} {one.reason}" for one in advice.log.left_out)
    taken += f" Left out: {left}." if left else ""
    parts = [taken + f" More about them: `{LOG}/latency.md`.", pd.DataFrame(rows), _scaling(advice)]
    return Section("Your delays", [*parts, *_doubts(advice)], ["delays"])


def _scaling(advice: Advice) -> str:
    scale, run = advice.scale, identity.shown(advice.chosen.run_path)
    mean = np.average(list(advice.found.ticks), weights=list(advice.found.ticks.values()))
    asked = np.average(scale.delays(list(advice.found.ticks)), weights=list(advice.found.ticks.values()))
    return (
        f"What matters is how much of a chunk a delay takes. The policies of `{run}` have chunks of "
        f"H = {scale.horizon}, yours of {scale.chunk}: one tick of theirs stands for {scale.tick:.3g} of yours, and a "
        f"delay of d of your ticks is replayed as d · {scale.horizon} / {scale.chunk}, rounded up. Rounding makes "
        f"delays longer: on average they take {100 * mean / scale.chunk:.1f} % of your chunk and "
        f"{100 * asked / scale.horizon:.1f} % of theirs. Their order is kept, so bursts stay bursts."
    )


def _doubts(advice: Advice) -> list[str]:
    """What in the log itself limits the advice."""
    found, scale, said = advice.found, advice.scale, []
    if found.percentile(50) < scale.tick:
        said.append(
            f"**Your median delay ({found.percentile(50)} ticks) is below one tick of the benchmark "
            f"({scale.tick:.3g} of yours)**, so the delays that were replayed are longer than yours: differences "
            "between methods are overstated."
        )
    if found.count < FEW_QUERIES:
        said.append(f"**{found.count} delays say little of a p99**: it is among the {1 + found.count // 100} longest.")
    if found.percentile(50) * 2 > scale.chunk:
        said.append(
            "**The median delay takes more than half of a chunk.** Such a robot runs out of actions whatever the "
            "method: the chunk that comes ends before the next one is there."
        )
    if found.drift is not None and found.drift.p < 0.01 and _changed(found):
        said.append(
            f"**The log drifts**: median {found.drift.first_ms:.4g} ms in its first third, "
            f"{found.drift.last_ms:.4g} ms in its last. The advice is for the mixture of both."
        )
    return said


def _changed(found: Description) -> bool:
    """Medians differ by more than a control tick."""
    return found.drift is not None and abs(found.drift.last_ms - found.drift.first_ms) > 1000 / found.hz


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
                "plans for": "" if one.arm.config.method in UNPLANNED else _estimator(one.arm),
                "tail control": {HALVED: "p99 halved", DEADLINE: f"deadline {_deadline(advice):.0f} ms"}.get(
                    one.arm.profile, "none"
                ),
                "solved (%)": catalogue.rate(one.solved),
                "against the best (pp)": "the best" if one.key == best.key else _points(behind),
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
        log = _plain(one.arm, LOG)
        row = {"method": one.arm.config.method, "query every (ticks)": advice.every(one.arm)}
        row["your delays (%)"] = catalogue.rate(advice.outcome.mean(log, SOLVED))
        for profile, heading in (
            (CONSTANT, "always the median (pp)"),
            (HALVED, "p99 halved (pp)"),
            (DEADLINE, "deadline (pp)"),
        ):
            difference = advice.difference(_plain(one.arm, profile), log)
            if difference is not None:
                row[heading] = _points(difference)
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


def trust(advice: Advice) -> Section:
    """Agreement between levels, stability of the recommendation, and what this is not."""
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
        "carries over is the order of methods, not the solve rates.",
        "- Other worlds: none was run. Try the first two or three tied settings on the robot.",
        f"- The best of {len(advice.ranked)} settings looks a little better than it is; intervals say how far more "
        f"episodes ({outcome.total_episodes} per level and setting here) could move a number, not other levels.",
        "- Delays are replayed whatever the method does. On a robot more queries per second may make each slower.",
    ]
    return Section("How far this can be trusted", ["\n".join(said)])


def _verdict(spearman: Interval) -> str:
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


def absent(advice: Advice) -> list[Section]:
    """Methods that were not run."""
    said = [f"- `{name}`: {why}" for name, why in advice.left_out.items()]
    said += [f"- `{name}`: no time was left; the same command adds it" for name in advice.unfinished]
    return [Section("What was not compared", ["\n".join(said)])] if said else []


def write(advice: Advice, root: Path, started: float) -> Path:
    """Writes advice.md, advice.html, advice.csv and figures/ below `root`; returns the file to open first."""
    files.atomic_write(root / f"{STEM}.csv", files.to_csv(table(advice)))
    drawn = {
        "ranking": figure.draw(advice.ranked, advice.outcome, advice.recommended),
        "delays": latency_log.draw(advice.log, advice.found),
    }
    sections = [
        headline(advice),
        delays(advice),
        ranks(advice),
        tail_costs(advice),
        advice_settings.section(advice.recommended.arm, advice.untrained and advice.untrained.arm, advice.scale),
        trust(advice),
        *absent(advice),
    ]
    cells = [cell for found in advice.outcome.cells.values() for cell in found]
    origin = provenance.cells_origin(cells) + provenance.footer(started)
    text = Page(f"Advice for {Path(advice.log.path).name}", sections, origin)
    return page.write(root, {"en": text}, drawn, name=STEM, site=STEM)
