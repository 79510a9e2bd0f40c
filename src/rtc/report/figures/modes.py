"""Where episodes decided between two right answers: their distribution, arm by arm."""

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rtc.report.figures import style
from rtc.report.figures.palette import BLUE, GREY, LIGHT, ORANGE
from rtc.study import modes
from rtc.study.modes import Tally
from rtc.study.outcome import Outcome
from rtc.study.questions import ArmKey
from rtc.study.study import Study
from rtc.worlds.modes import NONE

# Positions beyond are counted at the ends.
FARTHEST, BINS = 1.6, 32
PARTS = {0: ("answer 0 reached", BLUE), 1: ("answer 1 reached", ORANGE), NONE: ("neither", GREY)}
_ROW, _HEAD, _FOOT = 0.42, 0.45, 0.55  # inches


def draw(study: Study, outcome: Outcome) -> dict[str, Figure]:
    """A figure per profile: of every level and arm the histogram of where on the line from answer to answer it decided.

    Episodes that never decided, whose position is NaN, are not in it.
    """
    figures = {}
    for profile in study.profiles:
        keys = [one.key for one in study.arms if one.profile == profile]
        found = {
            (level, key): modes.tally(cells)
            for level in outcome.levels
            for key in keys
            if (cells := outcome.cells.get((level, *key))) and modes.has_modes(cells)
        }
        if found:
            figures["" if not figures else f"_{profile}"] = _figure(profile, found)
    return figures


def _figure(profile: str, found: dict[tuple[str, ArmKey], Tally]) -> Figure:
    levels = list(dict.fromkeys(level for level, _ in found))
    keys = list(dict.fromkeys(key for _, key in found))
    with matplotlib.rc_context(style.STYLE):
        size = style.WIDTH, _HEAD + _ROW * len(keys) + _FOOT
        figure, axes = style.subplots(len(keys), len(levels), size, sharex=True)
        for row, key in enumerate(keys):
            for column, level in enumerate(levels):
                ax = axes[row, column]
                if (level, key) in found:
                    _histogram(ax, found[level, key])
                ax.set_yticks([])
                for side in ("left", "top", "right"):
                    ax.spines[side].set_visible(False)
                if row == 0:
                    ax.set_title(f"{level}, {profile}", fontweight="bold")
            label = {"rotation": 0, "ha": "right", "va": "center"}
            axes[row, 0].set_ylabel(key[1], **label)
        for ax in axes[-1]:
            ax.set_xticks([-1, 0, 1], ["answer 0", "middle", "answer 1"])
        handles = [matplotlib.patches.Patch(color=color, label=name) for name, color in PARTS.values()]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(PARTS), frameon=False)
    return figure


def _histogram(ax: Axes, found: Tally) -> None:
    edges, below = np.linspace(-FARTHEST, FARTHEST, BINS + 1), np.zeros(BINS)
    for answer, (_, color) in PARTS.items():
        places = found.places[(found.answers == answer) & np.isfinite(found.places)]
        counts, _ = np.histogram(np.clip(places, -FARTHEST, FARTHEST), edges)
        ax.bar(edges[:-1], counts, np.diff(edges), below, align="edge", color=color, linewidth=0)
        below += counts
    for place in (-1, 0, 1):
        ax.axvline(place, color=LIGHT, linewidth=0.6, zorder=0)
