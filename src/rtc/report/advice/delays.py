"""The log in a few numbers, how it was scaled, and what limits advice from it."""

import numpy as np
import pandas as pd

from rtc.delay.logs import Description
from rtc.report.advice.facts import Advice
from rtc.report.page import Section
from rtc.shared.markup import code, plain
from rtc.study import identity, recordings
from rtc.study.advice import LOG
from rtc.worlds.kinetix.levels import LEVEL_NAMES

# Fewer delays say little of a p99.
FEW_QUERIES = 300
# A larger share of delays beyond what was trained on is said.
MANY = 0.05


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
    taken = (
        f"{code(advice.log.path)}: {found.count} delays, read as `{advice.log.format}`: {plain(advice.log.measures)}."
    )
    left = ", ".join(f"{one.count} {plain(one.reason)}" for one in advice.log.left_out)
    taken += f" Left out: {left}." if left else ""
    parts = [taken + f" More about them: `{LOG}/latency.md`.", pd.DataFrame(rows), _scaling(advice)]
    return Section("Your delays", [*parts, *doubts(advice)], ["delays"])


def _scaling(advice: Advice) -> str:
    scale, run = advice.scale, identity.shown(advice.chosen.run_path)
    mean = np.average(list(advice.found.ticks), weights=list(advice.found.ticks.values()))
    asked = np.average(scale.delays(list(advice.found.ticks)), weights=list(advice.found.ticks.values()))
    return (
        f"What matters is how much of a chunk a delay takes. The policies of `{run}` have chunks of "
        f"H = {scale.horizon}, yours of {scale.chunk}: one tick of theirs stands for {scale.tick:.3g} of yours, and a "
        f"delay of d of your ticks is replayed as d · {scale.horizon} / {scale.chunk} of theirs, rounded, and one at "
        f"least. On average delays take {100 * mean / scale.chunk:.1f} % of your chunk and "
        f"{100 * asked / scale.horizon:.1f} % of theirs. Their order is kept, so bursts stay bursts.{_levels(advice)}"
    )


def _levels(advice: Advice) -> str:
    """Where the policies are not there for all levels."""
    there = advice.chosen.levels
    if len(there) == len(LEVEL_NAMES):
        return ""
    return (
        f" There are such policies for {len(there)} of the benchmark's {len(LEVEL_NAMES)} levels, and so the others "
        f"were not asked: {', '.join(there)}."
    )


def doubts(advice: Advice) -> list[str]:
    """What in the log itself limits the advice."""
    found, scale, said = advice.found, advice.scale, []
    if found.percentile(50) < scale.tick:
        said.append(
            f"**Your median delay ({found.percentile(50)} ticks) is below one tick of the benchmark "
            f"({scale.tick:.3g} of yours)**, so the delays that were replayed are longer than yours: differences "
            "between methods are overstated."
        )
    said += _unseen(advice)
    if found.count < FEW_QUERIES:
        said.append(f"**{found.count} delays say little of a p99**: it is among the {1 + found.count // 100} longest.")
    if found.drift is not None and found.drift.p < 0.01 and _changed(found):
        said.append(
            f"**The log drifts**: median {found.drift.first_ms:.4g} ms in its first third, "
            f"{found.drift.last_ms:.4g} ms in its last. The advice is for the mixture of both."
        )
    return said


def _changed(found: Description) -> bool:
    """Medians differ by more than a control tick."""
    return found.drift is not None and abs(found.drift.last_ms - found.drift.first_ms) > 1000 / found.hz


def _unseen(advice: Advice) -> list[str]:
    """Where many delays are longer than those that policies and networks have learned from."""
    scale, said = advice.scale, []
    counts = advice.found.ticks
    learned = {"forward models and correction heads": max(one.delay for one in recordings.kinds(scale.horizon))}
    if advice.chosen.longest_prefix is not None:
        learned["the policies of `trained_prefix`"] = advice.chosen.longest_prefix
    for what, longest in learned.items():
        beyond = sum(count for ticks, count in counts.items() if scale.delay(ticks) > longest) / advice.found.count
        if beyond > MANY:
            said.append(
                f"**{100 * beyond:.0f} % of your delays, as replayed, are longer than {what} have seen in training** "
                f"({longest} of {scale.horizon} ticks): how good they are there is extrapolated."
            )
    return said
