"""Checks how often the intervals of paired differences err, on episodes whose true difference is known.

An interval at 95 % is to miss the truth in 5 % of all experiments: where nothing differs (A/A), that is a false
positive. "Percentile bootstrap" pools the pairs of all levels, as tables of other metrics do, and those of solve rates
of older commits (without the error of a finite number of resamples); "normal" is the interval of means over levels;
"score" is `rtc.study.pairs.score_test`. Rates in percent. Levels differ in difficulty; episodes share randomness on all
levels and between the arms (`rtc.bench.calibration`).
"""

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rtc.bench import calibration
from rtc.bench.calibration import Luck, Population
from rtc.programs.compare_groups import read_group, require_pairs
from rtc.report.page import Page, Section
from rtc.shared import commands, files, provenance, tables
from rtc.shared.validation import require_float, require_int
from rtc.study import families, pairs
from rtc.study.statistics import SOLVED, episode_values

LUCK = Luck()
# Arms that are lucky or not in the same episodes on all levels: levels depend on each other more.
MORE_SHARED = Luck(episode=0.05, arm=0.3)
# The worst case: an arm fails in the same episodes nearly everywhere.
MOST_SHARED = Luck(episode=0.0, pair=0.0, arm=0.8)
# Of pairs on one level: as between most arms of tail_v1, and low enough for arms of which one solves nearly all.
CORRELATION, LOW_CORRELATION = 0.3, 0.075
LOSSES = (0.02, 0.05)
FAMILY = 12
POPULATIONS = {
    "nothing": Population(0.93),
    "levels": Population(0.93, effect=0.3),
    "levels, policies; a loss": Population(0.93, effect=0.15, policy=0.15, loss=0.2),
    "policies": Population(0.93, policy=0.3),
    "policies; levels given": Population(0.93, policy=0.3, given=True),
    "policies; levels given, a loss": Population(0.93, policy=0.15, loss=0.2, given=True),
}
_NO_DELAY, _ORACLE = "stepA_baseline/no_delay", "tail_v1_oracle"
COMPARISONS = (
    *((f"tail_v1/tail_controlled/{method}", f"tail_v1/long_tail/{method}") for method in ("naive", "realtime")),
    *((f"tail_v1/{profile}/realtime", f"tail_v1/{profile}/naive") for profile in ("long_tail", "tail_controlled")),
    *((f"tail_v1/{profile}/naive", f"{_NO_DELAY}/naive") for profile in ("long_tail", "tail_controlled")),
    *((f"{_ORACLE}/{profile}/realtime", f"tail_v1/{profile}/realtime") for profile in ("long_tail", "tail_controlled")),
    (f"{_ORACLE}/tail_controlled/realtime", f"{_ORACLE}/long_tail/realtime"),
)


@dataclass(frozen=True)
class Arguments:
    """Command line of check_statistics.

    Attributes:
        rates: solve rates, three or more from low to high. Losses are planted at all but the first; power is that of
            the two after it.
        episodes: numbers of episodes, two or more; simulations that bootstrap, and those of losses, take the first two.
        levels: number of levels that means are over.
        replications: simulated experiments per row of the A/A table; half of them with a loss, a quarter for power.
        bootstraps: the same where every experiment is bootstrapped.
        resamples: of such a bootstrap.
        seed: of the simulation.
        results: folder of the cells whose pairs are measured.
        output: the tables.

    Raises:
        ValueError: a value is out of range.
    """

    rates: tuple[float, ...] = (0.5, 0.8, 0.95, 0.98, 0.995)
    episodes: tuple[int, ...] = (128, 512, 2048)
    levels: int = 12
    replications: int = 5000
    bootstraps: int = 1000
    resamples: int = 2000
    seed: int = 0
    results: Path = Path("exp_runs")
    output: Path = Path("exp_runs/check_statistics.md")

    def __post_init__(self) -> None:
        for rate in self.rates:
            require_float("rates", rate, low=0.1, high=0.999)
        for number in self.episodes:
            require_int("episodes", number, low=2)
        if len(self.rates) < 3 or list(self.rates) != sorted(self.rates):
            raise ValueError(f"rates={self.rates} must be three or more, from low to high")
        if len(self.episodes) < 2:
            raise ValueError(f"episodes={self.episodes} must be two or more numbers")
        for name, low in (("levels", 2), ("replications", 20), ("bootstraps", 2)):
            require_int(name, getattr(self, name), low=low)


def percent(share: float) -> str:
    return f"{100 * share:.3g}"


def experiments(number: int) -> str:
    """How many there are, and how far chance moves a share of 5 % of them (one standard error)."""
    return f"{number} experiments per row: 5 % ± {100 * math.sqrt(0.05 * 0.95 / number):.1f} (standard error)."


def shares(found: Iterable[Mapping[str, bool]]) -> dict[str, float]:
    """How often each of several things was so."""
    counts: dict[str, list[bool]] = defaultdict(list)
    for one in found:
        for name, value in one.items():
            counts[name].append(value)
    return {name: float(np.mean(values)) for name, values in counts.items()}


def one_level(args: Arguments) -> Iterator[dict]:
    """Exact error rates on one level where nothing differs."""
    for rate in args.rates:
        for number in args.episodes:
            yield {"solved (%)": percent(rate), "episodes": number, **_exact(rate, 0.0, CORRELATION, number)}


def losses_on_one_level(args: Arguments) -> Iterator[dict]:
    """Exact error rates on one level with a loss."""
    for loss in (0.01, *LOSSES):
        for rate in args.rates[1:]:
            for number in args.episodes:
                errors = _exact(rate, loss, LOW_CORRELATION, number)
                errors.pop("exact sign test")  # says only whether there is a difference, not how large it is
                yield {"loss (pp)": percent(loss), "solved (%)": percent(rate), "episodes": number, **errors}


def _exact(rate: float, loss: float, correlation: float, number: int) -> dict[str, str]:
    law = calibration.discordant(rate, loss, correlation)
    errors = calibration.error_rates(*law, number)
    return {"pairs that differ": f"{sum(law) * number:.1f}"} | {name: f"{100 * x:.1f}" for name, x in errors.items()}


def over_levels(args: Arguments, rng: np.random.Generator) -> Iterator[dict]:
    """Error rates of means over levels where nothing differs."""
    for name, luck, episodes in (("some", LUCK, args.episodes), ("more", MORE_SHARED, args.episodes[:2])):
        for rate in args.rates:
            limits = calibration.thresholds(rate, args.levels)
            for number in episodes:
                samples = calibration.differences(rng, limits, limits, number, luck, args.replications)
                errors, differing = _errors(samples, 0.0)
                yield {
                    "levels share": name,
                    "solved (%)": percent(rate),
                    "episodes": number,
                    "pairs that differ": f"{differing:.1f}",
                    **errors,
                }


def _errors(samples: Iterable[np.ndarray], truth: float) -> tuple[dict[str, str], float]:
    """How often each interval misses the truth, and how many pairs differ."""
    differing: list[int] = []

    def misses() -> Iterator[dict[str, bool]]:
        for values in samples:
            differing.append(np.count_nonzero(values))
            yield calibration.level_misses(values, truth)

    errors = {name: f"{100 * error:.1f}" for name, error in shares(misses()).items()}
    return errors, float(np.mean(differing))


def losses_over_levels(args: Arguments, rng: np.random.Generator) -> Iterator[dict]:
    """Error rates of means over levels with a planted loss."""
    for loss in LOSSES:
        for rate in args.rates[1:]:
            reference = calibration.thresholds(rate, args.levels)
            alike, every_other = np.ones(args.levels), np.arange(args.levels) % 2.0
            for name, weights, shared, luck in (
                ("alike", alike, "some", LUCK),
                ("every other one", every_other, "some", LUCK),
                ("alike", alike, "most", MOST_SHARED),
            ):
                candidate = calibration.planted(reference, loss, weights)
                for number in args.episodes[:2]:
                    samples = calibration.differences(rng, candidate, reference, number, luck, args.replications // 2)
                    errors, differing = _errors(samples, -loss)
                    yield {
                        "loss (pp)": percent(loss),
                        "levels lose": name,
                        "levels share": shared,
                        "solved (%)": percent(rate),
                        "episodes": number,
                        "pairs that differ": f"{differing:.1f}",
                        **errors,
                    }


def samples_of_levels(args: Arguments, rng: np.random.Generator) -> Iterator[dict]:
    """Error rates where levels and policies, or policies alone, are a sample of many."""
    for name, population in POPULATIONS.items():
        # A single policy per level tells nothing of others on the same levels.
        for runs in (2, 3, 5) if population.given else (1, 3):
            for number in args.episodes if population.given else args.episodes[:2]:
                drawn = (population.draw(rng, runs, args.levels, number, LUCK) for _ in range(args.bootstraps))
                errors = shares(population.misses(scores, args.resamples) for scores in drawn)
                yield {
                    "what differs": name,
                    "policies per level": runs,
                    "episodes": number,
                    "difference (pp)": f"{100 * population.truth(args.levels):+.1f}",
                    **{method: f"{100 * error:.1f}" for method, error in errors.items()},
                }


def power(args: Arguments, rng: np.random.Generator) -> Iterator[dict]:
    """How often a loss is found, alone and in a family."""
    for loss in LOSSES:
        for rate in args.rates[1:3]:
            reference = calibration.thresholds(rate, args.levels)
            candidate = calibration.planted(reference, loss, np.ones(args.levels))
            for number in args.episodes:
                found, spreads = [], []
                for values in calibration.differences(rng, candidate, reference, number, LUCK, args.replications // 4):
                    found.append(pairs.score_test(list(values)).p_value)
                    spreads.append(families.spread(list(values)))
                spread = float(np.mean(spreads))
                row = {"loss (pp)": percent(loss), "solved (%)": percent(rate), "episodes": number}
                row["spread (pp)"] = f"{100 * spread:.1f}"
                for label, size in (("alone", 1), (f"one of {FAMILY}", FAMILY)):
                    row[label] = f"{100 * np.mean(np.array(found) <= families.ALPHA / size):.0f}"
                    row[f"{label}, foretold"] = f"{100 * families.chance(loss, spread, number, size):.0f}"
                yield row


def family_sizes(args: Arguments, rng: np.random.Generator) -> Iterator[dict]:
    """What families find, by the spread of arms that do not differ."""
    for rate in args.rates[1:3]:
        limits = calibration.thresholds(rate, args.levels)
        samples = calibration.differences(rng, limits, limits, 4096, LUCK, 20)
        spread = float(np.mean([families.spread(list(values)) for values in samples]))
        for number in args.episodes:
            row = {"solved (%)": percent(rate), "spread (pp)": f"{100 * spread:.1f}", "episodes": number}
            for size in (1, 6, 12, 24, 82):
                row[f"of {size} (pp)"] = f"{100 * families.smallest_difference(spread, number, size):.1f}"
            largest = families.largest_family(0.02, spread, number)
            yield row | {"largest family that finds 2 pp": str(largest) if largest < 1000 else "over 1000"}


def measured_pairs(args: Arguments) -> Iterator[dict]:
    """What pairing buys between arms that were run."""
    for candidate, reference in COMPARISONS:
        groups = [read_group(str(args.results / path)) for path in (candidate, reference)]
        require_pairs(*groups)
        after, before = (episode_values(group, SOLVED) for group in groups)
        correlation, factor = pairs.pairing(after, before)
        spread = families.spread([after - before])
        yield {
            "candidate - reference": f"{candidate} - {reference}",
            "pairs": len(after),
            "solved (%)": f"{100 * after.mean():.1f} - {100 * before.mean():.1f}",
            "gains": int((after > before).sum()),
            "losses": int((after < before).sum()),
            "correlation": f"{correlation:+.2f}",
            "variance divided by": f"{factor:.2f}",
            "spread (pp)": f"{100 * spread:.1f}",
            "smallest (pp)": f"{100 * families.smallest_difference(spread, len(after)):.1f}",
            f"one of {FAMILY} (pp)": f"{100 * families.smallest_difference(spread, len(after), FAMILY):.1f}",
        }


def sections(args: Arguments) -> Iterator[tuple[str, str, Iterable[dict]]]:
    """Headings, texts and rows of the page, in its order."""
    rng = np.random.default_rng(args.seed)
    yield (
        "One level, nothing differs (A/A): false positives",
        "Exact: sums over all numbers of gains and losses. Where fewer than about five pairs differ, an interval that "
        "holds its level cannot reach 4 %: five pairs that all fall to one side have a two-sided probability of 6 % "
        '(2 × 0.5⁵). The exact sign test is what "better / worse levels" counts.',
        one_level(args),
    )
    yield (
        "One level, with a loss: how often intervals miss",
        "Exact, too. Where the candidate solves less, losses outnumber gains.",
        losses_on_one_level(args),
    )
    yield (
        f"Mean over {args.levels} levels, nothing differs (A/A): false positives",
        f'{experiments(args.replications)} Levels "share more" where an arm\'s luck in an episode is the same on all '
        "levels to a larger part.",
        over_levels(args, rng),
    )
    yield (
        f"Mean over {args.levels} levels, with a loss: how often intervals miss",
        f"{experiments(args.replications // 2)} A coverage of 94 % is a miss of 6 %. Where levels "
        'share "most", an arm fails in nearly the same episodes on all levels.',
        losses_over_levels(args, rng),
    )
    yield (
        f"{args.levels} levels, or policies on them, as a sample: how often intervals miss the mean over all of them",
        f"{experiments(args.bootstraps)} The normal interval is not made for this: it speaks of the levels "
        "and policies at hand. The bootstrap (`rtc.study.aggregates.interval`) is the hierarchical one, of "
        "levels, the policies on each, and episodes; where levels are given, of policies and episodes.",
        samples_of_levels(args, rng),
    )
    yield (
        f"Power: how often a loss in the mean over {args.levels} levels is found (%)",
        f"{args.replications // 4} experiments per row. Found: its p (score test) is at most 0.05, or 0.05 / {FAMILY}; "
        "that is what Holm's method asks of the smallest p value of a family. Foretold: `rtc.study.families.chance`.",
        power(args, rng),
    )
    yield (
        f"The smallest loss over {args.levels} levels that a member of a family finds with power 0.8",
        "By `rtc.study.families.smallest_difference` and the spread (standard deviation over episodes of the paired "
        "differences' average over the levels) of simulated arms that do not differ.",
        family_sizes(args, rng),
    )
    yield (
        "What pairing buys on measured episodes (grasp_easy)",
        "Gains: episodes that the candidate alone solves. Unpaired, the difference would have the variance times the "
        "factor. The last columns are the smallest differences that as many pairs of this one level find.",
        measured_pairs(args),
    )


def run(args: Arguments) -> None:
    commands.keep_page(args, args.output, "output")
    started = time.time()
    title, about = __doc__.split("\n\n", 1)
    parts = [Section("", [about])]
    for heading, text, rows in sections(args):
        table = pd.DataFrame(rows)
        print(f"{heading}\n{tables.format_table(table)}", flush=True)
        parts.append(Section(heading, [text, table]))
    files.atomic_write(args.output, Page(title, parts, provenance.footer(started)).markdown())
    commands.open_first(args.output)


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
