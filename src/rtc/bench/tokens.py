"""What `exp/bench_rsd.py` measures: times at batch 1."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from flax import nnx
from jaxtyping import Float

from rtc.bench import timing
from rtc.bench.token_timing import Engine, Episode, run_episode_with_chunks, spread
from rtc.control.environment import start_keys
from rtc.policies.tokens import checkpoints
from rtc.policies.tokens.agent import NO_DEADLINE
from rtc.policies.tokens.policy import TokenModelConfig, TokenPolicy
from rtc.policies.tokens.rules import Exact
from rtc.study import preparation, subject, tokens
from rtc.study.protocols import rsd
from rtc.study.tokens import Decoding

FLOW, FLOW_STEPS = "flow", 5
WIDE = TokenModelConfig(blocks=(1,) * 8, dim=1024, depth=8, num_heads=16, obs_hidden_dim=1024)


@dataclass(frozen=True)
class Measured:
    """Everything that was measured.

    Attributes:
        decoders: the flow policy and every arm, after their episodes.
        split: the speculative arms with rounds as separate calls.
        episodes: episodes of the decoders.
        costs: what a pass costs, from `query_costs`.
        passes: times of single passes, from `pass_times`.
    """

    decoders: Mapping[str, Any]
    split: Mapping[str, Engine]
    episodes: Mapping[str, list[Episode]]
    costs: Mapping[str, Any]
    passes: Mapping[str, pd.DataFrame]


def measure(run_path: Path, flow_run: str, level: str, queries: int, repeats: int) -> Measured:
    """Runs episodes of every arm, and times what a pass costs.

    Args:
        run_path: run of the token policies.
        flow_run: run of the flow policy.
        level: name of the level.
        queries: queries per arm, at least.
        repeats: repetitions of single passes and of shortened queries.
    """
    decoders = {FLOW: FlowDecoder(flow_run, level)}
    decoders |= {name: engine_of(run_path, arm, level) for name, arm in rsd.DECODINGS.items()}
    timed = {name: arm for name, arm in rsd.DECODINGS.items() if arm.speculative and arm.max_passes == NO_DEADLINE}
    split = {name: engine_of(run_path, arm, level, split=True) for name, arm in timed.items()}
    episodes = run_episodes(decoders, level, queries)
    run_episodes(split, level, queries)
    costs = query_costs(run_path, level, repeats)
    return Measured(decoders, split, episodes, costs, pass_times(run_path, level, repeats))


class FlowDecoder:
    """The flow policy, plain sampling, with the milliseconds of every query from the call to the chunk in memory."""

    def __init__(self, run_path: str, level: str):
        there = subject.load(run_path, level)
        _, policy = preparation.observed(there.level, there.policy, "fast")
        self.total_ms: list[float] = []
        self._action = jax.jit(
            lambda obs, number: policy.action(jax.random.fold_in(jax.random.key(0), number), obs, FLOW_STEPS)
        )

    def __call__(self, obs: Float[np.ndarray, " o"]) -> Float[np.ndarray, "h a"]:
        obs, number = np.asarray(obs)[None], np.int32(len(self.total_ms))
        start = time.perf_counter()
        chunk = np.asarray(self._action(obs, number)[0])
        self.total_ms.append(1e3 * (time.perf_counter() - start))
        return chunk


def engine_of(run_path: Path, arm: Decoding, level: str, *, split: bool = False) -> Engine:
    """The engine of an arm."""
    agent = tokens.load_agent(run_path, arm.models, level)
    return Engine(agent, arm.make_rule(agent), max_passes=arm.max_passes, split=split)


def times(decoder: Engine | FlowDecoder) -> list[float]:
    """A decoder's total times so far, in ms."""
    return decoder.total_ms if hasattr(decoder, "total_ms") else decoder.log.total_ms


def forget(decoder: Engine | FlowDecoder) -> None:
    """Leaves out the queries so far, which paid for compilation."""
    if hasattr(decoder, "reset_stats"):
        decoder.reset_stats()
    else:
        decoder.total_ms = []


def run_episodes(decoders: Mapping[str, Any], level: str, queries: int) -> dict[str, list[Episode]]:
    """Episodes of every decoder in turn, until each has answered this many queries; two to warm up are not counted."""
    _, env = tokens.observed(level)
    for decoder in decoders.values():
        for seed in range(2):
            run_episode_with_chunks(env, decoder, seed=seed)
        forget(decoder)
    episodes: dict[str, list[Episode]] = {name: [] for name in decoders}
    seed = 0
    while any(len(times(decoder)) < queries for decoder in decoders.values()):
        for name, decoder in decoders.items():
            if len(times(decoder)) < queries:
                episodes[name].append(run_episode_with_chunks(env, decoder, seed=seed))
        seed += 1
    return episodes


# --- what one pass costs ------------------------------------------------------------------------------------


def leading_blocks(policy: TokenPolicy, count: int) -> TokenPolicy:
    """The same policy, which decodes its first blocks only."""
    shorter = nnx.clone(policy)
    shorter.config = replace(policy.config, blocks=policy.config.blocks[:count])
    return shorter


def query_costs(run_path: Path, level: str, queries: int) -> dict[str, Any]:
    """Milliseconds of a pass and of the rest of a query: a line through whole autoregressive queries of 1, 2, … blocks.

    Returns:
        `pass_ms` and `overhead_ms` of the model `layers`, `draft_ms` of the draft; `medians` of the queries.
    """
    loaded = {name: tokens.load_agent(run_path, (name,), level) for name in ("layers", "draft")}
    engines = {
        (name, count): Engine(replace(agent, main=leading_blocks(agent.main, count)), Exact())
        for name, agent in loaded.items()
        for count in range(1, len(agent.main.config.blocks) + 1)
    }
    obs = np.asarray(tokens.observed(level)[1].reset(start_keys(1))[1][0])
    for _ in range(queries + 20):
        for engine in engines.values():
            engine(obs)
    medians = {key: float(np.median(engine.log.total_ms[20:])) for key, engine in engines.items()}

    def line(name: str) -> tuple[float, float]:
        points = [(count, median) for (model, count), median in medians.items() if model == name]
        slope, rest = np.polyfit(*np.array(points).T, 1)
        return float(slope), float(rest)

    (pass_ms, overhead_ms), (draft_ms, _) = line("layers"), line("draft")
    named = {f"{name}, {count} passes": median for (name, count), median in medians.items()}
    return {"pass_ms": pass_ms, "overhead_ms": overhead_ms, "draft_ms": draft_ms, "medians": named}


def _pass(policy: TokenPolicy, num_blocks: int) -> Callable[[], Any]:
    graph, state = nnx.split(policy)
    context = jnp.zeros((1, policy.config.dim))
    tokens = jnp.zeros((1, policy.config.num_layers, policy.tokens.tokens_per_layer), jnp.int32)
    call = jax.jit(lambda state, context, tokens: nnx.merge(graph, state).logits(context, tokens, num_blocks))
    return lambda: jax.block_until_ready(call(state, context, tokens))


def pass_times(run_path: Path, level: str, repeats: int) -> dict[str, pd.DataFrame]:
    """Milliseconds of one pass over the leading blocks, and of an empty program: positions, mean, p50, p95, p99.

    Of the model `layers`, of the draft, and of a wide model with random weights.
    """
    shipped = checkpoints.load_policy(tokens.policy_path(run_path, "layers", level))
    draft = checkpoints.load_policy(tokens.policy_path(run_path, "draft", level))
    sizes = replace(WIDE, blocks=shipped.config.blocks)
    wide = TokenPolicy(obs_dim=shipped.obs_dim, tokens=shipped.tokens, config=sizes, rngs=nnx.Rngs(0))
    found = {}
    for name, policy in (("shipped", shipped), ("draft", draft), ("wide", wide)):
        nothing, zero = jax.jit(lambda x: x + 1), jnp.zeros(())
        calls = [lambda call=nothing, x=zero: jax.block_until_ready(call(x))]
        calls += [_pass(policy, count + 1) for count in range(len(policy.config.blocks))]
        spent = timing.in_turn(dict(enumerate(calls)), repeats)
        found[name] = pd.DataFrame({"positions": index, **spread(times)} for index, times in spent.items())
    return found
