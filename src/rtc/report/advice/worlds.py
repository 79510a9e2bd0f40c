"""What other worlds say of the order of methods and of what is recommended, from the project's own studies."""

from collections.abc import Sequence

import pandas as pd

from rtc.report import catalogue
from rtc.report.advice.facts import Advice
from rtc.report.transfer import correlations
from rtc.study import transfer
from rtc.study.transfer import Outcomes, Transfer

_NOTHING = (
    "**Other worlds**: none was run here, and the studies of others are not there (a clone has them in `exp_runs/`, an "
    "installed package does not). Try the best two or three methods on the robot."
)


def elsewhere(advice: Advice) -> list[str | pd.DataFrame]:
    """Rank correlations between worlds, and what the recommended method gains in each of them."""
    constant = [(delay, one) for delay, one in advice.worlds if isinstance(delay, int)]
    if not constant:
        return [_NOTHING]
    random = [(profile, one) for profile, one in advice.worlds if isinstance(profile, str)]
    parts: list[str | pd.DataFrame] = [
        "**Other worlds** were not run under your log. This is how far they agree where the project's studies have the "
        "same methods in two of them: rank correlation of the methods' mean solve rates, at constant delays of d "
        f"ticks of chunks of {transfer.CHUNK}, with 95 % intervals for levels as samples (more: "
        "`exp_runs/transfer.md`).",
        correlations(constant),
    ]
    if random:
        parts += ["The same under random delays:", correlations(random)]
    else:
        parts.append("Under random delays no two worlds have the same methods yet: nothing is known of them.")
    return [*parts, *_gains(advice, constant)]


def nearest(advice: Advice, delays: Sequence[int]) -> int:
    """The delay of other worlds that takes most nearly the log's median's share of a chunk, by their ratio."""
    share = max(1, advice.found.percentile(50)) / advice.scale.chunk * transfer.CHUNK
    return min(delays, key=lambda delay: (max(delay / share, share / delay), delay))


def _gains(advice: Advice, constant: Sequence[tuple[int, Transfer]]) -> list[str | pd.DataFrame]:
    there: dict[str, dict[int, Outcomes]] = {}
    for delay, pair in constant:
        for place, outcomes in zip(pair.places, pair.outcomes, strict=True):
            there.setdefault(place.name, {})[delay] = outcomes
    asked = [one.arm.config.method for one in (advice.recommended, advice.untrained) if one is not None]
    methods = [method for method in dict.fromkeys(asked) if method != transfer.REFERENCE]
    if not methods:
        return []
    delays = sorted({delay for delay, _ in constant})
    rows = [
        {"method": method, "world": name} | {f"d = {delay}": _gain(by_delay.get(delay), method) for delay in delays}
        for method in methods
        for name, by_delay in there.items()
    ]
    text = (
        f"What is recommended, against `{transfer.REFERENCE}` in each of them, in points, with s = max(d, 1) "
        f"(Gymnasium: 1). Your median takes a share of a chunk nearest to that of d = {nearest(advice, delays)}. "
        "Where an interval holds 0, that world does not say that the method helps."
    )
    return [text, pd.DataFrame(rows)]


def _gain(outcomes: Outcomes | None, method: str) -> str:
    if outcomes is None or not {method, transfer.REFERENCE} <= set(outcomes.solved):
        return "not measured"
    return catalogue.rate(outcomes.difference(method, transfer.REFERENCE), signed=True)
