"""How the report of a study is laid out: which sections and which figures, by name. `rtc.report` writes them."""

from dataclasses import dataclass

from rtc.shared.validation import require_choice

# What a section can show, and what a figure can.
SECTIONS = (
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
    "outcomes",
    "passes",
    "protocol",
    "provenance",
    "question",
    "seeds",
    "text",
    "verdict",
)
FIGURES = ("arms", "compute", "delays", "grid", "layers", "losses", "outcomes", "solve_rate", "timeline")


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
        figures: figures that stand at its end, some of `FIGURES`.
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
