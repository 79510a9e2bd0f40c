"""Decoding at batch 1, timed, and episodes that execute whole chunks: what a robot would run."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rtc.bench import timing
from rtc.control.environment import Environment, State, Transition, noisy_action, start_keys
from rtc.policies.tokens import engine
from rtc.policies.tokens.agent import NO_DEADLINE, TokenAgent
from rtc.policies.tokens.engine import Decoded, Prompt
from rtc.policies.tokens.rules import Greedy, Rule
from rtc.shared import runtime
from rtc.shared.tables import percentiles
from rtc.shared.validation import require_int

Decoder = Callable[..., Float[np.ndarray, "h a"]]


@dataclass
class Log:
    """The queries so far, what came of them, and milliseconds from the call to the chunk in the host's memory."""

    queries: list[Prompt] = field(default_factory=list)
    decoded: list[Decoded] = field(default_factory=list)
    chunks: list[Float[np.ndarray, "h a"]] = field(default_factory=list)
    total_ms: list[float] = field(default_factory=list)
    draft_ms: list[float] = field(default_factory=list)
    verify_ms: list[float] = field(default_factory=list)


class Engine:
    """Decodes one chunk at a time and keeps statistics.

    A query is one compiled program. With `split` the rounds are separate calls, so that draft and verification can be
    told apart; the tokens are the same, but every call costs its own dispatch, so totals then mean little.

    Args:
        agent: tokenizer, main model and, for speculative decoding, a draft.
        rule: chooses and verifies tokens.
        max_passes: deadline in passes of the main model; none by default. Without a draft there is none.
        seed: seed of all randomness.
        split: time draft and verification; needs a draft.

    Raises:
        ValueError: `max_passes` < 1, a draft that does not fit, or `split` without a draft.
    """

    def __init__(
        self, agent: TokenAgent, rule: Rule, *, max_passes: int = NO_DEADLINE, seed: int = 0, split: bool = False
    ):
        require_int("max_passes", max_passes, low=1)
        if agent.draft is not None:
            engine.check_pair(agent.main, agent.draft)
        elif split:
            raise ValueError("split=True tells draft and verification apart: give the agent a draft")
        self.agent, self.rule, self.max_passes, self.seed, self.split = agent, rule, max_passes, seed, split
        self.log = Log()

    def __call__(
        self, obs: Float[Array, " o"], committed: Float[Array, "h a"] | None = None, prefix: int = 0
    ) -> Float[np.ndarray, "h a"]:
        """The chunk for an observation and `prefix` ticks of committed actions."""
        size = (self.agent.action_chunk_size, self.agent.action_dim)
        given = np.zeros(size, np.float32) if committed is None else np.asarray(committed, np.float32)
        query = Prompt(np.asarray(obs)[None], given[None], np.full(1, prefix, np.int32))
        number = np.int32(len(self.log.total_ms))
        start = time.perf_counter()
        if self.split:
            decoded = self._in_parts(number, query)
            chunk = _chunk(self.agent, decoded)
        else:
            decoded, chunk = _decode(self.agent, self.rule, query, self.seed, number, self.max_passes)
        chunk = np.asarray(chunk[0])
        self.log.total_ms.append(1e3 * (time.perf_counter() - start))
        self.log.queries.append(query)
        self.log.decoded.append(jax.device_get(decoded))
        self.log.chunks.append(chunk)
        return chunk

    def _in_parts(self, number: np.int32, query: Prompt) -> Decoded:
        main, draft, total = self.agent.main, self.agent.draft, len(self.agent.main.config.blocks)
        key, contexts, progress = jax.block_until_ready(_begin(self.agent, query, self.seed, number))
        draft_ms = verify_ms = 0.0
        for turn in range(min(self.max_passes, total)):
            first_block = min(int(progress.blocks[0]), total - 1)
            (progress, logits), spent = timing.milliseconds(
                _propose, key, turn, draft, contexts[1], progress, self.rule, first_block=first_block
            )
            # A round in which the draft has nothing left to propose makes no pass of it.
            draft_ms += spent if first_block < total - 1 else 0.0
            progress, spent = timing.milliseconds(_verify, key, turn, main, contexts[0], progress, logits, self.rule)
            verify_ms += spent
            if int(progress.blocks[0]) == total:
                break
        self.log.draft_ms.append(draft_ms)
        self.log.verify_ms.append(verify_ms)
        return progress.decoded

    def get_stats(self) -> dict[str, Any]:
        """Queries so far: passes, acceptance, and milliseconds (percentiles are values that occurred).

        Returns:
            queries; passes (how many queries took how many), mean_passes, mean_drafts; acceptance_per_layer and
            acceptance_per_token (share of the verified proposals that stood); total_ms and, with `split`, draft_ms and
            verify_ms, each with mean, p50, p95 and p99.

        Raises:
            ValueError: there was no query.
        """
        if not self.log.total_ms:
            raise ValueError("no query has been answered yet: call the engine first")
        all_ = jax.tree.map(lambda *parts: np.concatenate(parts), *self.log.decoded)
        values, counts = np.unique(all_.passes, return_counts=True)
        proposed, accepted = all_.proposed.sum(0), all_.accepted.sum(0)
        parts = ("total_ms", *(("draft_ms", "verify_ms") if self.split else ()))
        return {
            "queries": len(all_.passes),
            "passes": {int(value): int(count) for value, count in zip(values, counts, strict=True)},
            "mean_passes": float(all_.passes.mean()),
            "mean_drafts": float(all_.drafts.mean()),
            "acceptance_per_layer": _shares(accepted.sum(-1), proposed.sum(-1)),
            "acceptance_per_token": _shares(accepted, proposed),
            **{part: spread(getattr(self.log, part)) for part in parts},
        }

    def reset_stats(self) -> None:
        """Forgets the queries so far."""
        self.log = Log()

    def expected_passes(self) -> tuple[int, int, float]:
        """M, K and a of the expected number of passes M - K·a under exact speculative sampling.

        Every drafted block is verified once, given the final tokens of the blocks before it; it is accepted whole with
        the probability Π Σ min(p, q) over its tokens. a is the mean of that over blocks and queries: computed from the
        two models' distributions, not from what was accepted.
        """
        draft, starts = self.agent.draft, np.array(self.agent.draft.config.starts)
        overlap = np.asarray(_overlap(self.agent, self._queries(), self._tokens()))
        whole = [np.prod(overlap[:, a:b], axis=(1, 2)) for a, b in itertools.pairwise(starts)]
        return len(self.agent.main.config.blocks), len(draft.config.blocks), float(np.mean(whole))

    def deviation(self) -> Float[np.ndarray, "q h a"]:
        """What the chunks differ by from those of greedy autoregression on the same queries."""
        keys = jax.random.split(jax.random.key(self.seed), len(self.log.queries))
        return np.array(self.log.chunks) - np.asarray(_plain_chunks(self.agent, keys, self._queries()))

    def _queries(self) -> Prompt:
        return jax.tree.map(lambda *parts: np.concatenate(parts), *self.log.queries)

    def _tokens(self) -> np.ndarray:
        return np.concatenate([decoded.tokens for decoded in self.log.decoded])


# --- compiled parts -----------------------------------------------------------------------------------------


def _key(seed: Array, number: Array) -> Array:
    return jax.random.fold_in(jax.random.key(seed), number)[None]


@jax.jit
def _decode(agent: TokenAgent, rule: Rule, query: Prompt, seed: Array, number: Array, max_passes: Array) -> tuple:
    decoded = agent.decode(_key(seed, number), query, rule, max_passes)
    return decoded, agent.chunk(decoded)


@jax.jit
def _begin(agent: TokenAgent, query: Prompt, seed: Array, number: Array) -> tuple:
    contexts = agent.main.context(*query), agent.draft.context(*query)
    return _key(seed, number), contexts, engine.start(agent.main, agent.draft, 1)


@jax.jit(static_argnames="first_block")
def _propose(key, turn, draft, context, progress, rule, first_block):
    return engine.propose(engine.round_keys(key, turn)[0], draft, context, progress, rule, first_block)


@jax.jit
def _verify(key, turn, main, context, progress, logits, rule):
    return engine.verify(engine.round_keys(key, turn)[1], main, context, progress, logits, rule)


_chunk = jax.jit(TokenAgent.chunk)


@jax.jit
def _plain_chunks(agent: TokenAgent, keys: Array, queries: Prompt) -> Float[Array, "q h a"]:
    return agent.chunk(engine.autoregressive(keys, agent.main, queries, Greedy()))


@jax.jit
def _overlap(agent: TokenAgent, queries: Prompt, tokens: Array) -> Float[Array, "q k j"]:
    drafted = agent.draft.config.num_layers
    main = agent.main.logits(agent.main.context(*queries), tokens)[:, :drafted]
    draft = agent.draft.logits(agent.draft.context(*queries), tokens[:, :drafted])
    return jnp.minimum(jax.nn.softmax(main), jax.nn.softmax(draft)).sum(-1)


def _shares(part: np.ndarray, whole: np.ndarray) -> list:
    """part / whole, NaN where there is nothing."""
    return (part / np.where(whole == 0, np.nan, whole)).tolist()


def spread(values: list[float]) -> dict[str, float]:
    """Mean and percentiles, the latter as values that occurred."""
    return {"mean": float(np.mean(values)), **{f"p{level}": value for level, value in percentiles(values).items()}}


# --- episodes -----------------------------------------------------------------------------------------------


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
    return env.reset(start_keys(1))


@runtime.jit
def _step(
    env: Environment, state: State, action: Array, key: Array, tick: Array, noise: Array
) -> tuple[State, Transition]:
    return env.step(state, noisy_action(jax.random.fold_in(key, tick), action, noise)[None])


def run_episode_with_chunks(env: Environment, decode: Decoder, *, seed: int = 0, action_noise: float = 0.1) -> Episode:
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
