"""Self-contained pages of a run folder, one per language: summary, figures and previews, for any browser, offline."""

import base64
import html
import json
import mimetypes
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import markdown
from markdown.extensions.toc import TocExtension, slugify_unicode

from rtc.shared import files

# Suffix of a page's file by its language.
LANGUAGES: Mapping[str, str] = MappingProxyType({"en": "", "zh-CN": ".zh-CN"})
NAMES = {"en": "English", "zh-CN": "中文"}
_WORDS = {
    "en": {"all": "All reports", "contents": "Contents", "preview": "Preview"},
    "zh-CN": {"all": "全部报告", "contents": "目录", "preview": "预览"},
}
STYLE = """\
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, "Noto Sans CJK SC", sans-serif; color: #1b1b1b; margin: 0 auto; padding: 1rem;
  max-width: 86rem; overflow-wrap: anywhere; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.2rem; border-bottom: 1px solid #d9d9d9; }
main { min-width: 0; } main > h1 { margin-top: 0.4rem; }
a { color: #00558a; } p, li, blockquote { max-width: 48rem; }
.top a, .contents li { margin-right: 1rem; }
.contents { font-size: 0.9rem; } .contents h2 { border: 0; margin: 0.6rem 0 0; font-size: 0.9rem; }
.contents ul { margin: 0; padding: 0; list-style: none; display: flex; flex-wrap: wrap; }
.contents li { padding: 0.15rem 0; }
.wide { overflow-x: auto; max-width: 100%; border-right: 1px solid #e4e4e4; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.6rem; border-bottom: 1px solid #e4e4e4; white-space: nowrap; text-align: left;
  overflow-wrap: normal; }
th:first-child, td:first-child { position: sticky; left: 0; background: #fff; white-space: normal; }
th { border-bottom: 2px solid #6b6b6b; } tbody tr:hover, tbody tr:hover td { background: #f2f7fb; }
img, video { max-width: min(100%, 38rem); height: auto; display: block; } figure { margin: 1.5rem 0; }
figcaption, p > em:only-child { color: #555; font-size: 0.9rem; font-style: normal; }
blockquote { margin: 1rem 0; padding: 0.1rem 0.8rem; border-left: 3px solid #d9d9d9; color: #444; font-size: 0.85rem; }
blockquote p { margin: 0.25rem 0; }
code { background: #f4f4f4; padding: 0.1em 0.3em; } pre { overflow-x: auto; }
@media (max-width: 40rem) { th:first-child, td:first-child { max-width: 13rem; } }
@media (min-width: 70rem) {
  .body { display: grid; grid-template-columns: 12rem minmax(0, 1fr); gap: 2.5rem; }
  .contents { position: sticky; top: 1rem; align-self: start; max-height: 95vh; overflow-y: auto; }
  .contents ul { display: block; }
}
"""
MAX_VIDEO_BYTES = 8_000_000


@dataclass(frozen=True)
class Link:
    """A link at the top of a page."""

    text: str
    target: str

    def html(self) -> str:
        return f'<a href="{html.escape(self.target)}">{html.escape(self.text)}</a>'


def write(root: Path, texts: Mapping[str, Path], name: str = "index", *, videos: bool = True) -> Path:
    """Writes `<root>/<name>.html` from Markdown files, their figures, and the videos below `root`; returns its path.

    Args:
        texts: files by language: `en`, and `zh-CN` where there is one, which gets <name>.zh-CN.html.
        name: of the file, without suffix.
        videos: whether to show the previews below `root`.

    Raises:
        FileNotFoundError: a file names an image that does not exist.
    """
    for language, path in texts.items():
        links = [Link(NAMES[other], f"{name}{LANGUAGES[other]}.html") for other in texts if other != language]
        above = root.parent / f"index{LANGUAGES[language]}.html"
        if not above.is_file():
            above = root.parent / "index.html"
        if above.is_file():
            links.insert(0, Link(_WORDS[language]["all"], f"../{above.name}"))
        files.atomic_write(root / f"{name}{LANGUAGES[language]}.html", page(path, language, links, videos))
    return root / f"{name}.html"


def page(path: Path, language: str, links: Sequence[Link], videos: bool = True) -> str:
    """A Markdown file as a page: links, contents, its text, and the videos below its folder."""
    body, headings = to_html(path)
    words, found = _WORDS[language], re.search(r"<h1[^>]*>(.*?)</h1>", body)
    title = re.sub("<[^>]*>", "", found[1]) if found else path.stem
    shown = [_video(video) for video in sorted(path.parent.glob("**/preview*.mp4"))] if videos else []
    if shown:
        body += f'\n<h2 id="preview">{words["preview"]}</h2>\n{"".join(shown)}'
        headings = {**headings, "preview": words["preview"]}
    items = "".join(f'<li><a href="#{name}">{text}</a></li>' for name, text in headings.items())
    contents = f'<nav class="contents"><h2>{words["contents"]}</h2><ul>{items}</ul></nav>\n' if items else ""
    return (
        f'<!doctype html>\n<html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{title}</title><style>{STYLE}</style></head>\n'
        f'<body>\n<nav class="top">{"".join(link.html() for link in links)}</nav>\n'
        f'<div class="{"body" if items else "alone"}">\n{contents}<main>\n{body}\n</main>\n'
        "</div>\n</body></html>\n"
    )


def to_html(path: Path) -> tuple[str, dict[str, str]]:
    """A Markdown file as HTML, with its images inside, and the headings of its sections by their anchors."""
    contents = TocExtension(slugify=slugify_unicode, toc_depth="2-2")
    reader = markdown.Markdown(extensions=["tables", "fenced_code", contents])
    body = reader.convert(path.read_text())
    body = re.sub(r"<table>.*?</table>", r'<div class="wide" tabindex="0">\g<0></div>', body, flags=re.DOTALL)
    body = re.sub(r'src="([^":]+)"', lambda match: f'src="{_data_uri(path.parent / match[1])}"', body)
    body = re.sub(r'href="([^":#]+\.md)"', lambda match: f'href="{_page_of(path.parent, match[1])}"', body)
    return body, {token["id"]: token["name"] for token in reader.toc_tokens}


def _page_of(folder: Path, target: str) -> str:
    """The page of a report where a Markdown file links to its summary; other targets stay."""
    place = re.sub(r"(summary|README)((?:\.zh-CN)?)\.md$", r"index\2.html", target)
    return place if (folder / place).is_file() else target


def _data_uri(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _video(path: Path) -> str:
    if path.stat().st_size > MAX_VIDEO_BYTES:
        return f"<p>{html.escape(path.name)} is too large for this page.</p>"
    note = path.with_suffix(".json")
    about = json.loads(note.read_text()).get("episode", "") if note.is_file() else ""
    return (
        f'<figure><video controls loop muted playsinline src="{_data_uri(path)}"></video>'
        f"<figcaption>{html.escape(about or path.name)}</figcaption></figure>"
    )
