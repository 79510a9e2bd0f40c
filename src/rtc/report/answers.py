"""What a report begins with: the question, its answer, what limits that, and one figure."""

import re
from pathlib import Path

from rtc.shared.files import PathLike

DISCUSSION = {False: "discussion.md", True: "discussion.zh-CN.md"}
MARK = {False: "**Answer.**", True: "**回答。**"}


def discussion(root: PathLike, chinese: bool) -> str:
    """What was written about the results in `<root>/discussion.md`, without the answer; "" where there is nothing."""
    return _parts(root, chinese)[1]


def answer(root: PathLike, chinese: bool) -> str | None:
    """The first paragraph of the discussion where it is marked as the answer; None where none was written."""
    return _parts(root, chinese)[0]


def _parts(root: PathLike, chinese: bool) -> tuple[str | None, str]:
    path = Path(root) / DISCUSSION[chinese]
    text = path.read_text().strip() if path.is_file() else ""
    first, *rest = re.split(r"\n\s*\n", text, maxsplit=1)
    if not first.startswith(MARK[chinese]):
        return None, text
    return first.removeprefix(MARK[chinese]).strip(), "".join(rest)
