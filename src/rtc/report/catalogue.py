"""The catalogue of metrics: what every number in a table, a figure or a CSV file is, and how it is printed.

Tables, figures and docs/metrics.md (`rtc.report.metrics_page`) take names, units and formats from here.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rtc.shared import tables
from rtc.shared.validation import unknown
from rtc.study.statistics import SOLVED, Interval

HIGHER, LOWER, NEITHER = "higher", "lower", ""
EPISODE, QUERY, TICK, CELL = "episode", "query", "tick", "cell"


@dataclass(frozen=True)
class Metric:
    """A column of results.csv.

    Attributes:
        column: its name there.
        label: its heading in tables, without the unit.
        definition: formula, in Markdown.
        unit: what it is counted in; of shares empty, as they are printed in percent.
        better: which way is better, where that can be said.
        per: what it is a value of: an episode (then averaged), a query, a tick or the whole cell.
        rate: a share, printed in percent with one decimal.
        decimals: of other numbers.
    """

    column: str
    label: str
    definition: str
    unit: str = ""
    better: str = NEITHER
    per: str = EPISODE
    rate: bool = False
    decimals: int = 2

    @property
    def heading(self) -> str:
        """Label and unit, for a table; units of two words and more stay in the definition."""
        unit = "%" if self.rate else self.unit
        return f"{self.label} ({unit})" if unit in ("%", "ticks", "s") else self.label

    @property
    def difference_heading(self) -> str:
        """The same for a difference: percentage points."""
        return self.heading.replace("(%)", "(pp)")

    @property
    def scale(self) -> float:
        """What printed and drawn values are multiplied by."""
        return 100.0 if self.rate else 1.0

    @property
    def places(self) -> int:
        return 1 if self.rate else self.decimals

    @property
    def axis(self) -> str:
        """Label of an axis."""
        unit = "%" if self.rate else self.unit
        return f"{self.title} ({unit})" if unit else self.title

    @property
    def difference_axis(self) -> str:
        """The same for a difference: percentage points."""
        return f"difference of {self.axis}".replace("(%)", "(percentage points)")

    @property
    def title(self) -> str:
        return "episodes solved" if self.column == SOLVED else self.label

    def show(self, value: float, signed: bool = False) -> str:
        """A value as tables print it."""
        return tables.number(self.scale * value, self.places, signed)

    def interval(self, interval: Interval, signed: bool = False) -> str:
        """An estimate and its interval as tables print them."""
        value, low, high = (self.scale * x for x in dataclasses.astuple(interval))
        return tables.interval(value, low, high, self.places, signed)

    def spread(self, interval: Interval, std: float) -> str:
        """mean ± standard deviation over seeds [interval]; one seed has no standard deviation."""
        text = self.interval(interval)
        return text.replace(" [", f" ± {self.show(std)} [", 1) if math.isfinite(std) else text


_ALL = (
    Metric(SOLVED, "solved", "share of episodes that reach the goal", better=HIGHER, rate=True),
    Metric(
        "returned_episode_returns",
        "return",
        "sum of the rewards of an episode",
        unit="reward per episode",
        better=HIGHER,
        decimals=3,
    ),
    Metric("returned_episode_lengths", "length", "control ticks until the episode ends", "ticks", decimals=1),
    Metric(
        "rms_ddelta_action",
        "rms jerk",
        "root mean square of a_t − 2a_{t−1} + a_{t−2} over ticks and bound dimensions",
        unit="action units",
        better=LOWER,
        decimals=3,
    ),
    Metric(
        "max_delta_action",
        "max step",
        "max_t ‖a_t − a_{t−1}‖₂ over bound dimensions",
        unit="action units",
        better=LOWER,
        decimals=3,
    ),
    Metric(
        "max_ddelta_action",
        "max jerk",
        "max_t ‖a_t − 2a_{t−1} + a_{t−2}‖₂ over bound dimensions. Maxima are poor measures of smoothness: a policy "
        "that mostly starves, and fails, scores best",
        unit="action units",
        better=LOWER,
        decimals=3,
    ),
    Metric("d_p50", "d_p50", "median of d_k over all queries", "ticks", LOWER, QUERY, decimals=1),
    Metric("d_p95", "d_p95", "95th percentile of d_k", "ticks", LOWER, QUERY, decimals=1),
    Metric("d_p99", "d_p99", "99th percentile of d_k", "ticks", LOWER, QUERY, decimals=1),
    Metric("mean_delay", "mean d", "mean of d_k", "ticks", LOWER, QUERY),
    Metric(
        "p_violate",
        "p_violate",
        "P(d_k > H − s_k): the delay exceeds what a chunk leaves after the execute horizon. This is not the condition "
        "for starvation",
        better=LOWER,
        per=QUERY,
        rate=True,
    ),
    Metric(
        "p_starve_condition",
        "p_starve",
        "P(L_{k−1} + d_k > H): the old chunk ends before the new one arrives. L_{−1} = 0; the intervals of abandoned "
        "queries add up; always met while a method waits. With chunks of origin g_k: "
        "P(L_{k−1} − g_{k−1} + max(d_k, g_k) > H)",
        better=LOWER,
        per=QUERY,
        rate=True,
    ),
    Metric(
        "p_late",
        "p_late",
        "P(d_k > planned delay, or the query is abandoned)",
        better=LOWER,
        per=QUERY,
        rate=True,
    ),
    Metric("mean_planned_delay", "planned d", "mean of the delay that the method plans with", "ticks", per=QUERY),
    Metric("mean_execute_horizon", "mean L", "mean of L_k", "ticks", per=QUERY),
    Metric(
        "abandoned_fraction",
        "abandoned",
        "share of queries that were abandoned at their deadline",
        better=LOWER,
        per=QUERY,
        rate=True,
    ),
    Metric(
        "mean_flow_steps",
        "flow steps",
        "mean flow steps that a query had time for (`anytime`); of token policies, mean passes of the main model per "
        "query",
        unit="steps, passes",
        per=QUERY,
    ),
    Metric(
        "starved_fraction",
        "starved",
        "share of ticks on which no chunk had an action and the fallback acted",
        better=LOWER,
        per=TICK,
        rate=True,
    ),
    Metric(
        "age_p50",
        "age_p50",
        "median, over ticks that are not starved, of the time from the newest observation behind an action to its "
        "execution. The committed actions that `trained_prefix` copies into a new chunk, and the older predictions in "
        "an ensemble, count with the age of that chunk",
        unit="ticks",
        better=LOWER,
        per=TICK,
        decimals=1,
    ),
    Metric("age_p99", "age_p99", "99th percentile of that age", "ticks", LOWER, TICK, decimals=1),
    Metric(
        "flow_evals_per_tick",
        "evals/tick",
        "passes through the network per tick: a backward pass counts like a forward pass; the bootstrap chunk, hedged "
        "copies, abandoned queries and corrections of actions are included; of token policies, passes of the main "
        "model",
        unit="passes",
        better=LOWER,
        per=TICK,
    ),
    Metric(
        "query_multiplications",
        "Mmul/query",
        "millions of multiplications of a query with all its flow steps: multiply-adds of matrix products and single "
        "ones, those of activations and norms included; what a learned model of the future takes for the planned delay "
        "is in it, what a simulator takes is not",
        unit="million",
        better=LOWER,
        per=QUERY,
    ),
    Metric(
        "multiplications_per_tick",
        "Mmul/tick",
        "the same per tick, of all queries (those that `anytime` cuts short count whole), hedged copies, bootstrap "
        "chunks and corrections of actions",
        unit="million",
        better=LOWER,
        per=TICK,
    ),
    Metric("num_evals", "episodes", "number of episodes", per=CELL, decimals=0),
    Metric("wall_s", "wall time", "wall time of the cell, with compilation where it was needed", "s", LOWER, CELL),
    Metric(
        "slot_utilisation",
        "slots used",
        "share of the simulated slot-ticks that belonged to an episode",
        better=HIGHER,
        per=CELL,
        rate=True,
    ),
)
METRICS: Mapping[str, Metric] = MappingProxyType({one.column: one for one in _ALL})
# Counts of a single episode, in episodes.csv only.
COUNTS: Mapping[str, str] = MappingProxyType(
    {
        "starved_ticks": "ticks on which the fallback acted",
        "num_queries": "launched queries",
        "abandoned_queries": "queries that were abandoned at their deadline",
        "flow_evals": "passes through the network, as in `flow_evals_per_tick`",
    }
)
# Columns that the tables of a study have and results.csv has not.
FINDINGS: Mapping[str, str] = MappingProxyType(
    {
        "difference": "the candidate's primary metric minus the reference's, paired by episode; percentage points for "
        "shares",
        "sees": "what a method has that naive execution has not: the newest observation when an action is chosen, the "
        "simulator (which makes it privileged), every query's delay, training of its own (a policy or a network for "
        "it). Its gain over a method without that is not only the method's",
        "p": "two-sided p value of no difference, not corrected",
        "p (Holm)": "the same, corrected for the number of comparisons by Holm's method",
        "finding": "`higher` or `lower` where the corrected p value is at most 0.05, else `not told apart`",
        "better / worse levels": "levels on which an exact sign test of its own, not corrected for their number, finds "
        "the candidate better and worse",
        "extra evals/chunk": "what the candidate passes more through the network for each chunk that arrives, "
        "abandoned queries and hedged copies included. (Per tick, a shorter delay also costs more, because the next "
        "query starts earlier: `evals/tick`.)",
        "gain per extra eval": "the difference divided by it, where it is at least 0.5",
    }
)


def metric(column: str) -> Metric:
    """The entry of a column.

    Raises:
        ValueError: there is none.
    """
    if column not in METRICS:
        raise unknown("metric", column, METRICS)
    return METRICS[column]


PRIMARY = metric(SOLVED)


def rate(interval: Interval, signed: bool = False) -> str:
    """A share and its interval in percent."""
    return PRIMARY.interval(interval, signed)
