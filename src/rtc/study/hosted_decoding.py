"""What happens where token policies decode in a world that is stepped from Python.

What every query's decoding found is noted, so that cells say which proposals stood, and which sequences were invalid.
"""

import copy
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from rtc.control.records import Records
from rtc.methods.base import Answer, Query, State
from rtc.methods.wrapper import Wrapper
from rtc.shared import runtime
from rtc.study import evaluation, hosted, tokens
from rtc.study.evaluation import EvalConfig, Evaluation
from rtc.study.tokens import TokenSubject


@dataclass
class Notes:
    """What was decoded, query by query: `rtc.policies.tokens.engine.Decoded` or `sequence.Sequence` of one row each."""

    decoded: list[Any] = field(default_factory=list)

    def row(self) -> dict[str, float]:
        """Columns of a cell, sums over all queries: proposals by layer, those that stood, invalid sequences."""
        found: dict[str, float] = {}
        for name in ("proposed", "accepted"):
            parts = [np.asarray(getattr(one, name)).sum((0, 2)) for one in self.decoded if hasattr(one, name)]
            found |= {f"{name}_{layer}": float(count) for layer, count in enumerate(np.sum(parts, 0) if parts else ())}
        invalid = [not one.valid[0] for one in self.decoded if hasattr(one, "valid")]
        return found | ({"invalid_sequences": float(sum(invalid))} if invalid else {})


@dataclass(frozen=True)
class Noted(Wrapper):
    """A method that decodes, with notes of what it found.

    Attributes:
        inner: the method.
        notes: where they go. They are no array, so the host executor calls this method as it is, uncompiled; what it
            computes is compiled here.
    """

    notes: Notes

    def first_chunk(
        self, policy: Any, key: Key[Array, " b"], obs: Float[Array, "b o"], num_steps: int
    ) -> Float[Array, "b h a"]:
        return _first_chunk(self.inner, policy, key, obs)

    def answer(
        self, policy: Any, query: Query, state: State, drawn: Int[Array, " b"], num_steps: int
    ) -> tuple[Answer, State]:
        answer, decoded = _answer(self.inner, policy, query, drawn)
        self.notes.decoded.append(jax.device_get(decoded))
        return answer, state


@runtime.jit
def _first_chunk(method: Any, policy: Any, key: Array, obs: Array) -> Array:
    return method.first_chunk(policy, key, obs, 1)


@runtime.jit
def _answer(method: Any, policy: Any, query: Query, drawn: Array) -> tuple[Answer, Any]:
    found: list[Any] = []
    watched = copy.copy(policy)

    def decode(*arguments: Any) -> Any:
        found.append(policy.decode(*arguments))
        return found[-1]

    object.__setattr__(watched, "decode", decode)
    answer, _ = method.answer(watched, query, (), drawn, 1)
    return answer, found[0]


def rollout(
    subject: TokenSubject, config: EvalConfig, notes: Notes, *, seed: int, episodes: Int[np.ndarray, " n"]
) -> Records:
    """Runs some episodes, one after the other; `notes` are added to."""
    rules = tokens._controller(subject, config)
    rules = replace(rules, method=Noted(rules.method, notes))
    one_pass = replace(config, num_flow_steps=1)
    return hosted.rollout(one_pass, subject.level, subject.agent, rules, seed=seed, episodes=episodes)


def evaluate(subject: TokenSubject, config: EvalConfig, seed: int) -> Evaluation:
    """Runs `config.num_evals` episodes.

    Raises:
        NonFiniteError: a NaN or infinity appeared; the message says in which episode and tick.
    """
    notes = Notes()

    def run(*, episodes: Int[np.ndarray, " n"], num_slots: int) -> Records:
        notes.decoded.clear()
        return rollout(subject, config, notes, seed=seed, episodes=episodes)

    found = evaluation.run(
        run,
        config,
        subject.level,
        what=f"world {subject.level.name}, decoding {subject.decoding.main}, seed {seed}",
        chunk_size=subject.chunk_size,
        # Steps are passes of the main model here, and every copy of a hedged query takes them.
        evaluations=lambda passes: passes * config.delay_profile.tail.hedge,
        bootstrap_evaluations=subject.decoding.method(subject.agent).bootstrap_evaluations(subject.agent, 1),
    )
    shares = {f"passes_{count}": share for count, share in tokens.pass_shares(found.records).items()}
    found.summary.row.update(shares | notes.row())
    return found
