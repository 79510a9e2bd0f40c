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
Cells of token policies also have `passes_1`, `passes_2`, …: the share of the queries that took so many passes of the
main model. In worlds that are stepped from Python they count, over all queries, `proposed_0` and `accepted_0`, …: RSD's
tokens of that layer that were verified, and those that stood; and `invalid_sequences`: FAST's that hold another number
of coefficients than a chunk.

Where two answers are right ([several answers](several-answers.md)), `mode_second` is the share of answer 1 among the
episodes that reached one, `mode_switches` the mean number of changes to the other answer, and `mode_switched` the share
of episodes with one change at least. episodes.csv has then `mode`, the answer that was reached (0, 1; -1 for
none), `mode_first`, the one that the first firm command between them led to, `mode_switches`, and `mode_place`, where
it decided, from -1 at answer 0 to 1 at answer 1.

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
score intervals (solve rates) or bootstrap intervals. Means over levels have Wilson intervals at the effective number of
episodes (solve rates) or normal intervals, both from each episode's average over the levels, because episode i meets
the same random numbers on all of them: they say how far more episodes on these levels could move the mean, and nothing
on other levels. Studies correct the p values of their
comparisons by Holm's method. All intervals are 95 %.

## Statistics

Functions are those of `src/rtc/study/`; [`exp_runs/check_statistics.md`](../exp_runs/check_statistics.md) measures how
often they err, and is made by

```bash
python exp/check_statistics.py
```

- *A/A*: the comparison of an arm with itself, in which every difference found is a false positive.
- *Wilson interval* (`statistics.wilson`): of one rate; Wilson 1927, J. Am. Stat. Assoc. 22:209.
- *Wilson interval over levels* (`statistics.rate_over_levels`): of the mean of several levels' rates, at the effective
  number of episodes, with the episode as the unit of sampling; Korn and Graubard 1998, Surv. Methodol. 24:193. Pages
  that an older commit wrote have the normal interval, which can end beyond 100 %.
- *Percentile bootstrap* (`statistics.bootstrap_mean`): quantiles of means of resampled episodes, each with its mean
  over the levels. Where nearly all episodes are solved it misses small true differences too often; Efron 1979, Ann.
  Stat. 7:1.
- *Normal interval* (`statistics.mean_over_levels`, `pairs.paired_test`): estimate ± 1.96 standard errors, with the
  episode as the unit of sampling, because it shares its randomness on all levels.
- *Score interval* (`pairs.score_interval`): all differences of two paired rates that a score test does not reject. It
  holds its level near 100 %, too; Tango 1998, Stat. Med. 17:891.
- *Score test over levels* (`pairs.score_test`): the same at the effective number of pairs, with the episode as the unit
  of sampling; Rao and Scott 1992, Biometrics 48:577; Durkalski et al. 2003, Stat. Med. 22:2417.
- *Tables* (`pairs.table_test`, `pairs.table_interval`) give differences of solve rates by the score test, those of
  other metrics by the normal interval over levels or the bootstrap over episodes, and effects of factors by the normal
  interval. Pages that an older commit wrote have the latter two for solve rates, too.
- *Sign test* (`pairs.sign_test`): exact, of the pairs that differ; McNemar 1947, Psychometrika 12:153.
- *What pairing buys* (`pairs.pairing`): the correlation of pairs, and by what it divides the variance of a difference.
- *Holm's method* (`families.holm`): p values corrected so that a family of comparisons makes any false claim with
  probability 5 % at most; Holm 1979, Scand. J. Stat. 6:65.
- *Spread* (`families.spread`): standard deviation over episodes of the paired differences' average over the levels.
- *Smallest difference* (`families.smallest_difference`): what a member of a family finds with probability 0.8, from the
  spread, the number of episodes and the size of the family; `families.largest_family` and `families.episodes`
  are the reverse. *Unpaired spread* (`families.unpaired_spread`): of two solve rates whose episodes do not pair.
- *Equivalent within a margin* (`margins.judge_margin`): the 90 % interval lies within ± the margin, which is two
  one-sided tests at 5 %; Schuirmann 1987, J. Pharmacokinet. Biopharm. 15:657. *Differs*: the 95 % interval excludes 0.
  Where neither is so, arms are *not told apart*.
- *Non-inferior* (`MarginFinding.non_inferior`): the 90 % interval excludes a loss of the margin or more.
- *Run*: a training seed from end to end, with a policy of its own on every level.
- *Interquartile mean*, *median*, *probability of improvement* (`aggregates`): mean of the middle half of all runs and
  levels; median over levels of the mean over runs; probability that a run of one arm beats one of another on a random
  level, ties half; Agarwal et al. 2021, arXiv 2108.13264.
- *Stratified bootstrap* (`aggregates.interval` with `sampled="policies"`): for levels as given. Runs are resampled on
  every level, and episodes; the same source.
- *Hierarchical bootstrap* (`sampled="levels"`): for levels as a sample. Levels are resampled, runs on each, and
  episodes; Saravanan et al. 2020, arXiv 2007.07797. Few levels expand its percentiles: Hesterberg 2015, Am. Stat.
  69:371.

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
