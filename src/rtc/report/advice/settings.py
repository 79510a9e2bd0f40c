"""Settings of LeRobot and openpi that do what was recommended, as their commands spell them.

Names are those of LeRobot's `lerobot-rollout` (src/lerobot/rollout, src/lerobot/policies/rtc) and asynchronous client
(src/lerobot/async_inference) in release 0.6.1, but for `--inference.rtc.mode` and `--policy.rtc_training_max_delay`:
that release does not have them, its repository at commit 0020b360 does. In LeRobot's RTC, `execution_horizon` is the
first action without weight, H - s of the paper, and a query starts when no more than `queue_threshold` actions are
left, H - s again; the asynchronous client sends an observation when the share of its queue that is left is at most
`chunk_size_threshold`. Those of openpi are of its examples and client.
"""

import math
from fractions import Fraction

import pandas as pd

from rtc.report.advice.facts import ticks
from rtc.report.advice.words import METHOD_TEXTS
from rtc.report.page import Section
from rtc.study.advice import UNPLANNED, Scale
from rtc.study.study import Arm

RELEASE = "0.6.1"
NO_FLAG = "no flag: not part of it"
_SCHEDULES = {"realtime": "EXP", "hard_masking": "ZEROS"}


def lerobot_rollout(method: str, every: int, chunk: int, hz: float) -> str:
    """Flags of `lerobot-rollout`; `every` and `chunk` in actions."""
    rate, rest = f"--fps={hz:g}", chunk - every
    rtc = f"--inference.type=rtc --inference.rtc.execution_horizon={rest} --inference.queue_threshold={rest}"
    if method in _SCHEDULES:
        return f"`{rate} {rtc} --inference.rtc.prefix_attention_schedule={_SCHEDULES[method]}`"
    if method == "trained_prefix":
        return f"`{rate} {rtc} --inference.rtc.mode=trained`, with a Pi0.5 checkpoint trained with " + (
            f"`--policy.rtc_training_max_delay` (both are newer than release {RELEASE})"
        )
    if method == "synchronous":
        return f"`{rate} --inference.type=sync --policy.n_action_steps={every}`"
    return NO_FLAG


def lerobot_client(method: str, every: int, chunk: int, hz: float) -> str:
    """Flags of `python -m lerobot.async_inference.robot_client`."""
    # Rounded up: the client compares with <=, so that 10 of 30 actions are not above it.
    share = math.ceil(Fraction(10_000 * (chunk - every), chunk)) / 10_000
    timing = f"--fps={hz:g} --actions_per_chunk={chunk} --chunk_size_threshold={share:.4f}"
    if method == "naive":
        return f"`{timing} --aggregate_fn_name=latest_only`"
    if method == "temporal_ensemble":
        return f"`{timing} --aggregate_fn_name=average` (the nearest: it weighs older chunks less)"
    return NO_FLAG


def openpi(method: str, every: int) -> str:
    """What openpi's own clients can do: they wait for every chunk."""
    if method == "synchronous":
        return (
            f"`ActionChunkBroker(policy, action_horizon={every})`; in its examples `--args.replan-steps {every}` "
            f"(LIBERO), `--args.action-horizon {every}` (ALOHA), `--open_loop_horizon {every}` (DROID)"
        )
    return "no flag: its clients wait for every chunk (its issue 636), so this takes a client of your own, as below"


def section(recommended: Arm, plain: Arm | None, scale: Scale) -> Section:
    """A table for what is recommended, and for what is recommended without training."""
    parts: list[str | pd.DataFrame] = []
    for one in [recommended] if plain is None else [recommended, plain]:
        every, method = scale.whole(one.config.execution.execute_horizon), one.config.method
        rows = [
            ("LeRobot, `lerobot-rollout`", lerobot_rollout(method, every, scale.chunk, scale.hz)),
            ("LeRobot, asynchronous client", lerobot_client(method, every, scale.chunk, scale.hz)),
            ("openpi", openpi(method, every)),
        ]
        heading = f"`{method}`, a new query every {every} of {scale.chunk} actions{_rounding(one, scale)}:"
        parts += [heading, _table(rows), *_notes(method)]
    parts.append(f"Flags are those of LeRobot {RELEASE}; other releases may name them otherwise.")
    for one in [recommended] if plain is None else [recommended, plain]:
        heading = f"`{one.config.method}` in code of your own:"
        parts.append("\n".join([heading, "", *_own(one, scale), *_estimates(one)]))
    return Section("Settings to copy", parts)


def _rounding(one: Arm, scale: Scale) -> str:
    """What was done to an interval that is not whole."""
    exact = scale.robot(one.config.execution.execute_horizon)
    if exact == scale.whole(one.config.execution.execute_horizon):
        return ""
    if exact <= 0.5:
        return f" ({ticks(exact)} as ranked; one tick is the least)"
    return f" ({ticks(exact)} as ranked, to the nearest whole number, halves down, as a shorter interval reacts sooner)"


def _notes(method: str) -> list[str]:
    """What the flags mean where their names mislead."""
    if method not in (*_SCHEDULES, "trained_prefix"):
        return []
    text = (
        "LeRobot's `execution_horizon` is where the overlap with the old chunk ends, not the interval between queries, "
        "and `queue_threshold` the number of actions left at which it queries: both are chunk minus interval."
    )
    guided = " The guidance weight is at most 5 here; `--inference.rtc.max_guidance_weight` is 10 by default."
    return [text + (guided if method in _SCHEDULES else "")]


def _table(rows: list[tuple[str, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["where", "what"])


def _own(one: Arm, scale: Scale) -> list[str]:
    every = scale.whole(one.config.execution.execute_horizon)
    if one.config.method == "synchronous":
        return [f"- execute {every} actions of a chunk, then query and stand still until the answer is there."]
    method = one.config.method
    beyond = any(name in method for name in ("foresee", "a2c2", "carried_noise"))
    return [
        *([f"- {METHOD_TEXTS[method]} (docs/methods.md);"] if beyond else []),
        f"- send a new observation {every} ticks after the last one, or, if the answer is not there by then, as soon "
        "as it is;",
        "- keep executing the old chunk until the answer arrives, d ticks after its observation, or, where the chunk "
        "ends before, whatever is safe on your robot; then go on with entry d of the new one (counted from 0), not "
        "with its first.",
    ]


def _estimates(one: Arm) -> list[str]:
    """How the expected delay is set, where it matters."""
    if one.config.method in UNPLANNED:
        return []
    q = one.config.estimator.q
    if q is None or q >= 1:
        return [
            "- the planned delay is the longest of the last ten. LeRobot's `latency_tracker.max()` "
            "(`rollout/inference/rtc.py`) is the longest since the start and forgets nothing."
        ]
    return [
        f"- the planned delay is the {100 * q:g} % quantile of the last ten. LeRobot plans for the longest since the "
        f"start, which forgets nothing: in `rollout/inference/rtc.py` replace `latency_tracker.max()` by "
        f"`latency_tracker.percentile({q:g})`, which is of the last hundred."
    ]
