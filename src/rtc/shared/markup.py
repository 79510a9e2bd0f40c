"""Names and messages of others in Markdown: they show as they are and never become HTML."""

import re

# A code span, as Markdown finds it; what is in it shows as it is.
_CODE = re.compile(r"((?<!\\)(`+)(?:.+?)(?<!`)\2(?!`))", re.DOTALL)


def plain(text: str) -> str:
    """A text in which nothing opens a tag or an entity of HTML. A lone < or & stays, and so do code spans."""
    done, parts = 0, []
    for found in _CODE.finditer(text):
        parts += [_escaped(text[done : found.start()]), found[0]]
        done = found.end()
    return "".join([*parts, _escaped(text[done:])])


def _escaped(text: str) -> str:
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", re.sub(r"&(?=#?\w+;)", "&amp;", text))


def code(name: str) -> str:
    """A name as a code span, on one line, whatever is in it."""
    shown = " ".join(name.split())
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    return f"{fence} {shown} {fence}" if "`" in shown else f"`{shown}`"
