"""How the report of a study is laid out: which sections and which figures, by name. `rtc.report` writes them."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from rtc.control import metrics
from rtc.shared.validation import require_choice, require_read

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
# Sections whose tables can have other metrics than the kind's own: of single episodes, or any column of results.csv.
_OF_EPISODES, _OF_CELLS = ("differences", "outcomes", "seeds"), ("costs", "metrics")
# The arms of the section "verdict": the one whose tail is controlled, and the one whose is not.
VERDICT = (("tail_controlled", "realtime"), ("long_tail", "realtime"))


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
        metrics: columns of results.csv in its table, where the kind's own do not do; of differences, outcomes and
            seeds those that single episodes have.
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
        given = {"metrics": self.metrics} if self.metrics else {}
        reads = {kind: ("metrics",) if kind in (*_OF_EPISODES, *_OF_CELLS) else () for kind in SECTIONS}
        require_read("kind", self.kind, given, reads, prefix="sections.")
        if self.kind in _OF_EPISODES:
            for metric in self.metrics:
                where = f"section {self.kind} has metrics of single episodes: metrics entry"
                require_choice(where, metric, metrics.EPISODE_MEANS)
        for name in self.figures:
            require_choice("figures entry", name, FIGURES)


def check(
    study: str,
    figures: Iterable[str | Drawing],
    sections: Iterable[Section],
    arms: Collection[tuple[str, str]],
    families: Iterable[str],
    left_out: Collection[str] = (),
) -> None:
    """Checks that everything shown is there.

    Args:
        study: its name, for messages.
        figures, sections: of its report.
        arms: names of its arms.
        families: those of its comparisons.
        left_out: measures of single episodes that the study does not keep.

    Raises:
        ValueError: two figures share a file; or a figure or section names a profile, a method or a family that the
            study lacks, shows no arm, shows measures that are not kept, or is a verdict on arms that are not there.
    """
    drawn, families = drawings(figures), list(dict.fromkeys(families))
    stems = [one.stem for one in drawn]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise ValueError(f"figures of {study} share a file: {twice}; give each a name")
    for one in drawn:
        _check_arms(f"{study}: figure {one.stem}", one, arms)
        for family in one.families:
            require_choice(f"{study}: figure {one.stem}: families entry", family, families)
    for section in sections:
        _check_arms(f"{study}: section {section.kind}", section, arms)
        _check_kept(f"{study}: section {section.kind}", section, left_out)
        lacking = [key for key in VERDICT if section.kind == "verdict" and key not in arms]
        if lacking:
            raise ValueError(
                f"{study}: section verdict judges {VERDICT[0]} against {VERDICT[1]}, and there is no arm {lacking[0]}: "
                "add it, or leave the section out"
            )


def _check_kept(where: str, section: Section, left_out: Collection[str]) -> None:
    if section.kind not in _OF_EPISODES:
        return
    # Without metrics of their own, these two show all of them.
    shown = section.metrics or (metrics.EPISODE_MEANS if section.kind != "outcomes" else ())
    for name in shown:
        if name in left_out:
            raise ValueError(f"{where} shows {name}, which left_out has: take it out of one of them")


def _check_arms(where: str, shown: Drawing | Section, arms: Collection[tuple[str, str]]) -> None:
    for profile in shown.profiles:
        require_choice(f"{where}: profiles entry", profile, dict.fromkeys(profile for profile, _ in arms))
    for method in shown.methods:
        require_choice(f"{where}: methods entry", method, dict.fromkeys(method for _, method in arms))
    if not any(profile in (shown.profiles or (profile,)) and m in (shown.methods or (m,)) for profile, m in arms):
        raise ValueError(
            f"{where}: no arm has one of profiles={list(shown.profiles)} and one of methods={list(shown.methods)}: "
            "name others"
        )


def told_apart(groups: Sequence[tuple[str, str]]) -> list[str]:
    """Names of groups of arms, from the method and the first arm's label of each: the method, with the label where
    several have it."""
    methods = Counter(method for method, _ in groups)
    return [method if methods[method] == 1 else f"{method} ({label})" for method, label in groups]
