"""The report of a study: the sections and figures that it chose, from its finished cells."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from rtc.report import figures, losses, page, sections, study_tables, words
from rtc.report.page import Page
from rtc.report.sections import Context
from rtc.shared import files, provenance
from rtc.study.layout import Section
from rtc.study.outcome import Outcome
from rtc.study.study import Study

DEFAULT = tuple(map(Section, ("question", "comparisons", "discussion", "figures", "arms", "costs", "levels")))


def write(study: Study, outcome: Outcome, root: Path) -> Path:
    """Writes results_all.csv, summary.md, figures/ and index.html below `root`; returns the file to open first.

    A study with Chinese texts also gets summary.zh-CN.md, one with a section `seeds` summary.csv, one with a section
    `losses` losses.csv.

    Raises:
        ValueError: there are no finished cells.
    """
    root = Path(root)
    if not outcome.cells:
        raise ValueError(f"{root} holds no finished cells of this study: run it without --report-only")
    files.atomic_write(root / "results_all.csv", files.to_csv(_own_rows(outcome)))
    if any(section.kind == "seeds" for section in study.sections):
        keys = [one.key for one in study.arms]
        files.atomic_write(root / "summary.csv", files.to_csv(study_tables.seed_summary(outcome, keys)))
    if any(section.kind == "losses" for section in study.sections):
        files.atomic_write(root / "losses.csv", files.to_csv(losses.rows(outcome).round(5)))
    drawn = {name: figures.DRAWN[name](study, outcome) for name in _figures(study)}
    drawn = {name: figure for name, figure in drawn.items() if figure is not None}
    pages = {"en": _page(study, outcome, root, list(drawn), chinese=False)}
    if study.question_zh:
        pages["zh-CN"] = _page(study, outcome, root, list(drawn), chinese=True)
    return page.write(root, pages, drawn)


def _own_rows(outcome: Outcome) -> pd.DataFrame:
    """The result rows of the cells that belong to this study and not to another one."""
    borrowed = {one.key for one in outcome.study.arms if one.root is not None}
    rows = outcome.rows()
    return rows[[key not in borrowed for key in zip(rows["profile"], rows["method"], strict=True)]]


def tables(study: Study, outcome: Outcome) -> dict[str, pd.DataFrame]:
    """The tables of the page, by the heading of their section, for a tracker."""
    found = {}
    for section in _page(study, outcome, Path(), (), chinese=False).sections:
        for part in section.parts:
            if isinstance(part, pd.DataFrame):
                name = section.heading.lower().replace(" ", "_")
                found[name if name not in found else f"{name}_{len(found)}"] = part
    return found


def _figures(study: Study) -> list[str]:
    return list(dict.fromkeys((*study.figures, *(name for section in study.sections for name in section.figures))))


def _page(study: Study, outcome: Outcome, root: Path, drawn: Sequence[str], *, chinese: bool) -> Page:
    written = []
    for section in study.sections or DEFAULT:
        text = section.text_zh if chinese and section.text_zh else section.text
        parts = sections.WRITERS[section.kind](Context(outcome, root, section, chinese, drawn))
        if parts or (section.kind == "text" and text):
            given = section.heading_zh if chinese and section.heading_zh else section.heading
            heading = given or words.heading(section.kind, chinese)
            shown = [name for name in section.figures if name in drawn]
            written.append(page.Section(heading, [*([text] if text else []), *parts], shown))
    cells = [cell for found in outcome.cells.values() for cell in found]
    title = study.title_zh if chinese and study.title_zh else study.title
    return Page(title, written, provenance.cells_origin(cells) + provenance.footer())
