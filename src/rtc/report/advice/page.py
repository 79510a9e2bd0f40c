"""The page of advice, from its sections."""

from pathlib import Path

from rtc.report import page
from rtc.report.advice.answer import headline
from rtc.report.advice.delays import delays
from rtc.report.advice.facts import Advice
from rtc.report.advice.results import STEM, ranks, table, tail_costs
from rtc.report.advice.settings import section
from rtc.report.advice.training import training
from rtc.report.advice.trials import trials
from rtc.report.advice.trust import trust
from rtc.report.figures import advice as figure
from rtc.report.figures import latency_log
from rtc.report.page import Page, Section
from rtc.shared import files, provenance
from rtc.shared.markup import plain


def absent(advice: Advice) -> list[Section]:
    """Methods that were not run."""
    said = [f"- `{name}`: {plain(why)}" for name, why in advice.left_out.items()]
    said += [f"- `{name}`: no time was left; the same command adds it" for name in advice.unfinished]
    return [Section("What was not compared", ["\n".join(said)])] if said else []


def write(advice: Advice, root: Path, started: float) -> Path:
    """Writes advice.md, advice.html, advice.csv and figures/ below `root`; returns the file to open first."""
    files.atomic_write(root / f"{STEM}.csv", files.to_csv(table(advice)))
    drawn = {
        "ranking": figure.draw(advice.ranked, advice.outcome, advice.recommended),
        "delays": latency_log.draw(advice.log, advice.found),
    }
    sections = [
        headline(advice),
        delays(advice),
        ranks(advice),
        tail_costs(advice),
        section(advice.recommended.arm, advice.untrained and advice.untrained.arm, advice.scale),
        *training(advice),
        trials(advice),
        trust(advice),
        *absent(advice),
    ]
    cells = [cell for found in advice.outcome.cells.values() for cell in found]
    origin = provenance.cells_origin(cells) + provenance.footer(started)
    text = Page(f"Advice for {Path(advice.log.path).name}", sections, origin)
    return page.write(root, {"en": text}, drawn, name=STEM, site=STEM, videos=False)
