"""The figures of reports. A study chooses some by name; each is drawn from its finished cells, or left out (None)."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from matplotlib.figure import Figure

from rtc.report.figures import arms, compute, delays, grid, losses, seeds, solve_rate, timeline, tokens
from rtc.study.outcome import Outcome
from rtc.study.study import Study

DRAWN: Mapping[str, Callable[[Study, Outcome], Figure | None]] = MappingProxyType(
    {
        "arms": arms.draw,
        "compute": compute.draw,
        "delays": delays.draw,
        "grid": grid.draw,
        "layers": tokens.layers,
        "losses": losses.draw,
        "outcomes": seeds.draw,
        "solve_rate": solve_rate.draw,
        "timeline": timeline.draw,
    }
)
