"""The report of a latency log: tables, figure, facts as JSON, and the trace that evaluations replay."""

import dataclasses
import json
import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rtc.delay.logs import DelayLog, Description, trace_table
from rtc.delay.logs.description import LEAST_FOR_TREND
from rtc.delay.logs.record import WARM_UP_FACTOR
from rtc.report.figures import latency_log, style
from rtc.report.page import Page, Section
from rtc.shared import files, provenance, tables
from rtc.shared.markup import code, plain

FACTS, TRACE, STEM = "latency.json", "trace.csv", "latency"
_ENDINGS = (".md", ".png", ".svg")
_ELSEWHERE = "give another --output-dir, or --overwrite to replace it"
MOST_ROWS = 20
INDEPENDENCE = """\
The trend's interval and the test take delays for independent: where the autocorrelation leaves its band, both claim
more than they know.
"""


def summary(log: DelayLog, found: Description) -> pd.DataFrame:
    """What the series is like, a quantity per row."""
    rows = [
        ("delays", f"{found.count}"),
        *((name, f"{getattr(found, name):.4g} ms") for name in ("mean", "median", "p95", "p99", "longest")),
    ]
    if found.autocorrelation:
        others = {lag: value for lag, value in found.autocorrelation.items() if lag != 1}
        rows += [
            ("autocorrelation at lag 1", tables.number(found.autocorrelation[1], 2, signed=True)),
            *((f"at lag {lag}", tables.number(value, 2, signed=True)) for lag, value in others.items()),
            ("of the ranks, at lag 1", tables.number(found.ranks, 2, signed=True)),
            ("independent delays: 95 % within", f"±{found.band:.2f}"),
        ]
    if found.trend is None or found.drift is None:
        rows.append(("trend and drift", f"n/a: fewer than {LEAST_FOR_TREND} delays"))
    else:
        slope = f"{found.trend.slope:+.3g} [{found.trend.low:+.3g}, {found.trend.high:+.3g}]"
        rows.append(("trend (Theil–Sen, 95 %)", f"{slope} ms per {found.trend.per}"))
        medians = f"{found.drift.first_ms:.4g} and {found.drift.last_ms:.4g} ms"
        rows.append(("median of the first and last third", f"{medians} (Mann–Whitney p {_p(found.drift.p)})"))
    return pd.DataFrame(rows, columns=["quantity", "value"])


def _p(value: float) -> str:
    text = tables.p_value(value)
    return text if text.startswith("<") else f"= {text}"


def histogram(found: Description) -> pd.DataFrame:
    """d = ceil(latency · hz) by delay in ticks, and the share of delays longer than so many control periods."""
    rows = [
        {
            "d (ticks)": str(d),
            "up to (ms)": 1000 * d / found.hz,
            "queries": count,
            "share (%)": 100 * count / found.count,
            "longer (%)": 100 * found.longer(d),
        }
        for d, count in found.ticks.items()
    ]
    if len(rows) > MOST_ROWS:
        rest = rows[MOST_ROWS - 1 :]
        count = sum(row["queries"] for row in rest)
        gathered = {"d (ticks)": f"{rest[0]['d (ticks)']}–{rest[-1]['d (ticks)']}", "queries": count}
        rows = [*rows[: MOST_ROWS - 1], {**rest[-1], **gathered, "share (%)": 100 * count / found.count}]
    return pd.DataFrame(rows)


def left_out(log: DelayLog) -> pd.DataFrame:
    """What was left out: reason, number and the first few."""
    rows = [(one.reason, one.count, "; ".join(one.examples)) for one in log.left_out]
    return pd.DataFrame(rows, columns=["left out", "entries", "the first of them"])


@dataclass(frozen=True)
class Replay:
    """How a trace can be replayed.

    Attributes:
        program: how an evaluation is started.
        run_path: run of a policy.
        chunk: its chunk size.
    """

    program: tuple[str, ...]
    run_path: str
    chunk: int

    def command(self, root: Path, hz: float) -> str:
        """The command that evaluates the policy under the delays of the trace in `root`, at a control rate."""
        policy = ["--run-path", self.run_path, "--level-paths", "grasp_easy", "--config.num-evals", "256"]
        profile = {"mode": "trace", "trace-path": str(root / TRACE), "trace-order": "replay", "dt-ms": repr(1000 / hz)}
        delays = [word for name, value in profile.items() for word in (f"--config.delay-profile.{name}", value)]
        return shlex.join([*self.program, *policy, *delays, "--output-dir", str(root / "replay")])


def sections(log: DelayLog, found: Description, replay: Replay, root: Path) -> list[Section]:
    """What is printed and written: the log, what was left out, the description, the ticks, how to replay them."""
    taken = f"{code(log.path)}, read as `{log.format}`: {plain(log.chosen)}. A delay is {plain(log.measures)}."
    entries = found.count + sum(one.count for one in log.left_out)
    counts = f"{log.lines} lines, {entries} of them about a delay; {found.count} delays were kept."
    rule = (
        f"Warm-up: leading delays above {WARM_UP_FACTOR:g} times the median, at most a tenth of the log. "
        "`--keep-warm-up` and `--keep-first` leave them in."
    )
    out = [left_out(log), rule] if log.left_out else ["Nothing was left out."]
    notes = "\n".join(f"- {plain(note)}" for note in log.notes)
    step = f"d = ceil(latency · {found.hz:g} Hz), the delay in control ticks of {1000 / found.hz:.4g} ms."
    if found.uncertain:
        step += f" For {100 * found.uncertain:.2g} % of the delays the log's resolution leaves open which of two it is."
    return [
        Section("", [taken, counts, *out, *([notes] if notes else [])]),
        Section("The series", [summary(log, found), *([] if found.trend is None else [INDEPENDENCE])]),
        Section("In ticks", [step, histogram(found)]),
        Section("Replay", [_how_to_replay(found, replay), f"```bash\n{replay.command(root, found.hz)}\n```"]),
    ]


def _how_to_replay(found: Description, replay: Replay) -> str:
    return (
        f"`{TRACE}` holds the delays in their order. With a policy of this repository, whose chunks hold "
        f"{replay.chunk} actions ({100 * found.longer(replay.chunk):.1f} % of the delays are longer):"
    )


def facts(log: DelayLog, found: Description, started: float) -> dict[str, Any]:
    """Everything but the delays themselves, as plain data; what is not a number is null."""
    described = dataclasses.asdict(found)
    for name in ("trend", "drift"):
        value = getattr(found, name)
        described[name] = None if value is None else value._asdict()
    described["longer"] = {d: found.longer(d) for d in found.ticks}
    source = {
        field.name: getattr(log, field.name)
        for field in dataclasses.fields(log)
        if field.name not in ("latency_ms", "time_s", "left_out")
    }
    source["left_out"] = [dataclasses.asdict(one) for one in log.left_out]
    return _plain({"log": source, "description": described, **provenance.provenance(started)})


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def require_own(root: Path, log: DelayLog, *, overwrite: bool = False) -> None:
    """Checks that what a report would replace in `root` is the report of the same delays.

    Args:
        root: folder of the report.
        log: what it would be of.
        overwrite: whether anything but the log itself may be replaced.

    Raises:
        ValueError: the log itself is in the way, or another report, or files that are no report.
    """
    there = [root / name for name in (FACTS, TRACE, *(f"{STEM}{end}" for end in _ENDINGS)) if (root / name).exists()]
    if any(path.samefile(log.path) for path in there):
        raise ValueError(f"{log.path} is the log itself, and the report would replace it: give another --output-dir")
    if overwrite or not there:
        return
    if root / FACTS not in there:
        raise ValueError(f"{there[0]} is not of a report of a log. Nothing was changed: {_ELSEWHERE}")
    try:
        known = json.loads((root / FACTS).read_text())["log"]["sha256"]
    except (ValueError, KeyError, TypeError):
        known = None
    if known != log.sha256:
        raise ValueError(
            f"{root / FACTS} is of another log, or of this one before it changed. Nothing was changed: {_ELSEWHERE}"
        )
    if root / TRACE in there and (root / TRACE).read_text() != files.to_csv(trace_table(log.latency_ms)):
        raise ValueError(
            f"{root / TRACE} has other delays of this log, read with other flags. Nothing was changed: {_ELSEWHERE}"
        )


def write(log: DelayLog, found: Description, replay: Replay, root: Path, started: float) -> Path:
    """Writes latency.json, latency.md, latency.png and .svg, and trace.csv below `root`; returns latency.md."""
    files.atomic_write(root / TRACE, files.to_csv(trace_table(log.latency_ms)))
    style.save(latency_log.draw(log, found), root / STEM)
    files.atomic_write(root / FACTS, json.dumps(facts(log, found, started), indent=2, ensure_ascii=False) + "\n")
    parts = sections(log, found, replay, root)
    picture = Section("", [f"![the delays]({STEM}.png)"])
    page = Page("Delays of a latency log", [*parts[:2], picture, *parts[2:]], provenance.footer(started))
    files.atomic_write(root / f"{STEM}.md", page.markdown())
    return root / f"{STEM}.md"
