"""The figures of reports. A study chooses some by kind; each is drawn from its finished cells, or left out."""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType

from matplotlib.figure import Figure

from rtc.report.figures import (
    arms,
    comparisons,
    compute,
    delays,
    grid,
    losses,
    modes,
    regret,
    seeds,
    solve_rate,
    timeline,
    tokens,
)
from rtc.study.layout import Drawing, Section
from rtc.study.outcome import Outcome
from rtc.study.study import Study

# Several figures are told apart by what is appended to the names of their files.
Drawn = Figure | Mapping[str, Figure] | None
DRAWN: Mapping[str, Callable[[Study, Outcome], Drawn]] = MappingProxyType(
    {
        "arms": arms.draw,
        "comparisons": comparisons.draw,
        "compute": compute.draw,
        "delays": delays.draw,
        "effects": comparisons.effects,
        "grid": grid.draw,
        "layers": tokens.layers,
        "losses": losses.draw,
        "modes": modes.draw,
        "outcomes": seeds.draw,
        "regret": regret.draw,
        "solve_rate": solve_rate.draw,
        "timeline": timeline.draw,
    }
)


def draw(study: Study, outcome: Outcome, drawing: Drawing) -> dict[str, Figure]:
    """What an entry of a study's figures draws, by the names of the files; nothing where its cells are not there."""
    found = DRAWN[drawing.kind](part(study, drawing), outcome)
    several = found if isinstance(found, Mapping) else {"": found}
    return {drawing.stem + suffix: figure for suffix, figure in several.items() if figure is not None}


def part(study: Study, drawing: Drawing) -> Study:
    """The study without what a figure leaves out."""
    if not (drawing.profiles or drawing.methods or drawing.families):
        return study
    arms = tuple(
        dataclasses.replace(one, delays_of=None)
        for one in study.arms
        if (not drawing.profiles or one.profile in drawing.profiles)
        and (not drawing.methods or one.method in drawing.methods)
    )
    keys = {one.key for one in arms}
    comparisons = tuple(
        one
        for one in study.comparisons
        if keys.issuperset(one.arms) and (not drawing.families or one.family in drawing.families)
    )
    effects = tuple(one for one in study.effects if keys.issuperset(one.arms))
    kept = {"arms": arms, "comparisons": comparisons, "effects": effects, "aggregates": ()}
    sections = (Section("effects"),) if effects else ()
    return dataclasses.replace(study, **kept, figures=(), sections=sections, preview=None)
