"""The page of the RSD benchmark."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rtc.bench.token_timing import Engine, Episode, spread
from rtc.bench.tokens import FLOW, WIDE, Measured, times
from rtc.report import catalogue, page
from rtc.report.figures import tokens as figures
from rtc.report.page import Page, Section
from rtc.shared import files, provenance
from rtc.study import statistics

INTRODUCTION = """\
Milliseconds from the call to the chunk in the host's memory, on an otherwise idle device, in episodes that execute
whole chunks without delay (`run_episode_with_chunks`); arms take turns. A query is one compiled program.
"""
SPLIT = """\
Rounds as separate calls, each with its own dispatch: shares, not totals. `M - K·a`: passes to expect for M blocks, K of
them drafted, a being the mean of Π Σ min(p, q) over a block's tokens, from the distributions p and q of the two models.
"""
DEVIATION = """\
Actions against greedy autoregression on the same queries. `greedy` and `blocks_greedy` are lossless: rounding only.
"""
PASSES = """\
Median of whole autoregressive queries (`layers` and the draft, stopped after 1, 2, … blocks) and the line through them:
{pass_ms:.3f} ms per pass of the main model, {draft_ms:.3f} ms per pass of the draft, {overhead_ms:.3f} ms for the rest.
"""
POSITIONS = f"""\
A layer's four tokens share a position: a pass over a whole chunk of 32 tokens has 8 positions. 0 is an empty program.
`wide` has random weights, a width of {WIDE.dim} and {WIDE.depth} blocks: only its times mean anything.
"""


def write(measured: Measured, root: Path, started: float) -> Path:
    """Writes bench.json, pass_times.csv and the page below `root`; returns the file to open first."""
    engines = {name: decoder for name, decoder in measured.decoders.items() if name != FLOW}
    flow = spread(times(measured.decoders[FLOW]))
    found = {name: engine.get_stats() for name, engine in engines.items()}
    found |= {f"{name}, split": engine.get_stats() for name, engine in measured.split.items()}
    facts = {**measured.costs, "flow_ms": flow["p50"], "flow": flow, "stats": found, **provenance.provenance(started)}
    files.atomic_write(root / "bench.json", json.dumps(facts, indent=2, default=str) + "\n")
    curve = pd.concat([table.assign(model=name) for name, table in measured.passes.items()])
    files.atomic_write(root / "pass_times.csv", files.to_csv(curve))
    medians = measured.costs["medians"]
    queries = pd.DataFrame({"query": list(medians), "p50 (ms)": [f"{ms:.3f}" for ms in medians.values()]})
    sections = (
        Section("", [INTRODUCTION, main_table(measured.decoders, measured.episodes)]),
        Section("Draft and verification", [SPLIT, split_table(measured.split)]),
        Section("What lossy decoding changes", [DEVIATION, deviation_table(engines)]),
        Section("What a pass costs", [PASSES.format(**measured.costs), queries]),
        Section("One pass against its length", [POSITIONS, pass_table(measured.passes)], ["pass_times"]),
    )
    text = Page("RSD at batch 1", sections, provenance.footer(started))
    return page.write(root, {"en": text}, {"pass_times": figures.pass_times(measured.passes)})


def main_table(decoders: Mapping[str, Any], episodes: Mapping[str, list[Episode]]) -> pd.DataFrame:
    """One row per decoder: times, passes, acceptance and, with a Wilson interval, episodes solved."""
    rows = []
    for name, decoder in decoders.items():
        row = {"arm": name, "queries": len(times(decoder)), **_three_digits(spread(times(decoder)))}
        if name != FLOW:
            found = decoder.get_stats()
            row |= {"mean passes": f"{found['mean_passes']:.2f}", "mean drafts": f"{found['mean_drafts']:.2f}"}
            row |= {"acceptance per layer": " ".join(f"{share:.2f}" for share in found["acceptance_per_layer"])}
        solved = [episode.solved for episode in episodes[name]]
        row |= {"episodes": len(solved), "solved (%)": catalogue.rate(statistics.wilson(sum(solved), len(solved)))}
        rows.append(row)
    return pd.DataFrame(rows).astype(object).fillna("")


def split_table(engines: Mapping[str, Engine]) -> pd.DataFrame:
    """Draft and verification apart, and the passes that the two models' distributions let expect."""
    rows = []
    for name, engine in engines.items():
        found = engine.get_stats()
        row = {"arm": name, "draft (ms)": f"{found['draft_ms']['mean']:.3f}"}
        row |= {"verify (ms)": f"{found['verify_ms']['mean']:.3f}", "mean passes": f"{found['mean_passes']:.3f}"}
        if not engine.rule.deterministic:
            blocks, drafted, share = engine.expected_passes()
            row["M - K·a"] = f"{blocks} - {drafted}·{share:.3f} = {blocks - drafted * share:.3f}"
        rows.append(row)
    return pd.DataFrame(rows).astype(object).fillna("")


def deviation_table(engines: Mapping[str, Engine]) -> pd.DataFrame:
    """How far deterministic arms are from greedy autoregression: lossy ones, and lossless ones as a check.

    Over the chunks of the arm's own episodes, and the actions that drive something.
    """
    rows = []
    for name, engine in engines.items():
        if not engine.rule.deterministic:
            continue
        apart = np.abs(engine.deviation()[..., np.asarray(engine.agent.bound)])
        changed = (apart.max((1, 2)) > 1e-5).mean()
        row = {"arm": name, "chunks changed": f"{100 * changed:.1f} %"}
        rows.append(row | {"rms": f"{np.sqrt(np.mean(apart**2)):.4f}", "largest": f"{apart.max():.4f}"})
    return pd.DataFrame(rows)


def pass_table(passes: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Median times by number of positions; 0 is the empty program."""
    rows: dict[int, dict[str, str]] = {}
    for name, found in passes.items():
        for positions, median in zip(found["positions"], found["p50"], strict=True):
            rows.setdefault(int(positions), {})[f"{name} (ms, p50)"] = f"{median:.3f}"
    table = pd.DataFrame({"positions": positions, **row} for positions, row in rows.items())
    return table.astype(object).fillna("")


def _three_digits(numbers: Mapping[str, float]) -> dict[str, str]:
    return {f"{name} (ms)": f"{value:.3f}" for name, value in numbers.items()}
