"""The terms of reports and documentation, from glossary.toml: `python -m rtc.report.glossary` prints them as Markdown.

`explain` gives a line for each term that a text uses and that was not explained before.
"""

import functools
import re
from dataclasses import dataclass
from pathlib import Path

from rtc.shared import toml

_SOURCE = Path(__file__).with_name("glossary.toml")
_LINKS = re.compile(r"\]\([^)]*\)|https?://\S+")


@dataclass(frozen=True)
class Term:
    """A term and what it means.

    Attributes:
        term, zh: its name in English and Chinese.
        en_text, zh_text: what it means, in half a sentence.
        words, words_zh: how texts call it, as regular expressions; empty: by its name.
    """

    term: str
    en_text: str
    zh_text: str
    zh: str = ""
    words: tuple[str, ...] = ()
    words_zh: tuple[str, ...] = ()

    def line(self, chinese: bool) -> str:
        """The line that explains it."""
        name = (self.zh or self.term) if chinese else self.term
        return f"**{name}**：{self.zh_text}。" if chinese else f"**{name}**: {self.en_text}."

    def used(self, text: str, chinese: bool) -> bool:
        """Whether a text uses it."""
        own = self.words_zh or ((self.zh,) if self.zh else ())
        words = (own if chinese else ()) or self.words or (re.escape(self.term),)
        return any(re.search(_whole(word), text) for word in words)


def _whole(word: str) -> str:
    """The pattern as a word of its own; Chinese has no spaces between words."""
    return word if re.match(r"[^\x00-\x7f]", word) else rf"(?<![\w])(?:{word})(?!\w)"


@functools.cache
def terms() -> tuple[Term, ...]:
    """All terms, in the order of the file."""
    tables = toml.named_tables(_SOURCE)
    return tuple(toml.fill(Term("", "", ""), table, f"{_SOURCE}, {name}") for name, table in tables.items())


def explain(text: str, known: set[str], chinese: bool) -> list[str]:
    """A line for each term that `text` uses and that is not known yet; adds them to `known`."""
    plain = _LINKS.sub("]", text)
    found = [one for one in terms() if one.term not in known and one.used(plain, chinese)]
    known.update(one.term for one in found)
    return [one.line(chinese) for one in found]


def page(chinese: bool = False) -> str:
    """All terms as a Markdown list."""
    return "\n".join(f"- {one.line(chinese)}" for one in terms())
