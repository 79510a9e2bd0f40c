"""How the report of a study is laid out: which sections and which figures, by name. `rtc.report` writes them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rtc.shared.validation import require_choice

# What a section can show, and what a figure can.
SECTIONS = (
    "aggregates",
    "arms",
    "cautions",
    "comparisons",
    "costs",
    "curve",
    "differences",
    "discussion",
    "effects",
    "figures",
    "level_rates",
    "levels",
    "losses",
    "margins",
    "metrics",
    "modes",
    "outcomes",
    "passes",
    "protocol",
    "provenance",
    "question",
    "regret",
    "seeds",
    "text",
    "verdict",
)
FIGURES = (
    "arms",
    "comparisons",
    "compute",
    "delays",
    "effects",
    "grid",
    "layers",
    "losses",
    "modes",
    "outcomes",
    "regret",
    "solve_rate",
    "timeline",
)


@dataclass(frozen=True)
class Drawing:
    """One figure of a report.

    Attributes:
        kind: what it shows, one of `FIGURES`.
        name: what its file is called, where the kind does not do.
        profiles, methods: arms that it shows, by profile and label; empty: all.
        families: families of comparisons that it shows; empty: all.
        caption, caption_zh: what stands below it, before what is said of its kind.
    """

    kind: str
    name: str = ""
    profiles: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    caption: str = ""
    caption_zh: str = ""

    def __post_init__(self) -> None:
        require_choice("figures entry", self.kind, FIGURES)

    @property
    def stem(self) -> str:
        """Name of its file, without suffix."""
        return self.name or self.kind


def drawings(entries: Iterable[str | Drawing]) -> list[Drawing]:
    """The figures of a list in which a kind alone stands for one that shows everything."""
    return [Drawing(entry) if isinstance(entry, str) else entry for entry in entries]


@dataclass(frozen=True)
class Section:
    """One section of a report.

    Attributes:
        kind: what it shows, one of `SECTIONS`.
        heading, heading_zh: its heading, where the kind's own does not do.
        text, text_zh: what stands before the table.
        profiles, methods: arms that it covers; empty: all. Comparisons are covered if all of their arms are; p values
            are corrected for their number.
        metrics: columns of results.csv in its table, where the kind's own do not do.
        figures: kinds of figures that stand at its end, some of `FIGURES`.
    """

    kind: str
    heading: str = ""
    heading_zh: str = ""
    text: str = ""
    text_zh: str = ""
    profiles: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_choice("sections entry", self.kind, SECTIONS)
        for name in self.figures:
            require_choice("figures entry", name, FIGURES)


def told_apart(groups: Sequence[tuple[str, str]]) -> list[str]:
    """Names of groups of arms, from the method and the first arm's label of each: the method, with the label where
    several have it."""
    methods = Counter(method for method, _ in groups)
    return [method if methods[method] == 1 else f"{method} ({label})" for method, label in groups]
