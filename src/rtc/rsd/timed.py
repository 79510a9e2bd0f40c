"""Decoding at batch 1 with every part timed, and episodes that execute whole chunks: what a robot would run."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rtc import runtime
from rtc.environment import Environment, State, Transition
from rtc.rsd import engine
from rtc.rsd.agent import TokenAgent
from rtc.rsd.engine import Decoded, Query
from rtc.rsd.rules import Greedy, Rule
from rtc.wrappers import noisy_action

PERCENTILES = (50, 95, 99)


@dataclass
class Times:
    """Milliseconds of one query's parts."""

    draft: float = 0.0
    verify: float = 0.0
    rest: float = 0.0

    @property
    def total(self) -> float:
        return self.draft + self.verify + self.rest


@dataclass
class Log:
    """What the queries so far took."""

    times: list[Times] = field(default_factory=list)
    queries: list[Query] = field(default_factory=list)
    decoded: list[Decoded] = field(default_factory=list)
    chunks: list[Float[np.ndarray, "h a"]] = field(default_factory=list)


class Engine:
    """Decodes one chunk at a time and keeps statistics.

    Unlike `rtc.rsd.engine.speculative`, which is one compiled program, the rounds are separate calls, so that draft and
    verification can be timed; the tokens are the same.

    Args:
        agent: tokenizer, main model and, for speculative decoding, a draft.
        rule: chooses and verifies tokens.
        max_passes: deadline in passes of the main model; None: no deadline.
        seed: seed of all randomness.
    """

    def __init__(self, agent: TokenAgent, rule: Rule, *, max_passes: int | None = None, seed: int = 0):
        if agent.draft is not None:
            engine.check_pair(agent.main, agent.draft)
        self.agent, self.rule, self.seed = agent, rule, seed
        self.max_passes = max_passes or len(agent.main.config.blocks)
        self.log = Log()
        self._contexts = jax.jit(_contexts)
        self._propose = jax.jit(engine.propose)
        self._verify = jax.jit(engine.verify)
        self._plain = jax.jit(engine.autoregressive)
        self._chunk = jax.jit(TokenAgent.chunk)

    def __call__(
        self, obs: Float[Array, " o"], committed: Float[Array, "h a"] | None = None, prefix: int = 0
    ) -> Float[np.ndarray, "h a"]:
        """The chunk for an observation and `prefix` ticks of committed actions."""
        size = (self.agent.action_chunk_size, self.agent.action_dim)
        committed = jnp.zeros(size) if committed is None else jnp.asarray(committed)
        query = Query(jnp.asarray(obs)[None], committed[None], jnp.full(1, prefix, jnp.int32))
        key = jax.random.fold_in(jax.random.key(self.seed), len(self.log.times))[None]
        times, start = Times(), time.perf_counter()
        decode = self._autoregressive if self.agent.draft is None else self._speculative
        decoded = decode(key, query, times)
        chunk = np.asarray(self._chunk(self.agent, decoded)[0])
        times.rest = 1e3 * (time.perf_counter() - start) - times.draft - times.verify
        self.log.times.append(times)
        self.log.queries.append(query)
        self.log.decoded.append(decoded)
        self.log.chunks.append(chunk)
        return chunk

    def _autoregressive(self, key: Array, query: Query, times: Times) -> Decoded:
        decoded, times.verify = _timed(self._plain, key, self.agent.main, query, self.rule)
        return decoded

    def _speculative(self, key: Array, query: Query, times: Times) -> Decoded:
        main, draft = self.agent.main, self.agent.draft
        contexts, progress = self._contexts(main, draft, query), engine.start(main, draft, 1)
        total = len(main.config.blocks)
        for number in range(min(self.max_passes, total)):
            draft_key, verify_key = (engine.fold(engine.fold(key, number), part) for part in (0, 1))
            (progress, logits), spent = _timed(self._propose, draft_key, draft, contexts[1], progress, self.rule)
            times.draft += spent
            progress, spent = _timed(self._verify, verify_key, main, contexts[0], progress, logits, self.rule)
            times.verify += spent
            if int(progress.blocks[0]) == total:
                break
        return progress.decoded

    def get_stats(self) -> dict[str, Any]:
        """Queries so far: passes, acceptance, and milliseconds (percentiles are values that occurred).

        Returns:
            queries; passes (how many queries took how many), mean_passes, mean_drafts; whole_blocks (number of blocks,
            of drafted ones, and share of the latter that were accepted whole; None without a draft);
            acceptance_per_layer and acceptance_per_token (share of the verified proposals that stood); draft_ms,
            verify_ms and total_ms, each with mean, p50, p95 and p99.

        Raises:
            ValueError: there was no query.
        """
        if not self.log.times:
            raise ValueError("no query has been answered yet: call the engine first")
        passes = np.array([int(decoded.passes[0]) for decoded in self.log.decoded])
        whole = self._whole_blocks()
        proposed = np.sum([np.asarray(decoded.proposed[0]) for decoded in self.log.decoded], axis=0)
        accepted = np.sum([np.asarray(decoded.accepted[0]) for decoded in self.log.decoded], axis=0)
        values, counts = np.unique(passes, return_counts=True)
        parts = ("draft", "verify", "total")
        return {
            "queries": len(passes),
            "passes": {int(value): int(count) for value, count in zip(values, counts, strict=True)},
            "mean_passes": float(passes.mean()),
            "mean_drafts": float(np.mean([int(decoded.drafts[0]) for decoded in self.log.decoded])),
            "whole_blocks": whole,
            "acceptance_per_layer": _shares(accepted.sum(-1), proposed.sum(-1)),
            "acceptance_per_token": _shares(accepted, proposed),
            **{f"{part}_ms": spread([getattr(times, part) for times in self.log.times]) for part in parts},
        }

    def deviation(self) -> Float[np.ndarray, "q h a"]:
        """What the chunks differ by from those of greedy autoregression on the same queries."""
        queries = jax.tree.map(lambda *parts: jnp.concatenate(parts), *self.log.queries)
        keys = jax.random.split(jax.random.key(self.seed), len(self.log.queries))
        return np.array(self.log.chunks) - self._chunk(
            self.agent, self._plain(keys, self.agent.main, queries, Greedy())
        )

    def _whole_blocks(self) -> tuple[int, int, float] | None:
        if self.agent.draft is None:
            return None
        starts = self.agent.draft.config.starts
        whole = []
        for decoded in self.log.decoded:
            proposed, accepted = np.asarray(decoded.proposed[0]), np.asarray(decoded.accepted[0])
            same = [(accepted[a:b] == proposed[a:b]).all() & (proposed[a:b] > 0).all() for a, b in pairwise(starts)]
            whole.append(np.mean(same))
        return len(self.agent.main.config.blocks), len(starts) - 1, float(np.mean(whole))

    def reset_stats(self) -> None:
        """Forgets the queries so far."""
        self.log = Log()


def _contexts(main: Any, draft: Any, query: Query) -> tuple[Array, Array]:
    return main.context(*query), draft.context(*query)


def _timed(call: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    result = jax.block_until_ready(call(*args))
    return result, 1e3 * (time.perf_counter() - start)


def _shares(part: np.ndarray, whole: np.ndarray) -> list:
    """part / whole, NaN where there is nothing."""
    with np.errstate(invalid="ignore"):
        return (part / np.where(whole == 0, np.nan, whole)).tolist()


def spread(values: list[float]) -> dict[str, float]:
    """Mean and percentiles, the latter as values that occurred."""
    found = np.percentile(values, PERCENTILES, method="inverted_cdf")
    return {"mean": float(np.mean(values)), **{f"p{p}": float(v) for p, v in zip(PERCENTILES, found, strict=True)}}


@dataclass(frozen=True)
class Episode:
    """An episode's outcome.

    Attributes:
        solved: what the environment said when the episode ended; False at the time limit.
        ticks: its length.
        returned: sum of rewards.
        queries: chunks that were decoded.
        actions: commanded actions.
    """

    solved: bool
    ticks: int
    returned: float
    queries: int
    actions: Float[np.ndarray, "t a"]


@runtime.jit
def _reset(env: Environment) -> tuple[State, Array]:
    return env.reset(1)


@runtime.jit
def _step(
    env: Environment, state: State, action: Array, key: Array, tick: Array, noise: Array
) -> tuple[State, Transition]:
    return env.step(state, noisy_action(jax.random.fold_in(key, tick), action, noise)[None])


def run_episode_with_chunks(
    env: Environment, decode: Callable[..., Float[np.ndarray, "h a"]], *, seed: int = 0, action_noise: float = 0.1
) -> Episode:
    """One episode at batch 1 that executes whole chunks one after the other, without inference delay.

    Args:
        env: the level.
        decode: maps an observation to a chunk, for instance an `Engine`.
        seed: seed of the noise on executed actions.
        action_noise: its standard deviation.
    """
    key = jax.random.key(seed)
    state, obs = _reset(env)
    actions: list[np.ndarray] = []
    returned, queries = 0.0, 0
    while True:
        queries += 1
        for action in np.asarray(decode(obs[0])):
            state, outcome = _step(env, state, action, key, len(actions), action_noise)
            obs = outcome.obs
            actions.append(action)
            returned += float(outcome.reward[0])
            if bool(outcome.done[0]):
                return Episode(bool(outcome.solved[0]), len(actions), returned, queries, np.array(actions))
