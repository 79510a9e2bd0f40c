"""What to use: the sentences that the page begins with."""

from rtc.report import catalogue
from rtc.report.advice.facts import Advice, named, points
from rtc.report.advice.words import METHOD_TEXTS
from rtc.report.page import Section
from rtc.study.advice import CONSTANT, HALVED, LOG, counterpart

# A recommended setting that may be so much worse than the best one was chosen from too few episodes.
COARSE = 0.06


def headline(advice: Advice) -> Section:
    """What to use, in three sentences; and without training."""
    best, name = advice.recommended, advice.recommended.arm.config.method
    parts = [f"**Use {named(advice, best.arm)}**: {METHOD_TEXTS[name]}. {_how_good(advice)} {_tail_sentence(advice)}"]
    parts.append(
        f"(A tick is one control period, {1000 / advice.scale.hz:.3g} ms. A query sends an observation and asks for "
        "the next chunk; where its answer takes longer than the interval, the next query waits for it. Intervals are "
        "scaled from the benchmark's whole ticks, so yours need not be whole: *Settings to copy* has whole numbers.)"
    )
    if 2 * advice.found.percentile(50) > advice.scale.chunk:
        parts.append(
            "**Your median delay takes more than half of a chunk**, so every chunk ends before the next one is there, "
            "and the robot runs out of actions whatever the method. Faster inference, longer chunks or a lower control "
            "rate come before the choice of a method."
        )
    plain = advice.untrained
    worst = min(one.behind.low for one in (best, plain) if one is not None)
    if worst < -COARSE:
        parts.append(
            f"**This run is small**: what is recommended may be up to {-100 * worst:.0f} points worse than the best of "
            "its kind. Give more `--episodes` and `--levels` before you act on it."
        )
    if plain is not None:
        parts.append(
            f"`{name}` needs training of its own. Of what was compared without any: {named(advice, plain.arm)} "
            f"({METHOD_TEXTS[plain.arm.config.method]}), {catalogue.rate(plain.solved)} % solved."
        )
    if advice.unfinished:
        parts.append(
            f"**Not compared for lack of time:** {', '.join(advice.unfinished)}. Run the same command again, "
            "without `--overwrite`, to add them: what is computed is kept."
        )
    return Section("What to use", parts)


def _how_good(advice: Advice) -> str:
    best = advice.recommended
    others = sum(one.tied for one in advice.ranked) - 1
    text = (
        f"Under your delays it solves {catalogue.rate(best.solved)} % of the episodes on "
        f"{_count(len(advice.outcome.levels), 'simulated level')}"
    )
    rival = advice.rival
    if rival is not None:
        difference = advice.difference(best.key, rival.key)
        text += f" ({points(difference)} points against {named(advice, rival.arm)})"
    if others:
        return f"{text}; of {others + 1} settings that cannot be told apart from the best one it is the cheapest."
    return text + ", and all other settings that were tried solve fewer."


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _tail_sentence(advice: Advice) -> str:
    one, said = advice.recommended.arm, []
    lost = advice.difference(counterpart(one, CONSTANT), counterpart(one, LOG))
    if lost is not None:
        shown = f"{points(lost)} points against a constant delay of the median"
        said.append(f"Your tail costs it {shown}" if lost.low > 0 else f"No cost of your tail can be shown ({shown})")
    gained = advice.difference(counterpart(one, HALVED), counterpart(one, LOG))
    if gained is not None:
        no_gain = "" if gained.low > 0 else ", so a gain cannot be shown"
        said.append(f"halving the p99 would bring {points(gained)} points{no_gain}")
    if not said and advice.tail.constant is None:
        said = ["at this resolution your delays have no tail"]
    text = "; ".join(said) or "what your tail costs it is not computed yet"
    return f"{text[0].upper()}{text[1:]}."
