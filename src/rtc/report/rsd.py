"""Tables, figures and pages of RSD: its training, and the experiment."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import jax.numpy as jnp
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from rtc.policies.tokens import checkpoints
from rtc.policies.tokens.policy import TokenPolicy
from rtc.policies.tokens.rfsq import Tokenizer
from rtc.report import figures, web
from rtc.shared import files, provenance, tables
from rtc.study import runner, statistics
from rtc.study.cells import CellData
from rtc.study.protocols import rsd_arms
from rtc.study.protocols.rsd_cells import Runs
from rtc.training import token_quality
from rtc.training.token_data import Chunks
from rtc.worlds.kinetix import levels

SOLVED, RETURN, JERK = "returned_episode_solved", "returned_episode_returns", "rms_ddelta_action"
# Per level and name of a condition.
Cells = Mapping[tuple[str, str], CellData]


def names(cells: Cells, place: int) -> list[str]:
    """The distinct levels (0) or conditions (1), in order of appearance."""
    return list(dict.fromkeys(key[place] for key in cells))


def values(cells: Cells, name: str, column: str) -> list:
    """Per level, a column of a condition's episodes."""
    return [cells[level, name].episodes[column].to_numpy(float) for level in names(cells, 0)]


def rate_row(cells: Cells, name: str) -> dict[str, str]:
    """Solve rates of a condition: the mean over levels, and every level."""
    row = {"mean": statistics.percent(statistics.mean_over_levels(values(cells, name, SOLVED)))}
    return row | {level: statistics.percent(statistics.solve_rate([cells[level, name]])) for level in names(cells, 0)}


def _mean(cells: Cells, name: str, column: str, digits: int = 3) -> str:
    interval = statistics.mean_over_levels(values(cells, name, column))
    return f"{interval.value:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def outcome_table(cells: Cells, what: Mapping[str, str], label: str = "arm") -> pd.DataFrame:
    """Solve rate, return and smoothness of every condition."""
    rows = []
    for name in names(cells, 1):
        row = {label: name, "what": what.get(name, ""), **rate_row(cells, name)}
        rows.append(row | {"return": _mean(cells, name, RETURN), "rms jerk": _mean(cells, name, JERK)})
    return pd.DataFrame(rows)


def gain_table(cells: Cells, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Paired differences of solve rates, mean over levels, with Holm's correction over the table."""
    tests = []
    for candidate, reference in pairs:
        both = zip(values(cells, candidate, SOLVED), values(cells, reference, SOLVED), strict=True)
        tests.append(statistics.paired_test([after - before for after, before in both]))
    adjusted = statistics.holm([test.p_value for test in tests])
    return pd.DataFrame(
        {
            "difference": f"{candidate} - {reference}",
            "solved (points)": statistics.percent(test.interval, signed=True),
            "p (Holm)": statistics.p_text(p),
        }
        for (candidate, reference), test, p in zip(pairs, tests, adjusted, strict=True)
    )


def passes_table(cells: Cells) -> pd.DataFrame:
    """Passes of the main model per query: their mean and the share of every number, averaged over the levels."""
    columns = {column for cell in cells.values() for column in cell.result if column.startswith("passes_")}
    counts = sorted(int(column.removeprefix("passes_")) for column in columns)
    rows = []
    for name in names(cells, 1):
        found = [cells[level, name].result for level in names(cells, 0)]
        shares = {count: np.mean([one.get(f"passes_{count}", 0.0) for one in found]) for count in counts}
        if any(shares.values()):
            row = {"arm": name, "mean passes": f"{np.mean([one['mean_flow_steps'] for one in found]):.2f}"}
            rows.append(row | {count: f"{100 * share:.1f} %" if share else "" for count, share in shares.items()})
    return pd.DataFrame(rows)


def delay_table(cells: Cells) -> pd.DataFrame:
    """Delays in ticks and what they led to, averaged over the levels."""
    columns = {
        "mean_delay": "mean delay (ticks)",
        "d_p95": "d_p95 (ticks)",
        "mean_planned_delay": "planned (ticks)",
        "p_late": "p_late",
        "starved_fraction": "starved",
        "mean_flow_steps": "passes",
    }
    rows = []
    for name in names(cells, 1):
        row = {"system": name}
        for column, heading in columns.items():
            mean = np.mean([cells[level, name].result[column] for level in names(cells, 0)])
            row[heading] = f"{100 * mean:.1f} %" if column in ("p_late", "starved_fraction") else f"{mean:.2f}"
        if name.startswith("flow"):
            row["passes"] = ""
        rows.append(row)
    return pd.DataFrame(rows)


def training_text(runs: Runs, names: Sequence[str]) -> str:
    """Budgets of the policies that are compared, which differ."""
    subject = runner.load_subject(runs.flow, names[0])
    tokens = checkpoints.facts(rsd_arms.policy_path(runs.tokens, "blocks", names[0]))["training"]
    flow = subject.training["training"]
    return (
        f"Flow policy: {flow['num_epochs']} epochs at a constant step size of {flow['learning_rate']:g}, all "
        f"demonstrations. Token policies: {tokens['num_epochs']} epochs, step size {tokens['learning_rate']:g} falling "
        "to 0, a tenth of the episodes held out; several times the flow policy's parameters. `flow_prefix` is the flow "
        "policy's fine-tune."
    )


def depth_figure(cells: Cells, reference: Cells) -> Figure:
    """Solve rate against the number of decoded layers, one line per level; dashed: the flow policy."""
    with matplotlib.rc_context(figures.STYLE):
        canvas, axes = figures.subplots(1, 1, (6.4, 4.0))
        ax, shown = axes[0, 0], names(cells, 0)
        for level in shown:
            color = figures.method_color(level, shown)
            depths = names(cells, 1)
            rates = [statistics.solve_rate([cells[level, depth]]) for depth in depths]
            x = [int(depth.rpartition("_")[2]) for depth in depths]
            ax.plot(x, [100 * rate.value for rate in rates], "o-", color=color, markersize=3, label=level)
            ax.vlines(x, [100 * rate.low for rate in rates], [100 * rate.high for rate in rates], color=color)
            flow = statistics.solve_rate([reference[level, "flow"]])
            ax.axhline(100 * flow.value, color=color, linestyle="--", linewidth=0.8)
        ax.set_xlabel("residual layers decoded (dashed: the flow policy)")
        ax.set_ylabel("episodes solved (%)")
        ax.legend(frameon=False)
    return canvas


def write(root: Path, title: str, sections: Sequence[str], cells: Sequence[Cells], drawn: Mapping[str, Figure]) -> None:
    """Writes summary.md, results.csv, the figures and index.html below `root`."""
    everything = [cell for group in cells for cell in group.values()]
    rows = [
        {"level": level, "condition": name, "timing": cell.cell.profile, **cell.result}
        for group in cells
        for (level, name), cell in group.items()
    ]
    files.atomic_write(root / "results.csv", files.to_csv(pd.DataFrame(rows)))
    for name, canvas in drawn.items():
        figures.save(canvas, root / "figures" / name)
    footer = provenance.cells_origin(everything) + provenance.footer()
    files.atomic_write(root / "summary.md", "\n".join([f"# {title}\n", *sections, footer]))
    web.write(root, title)
    print(f"wrote {root / 'summary.md'}")


def section(heading: str, text: str, table: pd.DataFrame | None = None, picture: str | None = None) -> str:
    """A section of the page."""
    parts = [f"## {heading}\n", text + "\n"]
    if table is not None:
        parts.append(tables.format_table(table) + "\n")
    if picture is not None:
        parts.append(f"![{heading}](figures/{picture}.png)\n")
    return "\n".join(parts)


# --- training -----------------------------------------------------------------------------------------------


def tokenizer_section(tokenizer: Tokenizer, parts: Mapping[str, Chunks], path: Path) -> str:
    """The tokenizer on held-out episodes."""
    facts = checkpoints.facts(path)
    text = (
        f"Trained on chunks of {len(facts['data'])} levels for {facts['seconds']:.0f} s; actions that drive nothing "
        "are 0 and left out of the error. Held-out episodes, levels weighted equally; the largest share that a value "
        "has at a place."
    )
    bound = {name: levels.load(name).bound_actions for name in parts}
    table = token_quality.tokenizer_table(tokenizer, parts, bound)
    return section("Tokenizer", text, table)


def policies_section(
    level: str, policies: Mapping[str, TokenPolicy], tokenizer: Tokenizer, chunks: Chunks, obs: np.ndarray
) -> str:
    """The token policies of a level on held-out episodes."""
    obs = jnp.asarray(obs, jnp.float32)
    rows = [token_quality.baseline_row(tokenizer, chunks)]
    for name, policy in policies.items():
        rows += token_quality.policy_rows(name, policy, tokenizer, chunks, obs)
    text = "Teacher-forced, per layer; `commonest token`: the accuracy of always guessing it."
    return section(level, text, pd.DataFrame(rows).astype(object).fillna(""))


def write_training(root: Path, sections: Sequence[str], started: float) -> None:
    """Writes README.md below `root`; `started` is when the command began, in seconds since the epoch."""
    title = "# RSD: tokenizer and token policies\n"
    files.atomic_write(root / "README.md", "\n".join([title, *sections, provenance.footer(started)]))
    print(f"wrote {root / 'README.md'}")
