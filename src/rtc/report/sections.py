"""The sections that a study can choose for its report, by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from rtc.report import answers, catalogue, insight, losses, modes, over_seeds, regret, settings, study_tables, words
from rtc.shared import provenance
from rtc.shared.validation import require_choice
from rtc.study import verdicts
from rtc.study.layout import VERDICT, Section, drawings
from rtc.study.outcome import Outcome
from rtc.study.questions import Comparison
from rtc.study.study import Study
from rtc.study.verdicts import Check, Verdict

Key = tuple[str, str]
Parts = Sequence[str | pd.DataFrame]


@dataclass(frozen=True)
class Context:
    """What a section is written from.

    Attributes:
        root: folder of the report; a discussion may lie there.
        section: which arms, metrics and texts it has.
        chinese: whether the page is the Chinese one.
        figures: names of the figures that were drawn.
    """

    outcome: Outcome
    root: Path
    section: Section
    chinese: bool
    figures: Sequence[str]

    @property
    def study(self) -> Study:
        return self.outcome.study

    @property
    def keys(self) -> list[Key]:
        """The arms that the section covers, by profile; the baseline comes last."""
        profiles, methods = self.section.profiles or self.study.profiles, self.section.methods
        keys = [
            one.key for one in self.study.arms if one.profile in profiles and (not methods or one.method in methods)
        ]
        return sorted(keys, key=lambda key: (key == self.study.baseline, profiles.index(key[0])))

    @property
    def comparisons(self) -> list[Comparison]:
        """The comparisons that it covers: all of their arms are its own."""
        keys = set(self.keys)
        return [comparison for comparison in self.study.comparisons if keys.issuperset(comparison.arms)]

    def say(self, name: str, **values: object) -> str:
        return words.text(name, self.chinese, **values)


def check(study: Study) -> None:
    """Checks what a study asks of its report, before any work.

    Raises:
        ValueError: a section names a metric that no table has.
    """
    for section in study.sections:
        for metric in section.metrics:
            require_choice(f"{study.name}: section {section.kind}: metrics entry", metric, catalogue.METRICS)


def lead(context: Context) -> Parts:
    """What a report begins with: the question, its answer, and what limits every finding."""
    study = context.study
    question = study.question_zh if context.chinese and study.question_zh else study.question
    found = answers.answer(context.root, context.chinese)
    answered = context.say("unanswered") if found is None else f"{answers.MARK[context.chinese]} {found}"
    return [part for part in (question, answered, *_warnings(context)) if part]


def _question(context: Context) -> Parts:
    """How the question was asked: metric, comparisons, levels, episodes."""
    study, outcome = context.study, context.outcome
    fixed = context.say("fixed") if study.preregistered else ""
    primary = context.say("primary", metric=study.primary, fixed=fixed)
    families = {comparison.family for comparison in study.comparisons}
    if study.comparisons:
        name = "count" if len(families) == 1 else "families"
        primary += context.say(name, count=len(study.comparisons), families=len(families))
    cells = next(iter(outcome.cells.values()))
    values = {"levels": len(outcome.levels), "names": ", ".join(outcome.levels)}
    episodes = sum(len(cell.episodes) for cell in cells)
    return [primary, context.say("cells", **values, episodes=episodes, least=study_tables.LEAST_EXTRA)]


def _warnings(context: Context) -> list[str]:
    """What limits every finding: levels that nothing solves, and arms that are not there."""
    parts, missing = [], context.outcome.missing
    unfit = study_tables.unfit_levels(context.study, context.outcome)
    if unfit:
        parts.append(context.say("unfit", levels=", ".join(unfit)))
    if missing:
        (where, why), *_ = missing.items()
        total = len(missing) + len(context.outcome.cells)
        parts.append(context.say("missing", missing=len(missing), total=total, first="/".join(where), why=why))
    return parts


def _verdict(context: Context) -> Parts:
    seeds = len(next(iter(context.outcome.cells.values())))
    (controlled, method), (long_tail, _) = VERDICT
    return [
        f"Method `{method}`, `{controlled}` against `{long_tail}`, means over {seeds} seeds:",
        verdict(context.outcome),
    ]


def verdict(outcome: Outcome) -> str:
    """The verdict on tail control as Markdown: three checks, and the conclusion that they allow."""
    return "\n".join(_verdict_lines(verdicts.judge(outcome, *VERDICT)))


def _verdict_lines(judged: Verdict) -> list[str]:
    """The checks and the conclusion; without a conclusion the solve rate is not judged."""
    d_p99, p_violate, solved = judged.checks
    mark = [_mark(check) for check in judged.checks]
    if not judged.conclusive:
        mark[2] = "NOT JUDGED"
    limit = f"{solved.limit:.1%}" if np.isfinite(solved.limit) else "n/a"
    lines = [
        f"- **{mark[0]}**: {d_p99.name}: {d_p99.reference:.1f} → {d_p99.candidate:.1f} ticks",
        f"- **{mark[1]}**: {p_violate.name}: {p_violate.reference:.1%} → {p_violate.candidate:.1%}",
        f"- **{mark[2]}**: {solved.name}: {solved.reference:.1%} → {solved.candidate:.1%} (limit {limit})",
    ]
    if not judged.conclusive:
        return [*lines, "", f"**No conclusion** about the policy can be drawn: {judged.reason}."]
    return [*lines, "", f"Conclusion: **{'PASS' if judged.passed else 'FAIL'}**. {_WEAK_RULE}"]


_WEAK_RULE = (
    "One standard deviation over seeds is a weak bound: a fall of that size can be real. The paired differences are "
    "the better test."
)


def _mark(check: Check) -> str:
    """What a check came to."""
    if check.by_construction:
        return "BY CONSTRUCTION"
    return "PASS" if check.passed else "FAIL"


def _seeds(context: Context) -> Parts:
    levels, baseline = ", ".join(context.outcome.levels), context.study.baseline
    text = context.say("seeds", levels=levels)
    if baseline is not None:
        missing = {key[1:]: why for key, why in context.outcome.missing.items()}
        if baseline in missing:
            text += context.say("no_baseline", why=missing[baseline])
        else:
            text += context.say("baseline", profile=baseline[0])
    summary = study_tables.seed_summary(context.outcome, context.keys)
    return [text, study_tables.seeds(summary, context.section.metrics or study_tables.OUTCOMES)]


def _comparisons(context: Context) -> Parts:
    table = study_tables.comparisons(context.outcome, context.comparisons)
    return [] if table.empty else [table]


def _margins(context: Context) -> Parts:
    least = study_tables.LEAST_JUDGED
    if context.outcome.total_episodes < least:
        return [context.say("unjudged", episodes=context.outcome.total_episodes, least=least)]
    table = study_tables.margins(context.outcome, context.comparisons)
    return [] if table.empty else [context.say("margins", margin=100 * verdicts.MARGIN), table]


def _differences(context: Context) -> Parts:
    columns = context.section.metrics or study_tables.DIFFERENCES
    table = study_tables.differences(context.outcome, context.comparisons, columns)
    return [] if table.empty else [context.say("differences"), table]


def _effects(context: Context) -> Parts:
    """A table per difference and profile whose arms are complete."""
    keys = set(context.keys)
    there = [one for one in context.study.effects if keys.issuperset(one.arms) and context.outcome.complete(*one.arms)]
    parts: list[str | pd.DataFrame] = []
    for one in there:
        parts += [f"**{one.name}**, {one.profile}:", study_tables.effects(context.outcome, one)]
    pairs = dict.fromkeys(f"{asked} = {other}" for one in there for asked, other in one.aliases())
    aliases = context.say("aliases", pairs="; ".join(pairs)) if pairs else ""
    return [context.say("effects", aliases=aliases), *parts] if parts else []


def _aggregates(context: Context) -> Parts:
    keys = set(context.keys)
    table = over_seeds.table(context.outcome, [one for one in context.study.aggregates if keys.issuperset(one.arms)])
    return [] if table.empty else [context.say("aggregates"), table]


def _curve(context: Context) -> Parts:
    table = study_tables.curve(context.outcome, context.keys, context.study.methods[0])
    seen = {method: what for (_, method), what in insight.by_arm(context.study, context.keys).items() if what}
    parts = [f"`{method}`: {what}" for method, what in seen.items()]
    return [table, context.say("sees", methods="; ".join(parts))] if seen else [table]


def _arms(context: Context) -> Parts:
    return [study_tables.arms(context.outcome, context.keys)]


def _costs(context: Context) -> Parts:
    return [study_tables.costs(context.outcome, context.keys, context.section.metrics or study_tables.COSTS)]


def _outcomes(context: Context) -> Parts:
    return [study_tables.outcomes(context.outcome, context.keys, context.section.metrics)]


def _levels(context: Context) -> Parts:
    return [study_tables.levels(context.outcome, context.keys)]


def _losses(context: Context) -> Parts:
    table = losses.table(context.outcome, context.keys)
    return [] if table.empty else [context.say("losses"), table]


def _regret(context: Context) -> Parts:
    """A table per method."""
    parts: list[str | pd.DataFrame] = []
    for method, table in regret.tables(context.outcome, context.keys).items():
        parts += [f"**{method}**:", table]
    return [context.say("regret"), *parts] if parts else []


def _level_rates(context: Context) -> Parts:
    parts: list[str | pd.DataFrame] = []
    for method in dict.fromkeys(method for _, method in context.keys):
        keys = [key for key in context.keys if key[1] == method]
        parts += [f"`{method}`:", study_tables.level_rates(context.outcome, keys)]
    return parts


def _passes(context: Context) -> Parts:
    return [study_tables.passes(context.outcome, context.keys)]


def _discussion(context: Context) -> Parts:
    text = answers.discussion(context.root, context.chinese)
    return [text] if text else []


def _figures(context: Context) -> Parts:
    """What is to be said beside the figures themselves, which the report adds."""
    wanted = {one.stem for one in drawings(context.study.figures)}
    if "timeline" in wanted and "timeline" not in context.figures:
        return [context.say("no_timeline")]
    return []


def _protocol(context: Context) -> Parts:
    """All settings of the cells: the common ones, then those that the profile, method or seed decides."""
    flat = settings.of_cells(context.study, context.outcome, context.section.profiles)
    if not flat:
        return []
    varying = settings.varying(flat)
    common = next(iter(flat.values()))
    lines = [f"- {name}: {value}" for name, value in common.items() if name not in varying]
    for name, factor in varying.items():
        values = {settings.label(key, factor): found.get(name) for key, found in flat.items()}
        lines.append(f"- {name}, by {factor}: " + "; ".join(f"{key} = {value}" for key, value in values.items()))
    return ["\n".join(lines)]


def _provenance(context: Context) -> Parts:
    return ["\n".join([*settings.provenance_lines(context.outcome), f"- this report: `{provenance.command_line()}`"])]


def _metrics(context: Context) -> Parts:
    columns = context.section.metrics or (*study_tables.OUTCOMES, *study_tables.COSTS)
    metrics = map(catalogue.metric, dict.fromkeys(columns))
    return ["\n".join(f"- `{metric.column}`: {metric.definition}." for metric in metrics)]


def _modes(context: Context) -> Parts:
    table = modes.table(context.outcome, context.keys)
    return [] if table.empty else [context.say("modes"), table]


def _cautions(context: Context) -> Parts:
    return [words.CAUTIONS]


def _text(context: Context) -> Parts:
    return []


WRITERS: Mapping[str, Callable[[Context], Parts]] = MappingProxyType(
    {
        "aggregates": _aggregates,
        "arms": _arms,
        "cautions": _cautions,
        "comparisons": _comparisons,
        "costs": _costs,
        "curve": _curve,
        "differences": _differences,
        "discussion": _discussion,
        "effects": _effects,
        "figures": _figures,
        "level_rates": _level_rates,
        "levels": _levels,
        "losses": _losses,
        "margins": _margins,
        "metrics": _metrics,
        "modes": _modes,
        "outcomes": _outcomes,
        "passes": _passes,
        "protocol": _protocol,
        "provenance": _provenance,
        "question": _question,
        "regret": _regret,
        "seeds": _seeds,
        "text": _text,
        "verdict": _verdict,
    }
)
