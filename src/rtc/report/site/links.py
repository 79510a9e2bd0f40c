"""Links between the repository's Markdown files, as they have to be in the site."""

import os
import re
from collections.abc import Callable
from pathlib import PurePosixPath

# A fenced block, a span of code, or a link or image with its target; the first two are left alone.
_PIECE = re.compile(
    r"(?P<fence>^```.*?^```[^\n]*$)|(?P<code>`[^`\n]+`)|(?P<link>!?\[(?P<text>[^\]]*)\]\((?P<to>[^)\s]+)\))",
    re.DOTALL | re.MULTILINE,
)
_OUTSIDE = ("http:", "https:", "mailto:", "#", "data:")


def rewrite(text: str, source: str, page: str, place: Callable[[str], str | None]) -> str:
    """A file's Markdown with the targets of its links moved to where they are in the site.

    Args:
        text: the file's content.
        source: its path in the repository.
        page: its path in the site.
        place: where a file of the repository is in the site; None where it is not, whose links become their text.
    """

    def moved(match: re.Match[str]) -> str:
        if match["link"] is None or match["to"].startswith(_OUTSIDE):
            return match[0]
        target, hash_mark, anchor = match["to"].partition("#")
        found = place(_resolved(source, target))
        if found is None:
            return match["text"]
        return f"{match['link'][: -len(match['to']) - 1]}{relative(found, page)}{hash_mark}{anchor})"

    return _PIECE.sub(moved, text)


def relative(target: str, page: str) -> str:
    """The way from a page to a file, both paths in the site."""
    return os.path.relpath(target, str(PurePosixPath(page).parent)).replace(os.sep, "/")


def _resolved(source: str, target: str) -> str:
    """The repository's path of a link's target, which is relative to its file."""
    return os.path.normpath(str(PurePosixPath(source).parent / target)).replace(os.sep, "/")
