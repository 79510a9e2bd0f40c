"""The report of a study: the sections and figures that it chose, from its finished cells."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from rtc.report import figures, glossary, losses, page, sections, study_tables, words
from rtc.report.page import Page
from rtc.report.sections import Context
from rtc.shared import files, provenance
from rtc.study.layout import Drawing, Section, drawings
from rtc.study.outcome import Outcome
from rtc.study.study import Study

# The head of every report.
_LEAD = Section("text")
# The figures that were drawn, by what asked for them.
Stems = Mapping[Drawing, Sequence[str]]
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
    drawn = {one: figures.draw(study, outcome, one) for one in _drawings(study)}
    stems = {one: tuple(found) for one, found in drawn.items()}
    pages = {"en": _page(study, outcome, root, stems, chinese=False)}
    if study.question_zh:
        pages["zh-CN"] = _page(study, outcome, root, stems, chinese=True)
    return page.write(root, pages, {stem: figure for found in drawn.values() for stem, figure in found.items()})


def _own_rows(outcome: Outcome) -> pd.DataFrame:
    """The result rows of the cells that belong to this study and not to another one."""
    borrowed = {one.key for one in outcome.study.arms if one.root is not None}
    rows = outcome.rows()
    return rows[[key not in borrowed for key in zip(rows["profile"], rows["method"], strict=True)]]


def tables(study: Study, outcome: Outcome) -> dict[str, pd.DataFrame]:
    """The tables of the page, by the heading of their section, for a tracker."""
    found = {}
    for section in _page(study, outcome, Path(), {}, chinese=False).sections:
        for part in section.parts:
            if isinstance(part, pd.DataFrame):
                name = section.heading.lower().replace(" ", "_")
                found[name if name not in found else f"{name}_{len(found)}"] = part
    return found


def _drawings(study: Study) -> list[Drawing]:
    """The figures of a study: its own, then those of its sections."""
    placed = [Drawing(kind) for section in study.sections for kind in section.figures]
    return list(dict.fromkeys([*drawings(study.figures), *placed]))


def _page(study: Study, outcome: Outcome, root: Path, stems: Stems, *, chinese: bool) -> Page:
    names, known = [stem for found in stems.values() for stem in found], set()
    first = names[:1]
    written = []
    for section in (_LEAD, *(study.sections or DEFAULT)):
        context = Context(outcome, root, section, chinese, names)
        text = section.text_zh if chinese and section.text_zh else section.text
        writer = sections.lead if section is _LEAD else sections.WRITERS[section.kind]
        parts = [*([text] if text else []), *writer(context)]
        shown = _shown(study, section, stems, chinese)
        shown = {stem: caption for stem, caption in shown.items() if (stem in first) == (section is _LEAD)}
        if parts or shown:
            given = section.heading_zh if chinese and section.heading_zh else section.heading
            found = page.Section(
                given or words.heading("lead" if section is _LEAD else section.kind, chinese), parts, shown
            )
            written.append(dataclasses.replace(found, terms=glossary.explain(found.markdown(), known, chinese)))
    written.append(page.Section(words.heading("data", chinese), [data(root, chinese)]))
    cells = [cell for found in outcome.cells.values() for cell in found]
    title = study.title_zh if chinese and study.title_zh else study.title
    return Page(title, written, provenance.cells_origin(cells) + provenance.footer())


def _shown(study: Study, section: Section, stems: Stems, chinese: bool) -> dict[str, str]:
    """The figures of a section, each with its caption; at the head of the report and in "figures" the study's own."""
    placed = {kind for one in study.sections for kind in one.figures}
    found = {}
    for one, names in stems.items():
        own = one in drawings(study.figures) and one.stem not in placed
        if section is _LEAD or (section.kind == "figures" and own) or one.stem in section.figures:
            given = one.caption_zh if chinese and one.caption_zh else one.caption
            text = " ".join(part for part in (given, words.caption(one.kind, chinese)) if part)
            found |= dict.fromkeys(names, text)
    return found


def data(root: Path, chinese: bool) -> str:
    """Links to the files of a report, to what their columns mean, and to the other reports."""
    lines = [f"- [{name}]({name}): {about[chinese]}" for name, about in words.DATA.items() if (root / name).is_file()]
    overview = "README.zh-CN.md" if chinese else "README.md"
    beside = {
        "../../docs/metrics.md": ("what the columns mean", "各列的含义"),
        f"../{overview}": ("all reports", "全部报告"),
    }
    lines += [f"- [{about[chinese]}]({target})" for target, about in beside.items() if (root / target).is_file()]
    return "\n".join(lines)
