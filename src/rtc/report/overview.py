"""The page above all reports: what each asks and answers, with links to its page and data, in both languages."""

import posixpath
import re
from dataclasses import dataclass
from pathlib import Path

from rtc.report import answers, web, words
from rtc.report.page import SUMMARY
from rtc.report.web import LANGUAGES, Link
from rtc.shared import files

_TITLE = ("Results", "结果")
_ABOUT = (
    "What the benchmark's studies and measurements found, and the data behind them. "
    "Made by `python exp/list_reports.py`.",
    "本基准的研究与测量结果及其数据。由 `python exp/list_reports.py` 生成。",
)
_REPORTS, _PAGES = ("Reports", "报告"), ("Measurements", "测量")
_PAGE = ("page", "网页")


@dataclass(frozen=True)
class Entry:
    """A report: its folder and, as its summary has them, title, question and answer."""

    folder: Path
    title: str
    question: str
    answer: str


def entry(folder: Path, chinese: bool) -> Entry:
    """What the summary of a folder says; in English where there is no Chinese one."""
    chinese = chinese and (folder / f"{SUMMARY}{LANGUAGES['zh-CN']}.md").is_file()
    text = (folder / f"{SUMMARY}{LANGUAGES['zh-CN'] if chinese else ''}.md").read_text()
    blocks = [block.strip() for block in re.split(r"\n\s*\n", text)]
    title = next((block[2:] for block in blocks if block.startswith("# ")), folder.name)
    heading, mark = f"## {words.heading('lead', chinese)}", answers.MARK[chinese]
    after = blocks[blocks.index(heading) + 1] if heading in blocks[:-1] else ""
    lacks = after.startswith((mark, words.text("unanswered", chinese)))
    answer = next((block.removeprefix(mark).strip() for block in blocks if block.startswith(mark)), "")
    return Entry(folder, title, "" if lacks else _from_above(after, folder), _from_above(answer, folder))


def _from_above(text: str, folder: Path) -> str:
    """A text of a folder with its links as they are from the folder above."""

    def target(match: re.Match) -> str:
        return f"]({posixpath.normpath(f'{folder.name}/{match[1]}')})"

    return re.sub(r"\]\((?!https?:|#)([^)]+)\)", target, text)


def markdown(root: Path, chinese: bool) -> str:
    """The list of the reports below `root`, and of the measurements in it."""
    folders = sorted(path.parent for path in root.glob(f"*/{SUMMARY}.md"))
    pages = [path for path in sorted(root.glob("*.md")) if not path.name.startswith("README")]
    parts = [f"# {_TITLE[chinese]}", _ABOUT[chinese], f"## {_REPORTS[chinese]}"]
    parts += [_item(entry(folder, chinese), chinese) for folder in folders]
    if pages:
        named = [f"- [{_title(path)}]({path.name})" for path in pages]
        parts += [f"## {_PAGES[chinese]}", "\n".join(named)]
    return "\n\n".join(parts) + "\n"


def _item(one: Entry, chinese: bool) -> str:
    name, suffix = one.folder.name, LANGUAGES["zh-CN"] if chinese else ""
    text = f"{SUMMARY}{suffix}.md"
    target = f"{name}/{text if (one.folder / text).is_file() else f'{SUMMARY}.md'}"
    data = [file for file in words.DATA if (one.folder / file).is_file()]
    links = [f"[{file}]({name}/{file})" for file in data]
    if (one.folder / "index.html").is_file():
        links.insert(0, f"[{_PAGE[chinese]}]({name}/index.html)")
    answer = words.text("unanswered", chinese) if one.question else ""
    if one.answer:
        answer = f"{answers.MARK[chinese]} {one.answer}"
    parts = (f"### [{one.title}]({target})", one.question, answer, " · ".join(links))
    return "\n\n".join(part for part in parts if part)


def _title(path: Path) -> str:
    found = re.search(r"^# (.+)", path.read_text(), re.MULTILINE)
    return found[1] if found else path.stem


def write(root: Path) -> Path:
    """Writes README.md and index.html below `root`, and both in Chinese; returns the file to open first.

    Raises:
        ValueError: there are no reports.
    """
    if not any(root.glob(f"*/{SUMMARY}.md")):
        raise ValueError(f"{root} holds no reports: give the folder that has those of the studies in it")
    for language, suffix in LANGUAGES.items():
        path = root / f"README{suffix}.md"
        files.atomic_write(path, markdown(root, language != "en"))
        links = [Link(web.NAMES[other], f"index{end}.html") for other, end in LANGUAGES.items() if other != language]
        files.atomic_write(root / f"index{suffix}.html", web.page(path, language, links, videos=False))
    return root / "index.html"
