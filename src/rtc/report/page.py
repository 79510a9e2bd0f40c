"""The writer of all reports: Markdown with tables and figures, and one self-contained page for a browser."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from rtc.report import web
from rtc.report.figures import style
from rtc.report.web import LANGUAGES
from rtc.shared import files, markup, tables

SUMMARY = "summary"


@dataclass(frozen=True)
class Section:
    """A section of a page.

    Attributes:
        heading: its heading; empty: none.
        parts: texts and tables, in this order.
        figures: names of the figures at its end, or names with their captions.
        terms: lines that explain the terms which come up here first.
    """

    heading: str
    parts: Sequence[str | pd.DataFrame]
    figures: Sequence[str] | Mapping[str, str] = ()
    terms: Sequence[str] = ()

    def markdown(self) -> str:
        """The section as Markdown."""
        heading = [f"## {self.heading}"] if self.heading else []
        texts = [tables.format_table(part) if isinstance(part, pd.DataFrame) else part.strip() for part in self.parts]
        captions = self.figures if isinstance(self.figures, Mapping) else dict.fromkeys(self.figures, "")
        images = [
            f"![{name}](figures/{name}.png)" + (f"\n\n*{caption}*" if caption else "")
            for name, caption in captions.items()
        ]
        terms = ["\n>\n".join(f"> {line}" for line in self.terms)] if self.terms else []
        return "\n\n".join([*heading, *texts, *images, *terms])


@dataclass(frozen=True)
class Page:
    """A page in one language: title, sections, and where everything comes from."""

    title: str
    sections: Sequence[Section]
    origin: str

    def markdown(self) -> str:
        """The page as Markdown; the title may hold a name that the user gave."""
        title = " ".join(markup.plain(self.title).split())
        return "\n\n".join([f"# {title}", *(one.markdown() for one in self.sections), self.origin.strip()]) + "\n"


def write(
    root: Path,
    pages: Mapping[str, Page],
    drawn: Mapping[str, Figure],
    name: str = SUMMARY,
    site: str | None = None,
    videos: bool = True,
) -> Path:
    """Writes the pages and figures/ below `root`, and HTML; returns the file to open first.

    Of what is in figures/, only figures that the pages named before and no longer name go.

    Args:
        pages: by language, see `web.LANGUAGES`; English is always there.
        drawn: figures by name.
        name: file name of the Markdown, without suffix.
        site: file name of the HTML, without suffix. None: index beside a summary, and none beside other pages, such as
            a README, which GitHub shows by itself.
        videos: the HTML holds the previews below `root` too.
    """
    for stem, figure in drawn.items():
        style.save(figure, root / "figures" / stem)
    texts = {language: root / f"{name}{LANGUAGES[language]}.md" for language in pages}
    before = _shown(path.read_text() for path in texts.values() if path.is_file())
    for language, page in pages.items():
        files.atomic_write(texts[language], page.markdown())
    for stem in before - _shown(path.read_text() for path in texts.values()) - set(drawn):
        for suffix in (".png", ".svg"):
            (root / "figures" / f"{stem}{suffix}").unlink(missing_ok=True)
    site = "index" if site is None and name == SUMMARY else site
    return texts["en"] if site is None else web.write(root, texts, site, videos=videos)


def _shown(texts: Iterable[str]) -> set[str]:
    """Names of the figures in Markdown that `Section.markdown` wrote."""
    return {
        stem for text in texts for stem in re.findall(r"^!\[[^\]]*\]\(figures/([^/)]+)\.png\)$", text, re.MULTILINE)
    }
