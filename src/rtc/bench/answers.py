"""How long policies take to answer at batch 1, and how large they are."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rtc.bench import timing
from rtc.methods import Method, Query
from rtc.shared import runtime
from rtc.study import costs
from rtc.study.evaluation import EvalConfig

MEGABYTE = 1e6


class Answering(Protocol):
    """A subject that says what answers its queries (`hosted.HostedSubject`, `hosted_tokens.HostedTokenSubject`)."""

    def answering(self, config: EvalConfig) -> tuple[Method, Any, int]:
        """Method, policy, and flow steps of a query."""
        ...


@dataclass(frozen=True)
class Measured:
    """What was measured of a policy.

    Attributes:
        milliseconds: of every query, from the call to the chunk in memory.
        parameters: numbers in all of its networks.
    """

    milliseconds: Float[np.ndarray, " n"]
    parameters: int

    @property
    def megabytes(self) -> float:
        """Memory of its networks, in single precision."""
        return 4 * self.parameters / MEGABYTE


@partial(runtime.jit, static_argnames="num_steps")
def _answer(method: Method, policy: Any, query: Query, obs: Array, number: Array, num_steps: int) -> Array:
    keys = jax.random.fold_in(jax.random.key(0), number)[None]
    return method.answer(policy, query._replace(obs=obs, key=keys), (), query.planned_delay, num_steps)[0].chunk


def measure(
    subjects: Mapping[str, tuple[Answering, EvalConfig]], observations: Float[np.ndarray, "n o"], queries: int
) -> dict[str, Measured]:
    """Queries of each subject in turn, on the same observations.

    Args:
        subjects: by name, each with its evaluation.
        observations: what is asked about, in this order, again from the start if there are too few.
        queries: queries per subject.
    """
    calls, parameters = {}, {}
    for name, (subject, config) in subjects.items():
        method, policy, steps = subject.answering(config)
        calls[name] = _asking(method, policy, steps, observations)
        parameters[name] = sum(int(np.size(leaf)) for leaf in jax.tree.leaves(policy))
    spent = timing.in_turn(calls, queries)
    return {name: Measured(spent[name], parameters[name]) for name in subjects}


def _asking(method: Method, policy: Any, steps: int, observations: Sequence[np.ndarray]) -> Callable[[], np.ndarray]:
    query = costs.example_query(policy, jnp.asarray(observations[:1]), steps)
    numbers = itertools.count()

    def ask() -> np.ndarray:
        number = next(numbers)
        obs = np.asarray(observations[number % len(observations)])[None]
        return np.asarray(_answer(method, policy, query, obs, np.int32(number), steps))

    return ask
