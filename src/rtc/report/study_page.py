"""What a study found: tables with paired intervals and corrected p values, figures, and a page."""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rtc.delay.profiles import DelayProfileConfig
from rtc.report import figures, web
from rtc.shared import files, provenance, tables
from rtc.study import statistics
from rtc.study.study import Comparison, Outcome, Study

ALPHA = 0.05
PERCENT = (statistics.SOLVED,)
# Columns of the comparisons: cost of the candidate above that of the reference, and what it buys (from this cost on).
EXTRA, PER_EVALUATION = "extra evals/chunk", "gain per extra eval"
LEAST_EXTRA = 0.5
# Columns of results.csv in the table of costs and side effects, with their headings.
SIDE_EFFECTS = {
    "returned_episode_returns": "return",
    "rms_ddelta_action": "jerk (rms)",
    "mean_delay": "mean d",
    "d_p99": "d_p99",
    "p_late": "p_late",
    "starved_fraction": "starved",
    "mean_execute_horizon": "mean L",
    "mean_flow_steps": "flow steps",
    "flow_evals_per_tick": "evals/tick",
}
CELLS_NOTE = """\
Levels: {levels} ({names}), {episodes} episodes each. Values are means over the levels; brackets hold 95 % intervals.
All arms meet the same episodes, so differences are paired. Intervals say how far more episodes on these levels could
move a result, and nothing on other levels. "Better / worse levels" counts the levels on which the candidate is
better or worse in a sign test of its own (p < 0.05, not corrected for their number). "Extra evals/chunk" is what the
candidate passes more through the network than the reference for each chunk that arrives; where it is {least:g} or
more, the last column divides the difference by it.
"""

Figures = dict[str, Figure]


def write(study: Study, outcome: Outcome, root: Path, draw: Callable[[Study, Outcome], Figures] | None = None) -> None:
    """Writes results_all.csv, summary.md, summary.zh-CN.md, figures/ and index.html below `root`.

    Args:
        draw: figures of the study's own, by name; by default the primary metric of all arms.

    Raises:
        ValueError: there are no finished cells.
    """
    if not outcome.cells:
        raise ValueError(f"{root}/cells holds no finished cells of this study: run it without --report-only")
    files.atomic_write(root / "results_all.csv", files.to_csv(outcome.rows()))
    drawn = (draw or default_figures)(study, outcome)
    for name, figure in drawn.items():
        figures.save(figure, root / "figures" / name)
    for suffix, language in ((".md", "en"), (".zh-CN.md", "zh")):
        files.atomic_write(root / f"summary{suffix}", page(study, outcome, list(drawn), root, language))
    web.write(root, study.title)
    print(f"wrote {root / 'summary.md'} and {root / 'index.html'}")


HEADINGS = {
    "en": {
        "question": "Question",
        "primary": "Primary metric: {metric}, fixed before the study ran. Comparisons: {count}; p values are corrected "
        "for their number (Holm).",
        "unfit": "**No conclusion:** without delay nothing solves {levels}, so failures there say nothing about delay.",
        "comparisons": "Comparisons",
        "means": "All arms",
        "side": "Costs and side effects",
        "levels": "Level by level",
        "discussion": "Discussion",
    },
    "zh": {
        "question": "问题",
        "primary": "主要指标：{metric}，在研究运行之前确定。共 {count} 个比较；p 值按其数量校正（Holm）。",
        "unfit": "**不能下结论：** 无延迟时没有任何方法能解决 {levels}，因此那里的失败与延迟无关。",
        "comparisons": "比较",
        "means": "全部条件",
        "side": "代价与副作用",
        "levels": "逐关卡",
        "discussion": "讨论",
    },
}
CELLS_NOTE_ZH = """\
{levels} 个关卡（{names}）的平均值，每个关卡 {episodes} 个回合；方括号内为 95 % 区间。
所有条件面对同样的回合，因此差值是成对的。区间说明在这些关卡上增加回合会使结果移动多少，不涉及其他关卡。
“better / worse levels” 统计单独符号检验（p < 0.05，未按数量校正）判定候选更好或更差的关卡数。
“extra evals/chunk” 是候选比参照每个到达的块多用的网络前向次数；若不小于 {least:g}，最后一列为差值除以它。
"""


def page(study: Study, outcome: Outcome, drawn: Sequence[str], root: Path, language: str) -> str:
    """The summary in one language; the discussion is read from discussion.md (discussion.zh-CN.md)."""
    words = HEADINGS[language]
    note = CELLS_NOTE if language == "en" else CELLS_NOTE_ZH
    names = ", ".join(outcome.levels)
    episodes = len(next(iter(outcome.cells.values()))[0].episodes) * len(next(iter(outcome.cells.values())))
    parts = [
        f"# {study.title if language == 'en' else study.title_zh}\n",
        f"## {words['question']}\n\n{study.question if language == 'en' else study.question_zh}\n",
        words["primary"].format(metric=study.primary, count=len(study.comparisons)) + "\n",
        note.format(levels=len(outcome.levels), names=names, episodes=episodes, least=LEAST_EXTRA),
    ]
    unfit = unfit_levels(study, outcome)
    if unfit:
        parts.append(words["unfit"].format(levels=", ".join(unfit)) + "\n")
    if study.comparisons:
        parts.append(f"## {words['comparisons']}\n\n{tables.format_table(comparison_table(study, outcome))}\n")
    discussion = root / ("discussion.md" if language == "en" else "discussion.zh-CN.md")
    if discussion.is_file():
        parts.append(f"## {words['discussion']}\n\n{discussion.read_text().strip()}\n")
    parts += [f"![{name}](figures/{name}.png)\n" for name in drawn]
    parts.append(f"## {words['means']}\n\n{tables.format_table(mean_table(study, outcome))}\n")
    parts.append(f"## {words['side']}\n\n{tables.format_table(side_effect_table(study, outcome))}\n")
    parts.append(f"## {words['levels']}\n\n{tables.format_table(level_table(study, outcome))}\n")
    parts.append(provenance.cells_origin([c for cells in outcome.cells.values() for c in cells]) + provenance.footer())
    return "\n".join(parts)


def unfit_levels(study: Study, outcome: Outcome) -> list[str]:
    """Levels that no arm without delay solves; empty where the study has no such arm."""
    arms = [one.key for one in study.arms if one.config.delay_profile == DelayProfileConfig()]

    def best(level: str) -> float:
        solved = [outcome.episodes(level, key, statistics.SOLVED) for key in arms if (level, *key) in outcome.cells]
        return max((statistics.wilson(int(s.sum()), s.size).high for s in solved), default=1.0)

    return [level for level in outcome.levels if best(level) < statistics.MIN_BASELINE_SOLVED]


def metric_text(interval: statistics.Interval, metric: str, signed: bool = False) -> str:
    """An interval of a metric: solve rates in percent."""
    if metric in PERCENT:
        return statistics.percent(interval, signed)
    plus = "+" if signed else ""
    return f"{interval.value:{plus}.3f} [{interval.low:{plus}.3f}, {interval.high:{plus}.3f}]"


def comparison_table(study: Study, outcome: Outcome) -> pd.DataFrame:
    """Paired differences of the primary metric, with p values before and after correction."""
    known = [c for c in study.comparisons if outcome.complete(*c.arms)]
    tests = [outcome.difference(comparison, study.primary) for comparison in known]
    adjusted = statistics.holm([test.p_value for test in tests], planned=len(study.comparisons))
    return pd.DataFrame(
        {
            "candidate - reference": str(comparison),
            "difference": metric_text(test.interval, study.primary, signed=True),
            "p": statistics.p_text(test.p_value),
            "p (Holm)": statistics.p_text(corrected),
            "finding": finding(test, corrected),
            "better / worse levels": _better_worse(study, outcome, comparison),
            **_cost(study, outcome, comparison, test.interval),
        }
        for comparison, test, corrected in zip(known, tests, adjusted, strict=True)
    )


def finding(test: statistics.PairedTest, corrected: float) -> str:
    """What a corrected p value allows to say."""
    if corrected > ALPHA:
        return "not told apart"
    return "higher" if test.interval.value > 0 else "lower"


def _better_worse(study: Study, outcome: Outcome, comparison: Comparison) -> str:
    """On how many levels a sign test finds the candidate better and worse."""
    signs = [statistics.sign_test(outcome.pairs(comparison, study.primary, level)) for level in outcome.levels]
    return f"{sum(sign > 0 for sign in signs)} / {sum(sign < 0 for sign in signs)}"


def _cost(study: Study, outcome: Outcome, comparison: Comparison, gain: statistics.Interval) -> dict[str, str]:
    """What the candidate evaluates more per chunk than the reference, and what each of these evaluations gains."""
    if comparison.less:
        return {EXTRA: "", PER_EVALUATION: ""}
    extra = outcome.evaluations_per_chunk(comparison.candidate) - outcome.evaluations_per_chunk(comparison.reference)
    text = ""
    if extra >= LEAST_EXTRA:
        scale = (100 if study.primary in PERCENT else 1) / extra
        text = f"{scale * gain.value:+.2f} [{scale * gain.low:+.2f}, {scale * gain.high:+.2f}]"
    return {EXTRA: f"{extra:+.2f}", PER_EVALUATION: text}


def mean_table(study: Study, outcome: Outcome) -> pd.DataFrame:
    """The primary metric of all arms: a row per method, a column per profile."""
    rows = []
    for method in study.methods:
        row: dict[str, str] = {"method": method}
        for profile in study.profiles:
            there = outcome.complete((profile, method))
            row[profile] = metric_text(outcome.mean((profile, method), study.primary), study.primary) if there else ""
        rows.append(row)
    return pd.DataFrame(rows)


def side_effect_table(study: Study, outcome: Outcome) -> pd.DataFrame:
    """What the arms cost and what else they change."""
    return pd.DataFrame(
        {"profile": one.profile, "method": one.method}
        | {heading: outcome.cell_mean(one.key, column) for column, heading in SIDE_EFFECTS.items()}
        for one in study.arms
        if outcome.complete(one.key)
    )


def level_table(study: Study, outcome: Outcome) -> pd.DataFrame:
    """The primary metric of all arms on every level, without intervals."""
    scale = 100.0 if study.primary in PERCENT else 1.0
    rows = []
    for one in study.arms:
        row: dict[str, object] = {"profile": one.profile, "method": one.method}
        for level in outcome.levels:
            there = (level, *one.key) in outcome.cells
            value = scale * outcome.episodes(level, one.key, study.primary).mean() if there else np.nan
            row[level] = f"{value:.1f}" if scale > 1 else f"{value:.3f}"
        rows.append(row)
    return pd.DataFrame(rows)


def default_figures(study: Study, outcome: Outcome) -> Figures:
    """The primary metric of all arms."""
    return {"primary": arms_figure(study, outcome, study.primary)}


def arms_figure(study: Study, outcome: Outcome, metric: str) -> Figure:
    """A point with its interval per arm, on one scale; a panel per profile or, where these are more, per method."""
    profiles, methods = study.profiles, study.methods
    per_method = len(profiles) > len(methods)
    panels, rows = (methods, profiles) if per_method else (profiles, methods)
    scale = 100.0 if metric in PERCENT else 1.0
    with matplotlib.rc_context(figures.STYLE):
        size = (2.0 + 2.1 * len(panels), 0.9 + 0.28 * len(rows))
        figure, axes = figures.subplots(1, len(panels), size, sharex=True, sharey=True)
        for ax, panel in zip(axes[0], panels, strict=True):
            for place, row in enumerate(rows):
                key = (row, panel) if per_method else (panel, row)
                if outcome.complete(key):
                    interval = outcome.mean(key, metric)
                    color = figures.method_color(key[1], methods)
                    ax.plot([scale * interval.low, scale * interval.high], [place, place], color=color, linewidth=2.2)
                    ax.plot(scale * interval.value, place, "o", color=color, markersize=5)
            ax.set_title(panel.replace("_", " "), fontweight="bold")
            ax.set_yticks(range(len(rows)), rows)
            ax.grid(axis="x", color=figures.LIGHT, linewidth=0.6)
        axes[0, 0].set_ylim(len(rows) - 0.5, -0.5)
        figure.supxlabel("episodes solved (%)" if metric in PERCENT else metric, fontsize=9)
    return figure
