"""docs/metrics.md, from the catalogue: `python -m rtc.report.metrics_page > docs/metrics.md`."""

from collections.abc import Mapping

from rtc.report import catalogue
from rtc.report.catalogue import EPISODE, Metric

_INTRODUCTION = """\
# Metrics

H is the chunk size, s_k the execute horizon of query k, d_k its delay and L_k the ticks from its launch to the next
one: max(s_k, d_k), or the deadline if the query is abandoned. A *tick* is one control tick, 33.3 ms by default. Ticks
after the end of an episode do not exist, and no difference is taken across a reset. `src/rtc/control/metrics.py`
computes all of this from the records of the episodes; this page is made from `src/rtc/report/catalogue.py`, from which
tables and figures take names, units and formats, too (`python -m rtc.report.metrics_page > docs/metrics.md`).

## results.csv: one row per cell

`profile`, `method`, `seed` and `level` say what the cell is. Percentiles are values that occurred (inverse of the
empirical distribution); an abandoned query counts with its deadline. Values per episode are those of commanded actions
before noise, of the action dimensions that the level binds, and are averaged over the episodes; an episode too short
for a difference scores 0. Shares are printed in percent; differences of shares in percentage points (pp).
"""
_BETWEEN = """\
Cells of RSD also have `passes_1`, `passes_2`, …: the share of the queries that took so many passes of the main model.

## episodes.csv: one row per episode

`episode` is its number; two cells with the same seed meet the same randomness in the same episode, so differences are
taken episode by episode.
{means} are the episode's own values (`returned_episode_solved` is 0 or 1). Counts:

{counts}

## Other files of a cell

`delays.csv` counts queries by delay (`delay_ticks`, `count`). `timeline.npz` holds one episode tick by tick.
`cell.json` is written last and says what the cell was computed from: configuration, hashes of checkpoint, level and
code, commit, command, packages and device.

## Intervals

Solve rates of a cell or a group have Wilson intervals; differences between cells are paired by (seed, episode) and have
bootstrap intervals. Means over levels have normal intervals, computed from each episode's average over the levels,
because episode i meets the same random numbers on all of them: they say how far more episodes on these levels could
move the mean, and nothing on other levels. Studies correct the p values of their comparisons by Holm's method. All
intervals are 95 %.

## Tables of a study

{findings}

The other columns are means over the levels of those in `results.csv`, under the headings above.
"""


def page() -> str:
    """The text of docs/metrics.md."""
    rows = ["| column | in tables | definition | per | unit | better |", "| --- | --- | --- | --- | --- | --- |"]
    rows += [_row(metric) for metric in catalogue.METRICS.values()]
    means = [f"`{metric.column}`" for metric in catalogue.METRICS.values() if metric.per == EPISODE]
    return "\n".join(
        [
            _INTRODUCTION,
            *rows,
            "",
            _BETWEEN.format(
                means=", ".join(means[:-1]) + " and " + means[-1],
                counts=_list(catalogue.COUNTS),
                findings=_list(catalogue.FINDINGS),
            ),
        ]
    ).rstrip("\n")


def _row(metric: Metric) -> str:
    unit = "share" if metric.rate else metric.unit
    cells = (f"`{metric.column}`", metric.label, metric.definition, metric.per, unit, metric.better)
    return f"| {' | '.join(cells)} |"


def _list(texts: Mapping[str, str]) -> str:
    return "\n".join(f"- `{name}`: {text}" + ("" if text.endswith(".)") else ".") for name, text in texts.items())


if __name__ == "__main__":
    print(page())
