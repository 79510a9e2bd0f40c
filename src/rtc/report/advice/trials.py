"""How many episodes on the robot tell settings apart, and when to stop."""

import pandas as pd

from rtc.report.advice.facts import Advice
from rtc.report.page import Section
from rtc.study import families
from rtc.study.pairs import score_interval

DIFFERENCES = (0.05, 0.1, 0.2)
ABOUT = (0.5, 0.8)
ARMS = (2, 3)
# Smaller differences are beyond any trial.
LEAST = 0.02
# Of an early look: so far beyond the last one's that both together hardly err more often.
EARLY = 0.999


def episodes(rate: float, other: float, arms: int = 2) -> int:
    """Episodes of each of some settings with which one that differs so from the first is told apart from it.

    Args:
        rate, other: shares of episodes solved.
        arms: settings, of which the others are compared with one.
    """
    return families.episodes(abs(rate - other), families.unpaired_spread(rate, other), arms - 1)


def table() -> pd.DataFrame:
    """By the difference, the rates around which it lies, and the number of settings."""
    rows = []
    for difference in DIFFERENCES:
        row = {"difference (points)": f"{100 * difference:g}"}
        for arms in ARMS:
            for about in ABOUT:
                ends = about - difference / 2, about + difference / 2
                row[f"{arms} settings, about {100 * about:g} % solved"] = episodes(*ends, arms)
        rows.append(row)
    return pd.DataFrame(rows)


def trials(advice: Advice) -> Section:
    """Episodes per setting, how to compare, and when to stop."""
    power, alpha = families.POWER, families.ALPHA
    before = (
        "The ranking is of simulated levels; two or three settings are worth a trial on the robot. Episodes of each "
        f"with which a difference is found with a chance of {100 * power:g} %, and claimed with one of "
        f"{100 * alpha:.0f} % at most where there is none:"
    )
    gains, losses, pairs = 24, 6, episodes(0.4, 0.6)
    found = score_interval(gains, losses, pairs)
    rules = [
        "- **Fix the number before the first episode**, from the difference that would matter to you. Below 10 points "
        "hardly any trial on a robot is long enough: take the cheaper setting.",
        "- **Run the settings in turn**, from the same starts (A B, B A, A B, …), and not one after the other, so that "
        "a drift of robot or network meets all. The table is for episodes that are no more alike within such pairs "
        "than others; where they are, fewer suffice, and the interval below makes use of it by itself.",
        f"- **Look once, at the end.** An example: if of {pairs} pairs the new setting alone solved {gains} and the "
        f"old one alone {losses}, `rtc.study.pairs.score_interval({gains}, {losses}, {pairs})` gives "
        f"{100 * found.value:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}] points: take the new one. Where "
        "the interval holds 0, they are not told apart: take the cheaper one. Going on until it does not finds "
        f"differences that are not there. With {ARMS[-1]} settings, compare two of them with the first, each with "
        f"`confidence={1 - alpha / (ARMS[-1] - 1):g}`.",
        "- **Stop early** where a setting is not safe; or at one look half-way, if there the interval with "
        f"`confidence={EARLY:g}` does not hold 0, which adds {100 * (1 - EARLY):.1f} points to the "
        f"{100 * alpha:.0f} % at most, for each comparison.",
    ]
    return Section("Trials on the robot", [before, table(), *_here(advice), "\n".join(rules)])


def _here(advice: Advice) -> list[str]:
    """What the differences of this page would take."""
    best, rival = advice.recommended, advice.rival
    apart = 0.0 if rival is None else abs(best.solved.value - rival.solved.value)
    if not LEAST <= apart < 1:  # too small for any trial, or nothing varies
        return []
    number = episodes(best.solved.value, rival.solved.value)
    size = 100 * apart
    return [
        f"On the simulated levels `{best.arm.config.method}` and `{rival.arm.config.method}` differ by {size:.1f} "
        f"points: if their rates on the robot were the same, {number} episodes of each would do."
    ]
