"""One self-contained page per run folder: its summary, figures, previews and provenance, for any browser, offline."""

import base64
import html
import mimetypes
import re
from collections.abc import Mapping
from pathlib import Path

import markdown

from rtc.shared import files

STYLE = """\
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, "Noto Sans CJK SC", sans-serif; color: #1b1b1b; margin: 2rem auto; padding: 0 1rem;
  max-width: 72rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.2rem; border-bottom: 1px solid #d9d9d9; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.6rem; border-bottom: 1px solid #e4e4e4; white-space: nowrap; text-align: left; }
th { border-bottom: 2px solid #6b6b6b; } tbody tr:hover { background: #f2f7fb; }
img, video { max-width: 100%; height: auto; } figure { margin: 1.5rem 0; } figcaption { color: #6b6b6b; }
code { background: #f4f4f4; padding: 0.1em 0.3em; overflow-wrap: anywhere; }
summary { cursor: pointer; font-weight: 600; }
"""
MAX_VIDEO_BYTES = 8_000_000


def write(root: Path, title: str, texts: Mapping[str, Path]) -> Path:
    """Writes `<root>/index.html` from Markdown files, their figures, and the videos below `root`; returns its path.

    Args:
        texts: files by language: `en`, and `zh-CN` where there is one.

    Raises:
        FileNotFoundError: a file names an image that does not exist.
    """
    bodies = {language: to_html(path) for language, path in texts.items()}
    parts = [bodies["en"], *(_video(path) for path in sorted(root.glob("**/preview*.mp4")))]
    if "zh-CN" in bodies:
        parts.append(f'<details lang="zh-CN"><summary>中文</summary>{bodies["zh-CN"]}</details>')
    text = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{html.escape(title)}</title><style>{STYLE}</style></head>\n'
        f"<body>\n{''.join(parts)}\n</body></html>\n"
    )
    files.atomic_write(root / "index.html", text)
    return root / "index.html"


def to_html(path: Path) -> str:
    """A Markdown file as HTML, with its images inside."""
    body = markdown.markdown(path.read_text(), extensions=["tables", "fenced_code"])
    body = re.sub(r"<table>.*?</table>", r'<div class="wide">\g<0></div>', body, flags=re.DOTALL)
    return re.sub(r'src="([^":]+)"', lambda match: f'src="{_data_uri(path.parent / match[1])}"', body)


def _data_uri(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _video(path: Path) -> str:
    if path.stat().st_size > MAX_VIDEO_BYTES:
        return f"<p>{html.escape(path.name)} is too large for this page.</p>"
    name = html.escape(str(path.parent.name + "/" + path.name))
    return (
        f'<figure><video controls loop muted src="{_data_uri(path)}"></video><figcaption>{name}</figcaption></figure>'
    )
