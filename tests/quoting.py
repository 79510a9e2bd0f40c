"""Numbers that pages quote, and the cells of tables that they are quoted from.

A page's file in `goldens/quotes/` has its quotes: text of the page, and for every number in it a reference,
`table | row | columns`:

- table: a name from `sources` (a Markdown or CSV file), perhaps `#` and a part of the table's title (the heading or the
  bold line before it);
- row: cells that the row has, `column=value` and `column!=value` (`value/value` for any of them) among them, separated
  by `;`. Of several rows of a CSV file the mean is taken, of a Markdown file there has to be one;
- columns: one or more, separated by `;`, each for one number; a unit in parentheses may be left out.

Before a reference `-` negates, behind it `x100` multiplies; `A minus B` subtracts. `groups | candidate | reference |
column` is the paired difference of two groups of cells. A number's interval in brackets is compared with the cell's.
"""

import csv
import functools
import re
import statistics
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from rtc.programs import compare_groups
from rtc.study import pairs

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(__file__).parent / "goldens/quotes"
NUMBER = (
    r"(?:(?<![\w.,])[+\u2212-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?"
    r"|(?<![\w.])[+\u2212-]?\d+(?:\.\d+)?(?:e[+-]\d+)?(?![\w]))"
)
INTERVAL = re.compile(rf"\[({NUMBER}), ({NUMBER})\]")
# Not measured: code, addresses, identifiers of papers, names of delays and horizons.
NEVER = (
    r"```.*?```",
    r"`[^`\n]*`",
    r"\]\([^)]*\)",
    r"<!--.*?-->",
    r"https?://\S+",
    r"\b\d{4}\.\d{5}\b",
    r"\b[dsHLqt] ?= ?\d+(?:\.\d+)?(?:(?:, | and | or |、| \u2026 | 和 | 或 )\d+(?![\d.]| ?%| points))*",
)
MEASURED = re.compile(
    rf"\[{NUMBER}, {NUMBER}\]|(?<![\w.])[+\u2212]?\d+\.\d+|(?<![\w.])[+\u2212]?\d+(?= ?(?:%|points?\b|pp\b|个?百分点))"
)


@dataclass(frozen=True)
class Value:
    """A number and its interval, if the cell has one."""

    number: float
    low: float | None = None
    high: float | None = None

    def scaled(self, factor: float) -> "Value":
        ends = [None if end is None else factor * end for end in (self.low, self.high)]
        return Value(factor * self.number, *(reversed(ends) if factor < 0 else ends))


@dataclass(frozen=True)
class Table:
    """A table with its title and the names of its columns."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def column(self, name: str) -> int | None:
        """The place of a column, by its name with or without its unit."""
        for header in (self.header, tuple(one.partition(" (")[0] for one in self.header)):
            if name in header:
                return header.index(name)
        return None


@dataclass(frozen=True)
class Page:
    """What a file of quotes says.

    Attributes:
        page: the page, relative to the repository.
        translation: its Chinese edition, with the same numbers paragraph by paragraph, or "".
        sources: files by short name.
        quotes: texts, each with its references.
        allowed: texts with numbers that no table holds, and why.
    """

    page: str
    translation: str = ""
    sources: dict[str, str] = field(default_factory=dict)
    quotes: list[list[str]] = field(default_factory=list)
    allowed: list[list[str]] = field(default_factory=list)


def read_pages() -> list[Page]:
    return [Page(**tomllib.loads(path.read_text())) for path in sorted(FOLDER.glob("*.toml")) if path.stem != "all"]


@functools.cache
def allowed_everywhere() -> tuple[str, ...]:
    """Patterns of settings that any page may name; `all.toml` has the reasons."""
    return tuple(pattern for pattern, _ in tomllib.loads((FOLDER / "all.toml").read_text())["allowed"])


def flat(text: str) -> str:
    """A page's text without line breaks inside paragraphs."""
    return re.sub(r"[ \n]*\n[ ]*(?!\n)|[ ]+", " ", text.replace("\n\n", "\x00")).replace("\x00", "\n\n")


def masked(text: str, patterns: tuple[str, ...]) -> str:
    """The text with blanks where a pattern matches, so that places stay the same."""
    for pattern in patterns:
        text = re.sub(pattern, lambda found: " " * len(found.group()), text, flags=re.DOTALL)
    return text


@functools.cache
def tables(path: str) -> tuple[Table, ...]:
    """The tables of a Markdown or CSV file below the repository."""
    if path.endswith(".csv"):
        with (ROOT / path).open(newline="") as file:
            header, *rows = csv.reader(file)
        return (Table("", tuple(header), tuple(map(tuple, rows))),)
    found, title, block = [], "", []
    for line in [*(ROOT / path).read_text().splitlines(), ""]:
        if line.startswith("|"):
            block.append(tuple(cell.strip().strip("`") for cell in line.strip().strip("|").split("|")))
        else:
            if len(block) > 2:
                found.append(Table(title, block[0], tuple(block[2:])))
            block = []
            if re.match(r"#|\*\*|`.*`:$", line):
                title = line
    return tuple(found)


def parse(cell: str) -> Value:
    """Number and interval of a cell such as `99.4 ± 0.3 [98.8, 99.7]` or `+3.7 [+2.6, +5.0] *`."""
    interval = INTERVAL.search(cell)
    number = re.search(NUMBER, cell)
    if number is None:
        raise ValueError(f"no number in the cell {cell!r}")
    return Value(as_float(number.group()), *map(as_float, interval.groups() if interval else ()))


def as_float(text: str) -> float:
    return float(text.replace(",", "").replace("\u2212", "-"))


def matches(table: Table, row: tuple[str, ...], wanted: list[str]) -> bool:
    """Whether a row is meant."""
    for one in wanted:
        name, equals, value = one.partition("=")
        negated = name.endswith("!")
        if equals and name.rstrip("!") in table.header:
            if (row[table.header.index(name.rstrip("!"))] in value.split("/")) == negated:
                return False
        elif one not in row:
            return False
    return True


def look_up(sources: dict[str, str], reference: str) -> list[Value]:
    """The values of a reference, one per column.

    Raises:
        ValueError: there is no such file, row or column, or it is not the only one.
    """
    if " minus " in reference:
        left, right = (look_up(sources, part)[0] for part in reference.split(" minus "))
        return [Value(left.number - right.number)]
    if reference.startswith("-"):
        return [value.scaled(-1) for value in look_up(sources, reference[1:])]
    reference, hundred, _ = reference.partition(" x100")
    place, *parts = (part.strip() for part in reference.split(" | "))
    if place == "groups":
        return [group_difference(*parts).scaled(100 if hundred else 1)]
    name, _, title = place.partition("#")
    if name not in sources or len(parts) != 2:
        raise ValueError(f"{reference!r}: write `table | row | columns` with a table from sources")
    wanted = [cell.strip() for cell in parts[0].split(";") if cell.strip()]
    values = [_cell(sources[name], title, wanted, column.strip()) for column in parts[1].split(";")]
    return [value.scaled(100) for value in values] if hundred else values


def _cell(path: str, title: str, wanted: list[str], column: str) -> Value:
    found = []
    for table in tables(path):
        place = table.column(column)
        if title in table.title and place is not None:
            rows = [row for row in table.rows if matches(table, row, wanted)]
            cells = [parse(row[place]) for row in rows]
            if cells and path.endswith(".csv"):
                cells = [Value(statistics.fmean(cell.number for cell in cells))]
            found += cells
    if len(set(found)) != 1:
        raise ValueError(f"{path}: {len(found)} cells for {wanted} in the column {column!r} {title}")
    return found[0]


def group_difference(candidate: str, reference: str, column: str) -> Value:
    """What `exp/compare_groups.py` prints for a metric."""
    groups = [compare_groups.read_group(str(ROOT / place)) for place in (candidate, reference)]
    compare_groups.require_pairs(*groups)
    found = pairs.group_difference(*groups, column)
    return Value(found["difference"], found["low"], found["high"])


def numbers(quote: str) -> list[tuple[str, ...]]:
    """The numbers of a text: alone, or with the two ends of the interval that follows."""
    text, found = masked(quote, NEVER), []
    for part in re.finditer(rf"{INTERVAL.pattern}|({NUMBER})", text):
        low, high, alone = part.groups()
        if alone is not None:
            found.append((alone,))
        elif found:
            found[-1] += (low, high)
    return found


def rounds_to(quoted: str, actual: float | None) -> bool:
    """Whether a number, rounded as it is quoted, is the quoted one. Without a sign it is not negative."""
    if actual is None:
        return False
    decimals = len(quoted.partition(".")[2])
    return abs(as_float(quoted) - actual) <= 0.5 * 10**-decimals + 1e-9


def measured(text: str) -> list[re.Match]:
    """The numbers of a page that look measured: with decimals, in percent or points, or an interval."""
    return list(MEASURED.finditer(masked(flat(text), (*NEVER, *allowed_everywhere()))))


def faults(page: Page, text: str) -> list[str]:
    """What is wrong with a page's numbers: quotes that differ from their source, numbers without one."""
    numbers_there, text, found, covered = measured(text), flat(text), [], []
    for quote, *references in page.quotes:
        places = [place.span() for place in re.finditer(re.escape(quote), text)]
        if not places:
            found.append(f"not in the page: {quote}")
            continue
        covered += places
        found += _differences(page, quote, references)
    for allowed, reason in page.allowed:
        places = [place.span() for place in re.finditer(re.escape(allowed), text)]
        covered += places
        if not places or not reason:
            found.append(f"allowed, but not in the page or without a reason: {allowed}")
    for one in numbers_there:
        if not any(start <= one.start() and one.end() <= end for start, end in covered):
            around = text[max(0, one.start() - 60) : one.end() + 20].replace("\n", " ")
            found.append(f"no source for {one.group()} in: {around}")
    return found


def _differences(page: Page, quote: str, references: list[str]) -> list[str]:
    try:
        values = [value for reference in references for value in look_up(page.sources, reference)]
    except (ValueError, FileNotFoundError) as error:
        return [f"{quote}: {error}"]
    quoted = numbers(quote)
    if len(quoted) != len(values):
        return [f"{quote}: {len(quoted)} numbers, {len(values)} references"]
    found = []
    for parts, value in zip(quoted, values, strict=True):
        actual = (value.number, value.low, value.high)[: len(parts)]
        if not all(map(rounds_to, parts, actual)):
            found.append(f"{quote}: {' '.join(parts)} is quoted, the source has {actual}")
    return found


def paragraphs(path: str) -> list[Counter]:
    """The measured numbers of each paragraph that has some, for a comparison of two editions."""
    text = masked(flat((ROOT / path).read_text()), (*NEVER, *allowed_everywhere()))
    counted = [Counter(re.findall(r"\d+\.\d+", part)) for part in text.split("\n\n")]
    return [one for one in counted if one]
