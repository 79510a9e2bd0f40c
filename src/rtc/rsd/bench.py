"""What `exp/bench_rsd.py` measures."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from flax import nnx

from rtc import experiment, latency
from rtc.evaluation import EvalConfig
from rtc.rsd import arms, checkpoints
from rtc.rsd.arms import Arm
from rtc.rsd.policy import TokenModelConfig, TokenPolicy
from rtc.rsd.timed import Engine, Episode, run_episode_with_chunks, spread

WIDE = TokenModelConfig(blocks=(1,) * 8, dim=1024, depth=8, num_heads=16, obs_hidden_dim=1024)
DEVIATION_TEXT = """\
## What relaxed rules change

Actions of the chunks against greedy autoregression on the same queries. The relaxed arms are lossy.
"""
PASS_TEXT = f"""\
## One pass against its number of tokens

The first 4, 8, … 32 tokens of a chunk in one pass, batch 1. `shipped` is the model `layers`; `draft` the draft's last
pass; `wide` has random weights, a width of {WIDE.dim} and {WIDE.depth} blocks: only its times mean anything.
"""


def engine_of(run_path: Path, arm: Arm, level: str) -> Engine:
    """The timed engine of an arm."""
    agent = arms.load_agent(run_path, arm, level)
    limit = None if arm.max_passes == arms.NO_DEADLINE else arm.max_passes
    return Engine(agent, arm.make_rule(agent), max_passes=limit)


def run_episodes(engines: Mapping[str, Engine], level: str, queries: int) -> dict[str, list[Episode]]:
    """Episodes of every engine in turn, until each has answered this many queries; the first one's are not counted."""
    _, env = arms.observed(level)
    episodes: dict[str, list[Episode]] = {name: [] for name in engines}
    for engine in engines.values():
        run_episode_with_chunks(env, engine)
        engine.reset_stats()
    seed = 0
    while any(len(engine.log.times) < queries for engine in engines.values()):
        for name, engine in engines.items():
            if len(engine.log.times) < queries:
                episodes[name].append(run_episode_with_chunks(env, engine, seed=seed))
        seed += 1
    return episodes


def flow_ms(run_path: str, level: str, queries: int) -> dict[str, float]:
    """Times of the flow policy's queries (naive, 5 steps)."""
    subject = experiment.load_subject(run_path, level)
    ask = latency.query_function(EvalConfig(model=subject.policy.config), subject)
    for index in range(20):
        latency.timed(ask, index)
    return spread([latency.timed(ask, index) for index in range(queries)])


def table(stats: Mapping[str, Any], episodes: Mapping[str, list[Episode]], flow: Mapping[str, float]) -> pd.DataFrame:
    """One row per arm."""
    rows = [{"arm": "flow", "queries": "", **{key: f"{value:.3f}" for key, value in flow.items()}}]
    for name, found in stats.items():
        accepted = np.array(found["acceptance_per_layer"], float)
        row = {"arm": name, "queries": found["queries"], **{k: f"{v:.3f}" for k, v in found["total_ms"].items()}}
        row |= {"draft mean": f"{found['draft_ms']['mean']:.3f}", "verify mean": f"{found['verify_ms']['mean']:.3f}"}
        row |= {"mean passes": f"{found['mean_passes']:.2f}", "expected passes": expected_passes(found)}
        row |= {"acceptance per layer": " ".join(f"{share:.2f}" for share in accepted)}
        solved = np.mean([episode.solved for episode in episodes[name]])
        rows.append(row | {"episodes": len(episodes[name]), "solved": f"{100 * solved:.1f} %"})
    return pd.DataFrame(rows).astype(object).fillna("")


def deviation_table(engines: Mapping[str, Engine], level: str) -> pd.DataFrame:
    """How far deterministic arms are from greedy autoregression: lossy rules, and lossless ones as a check.

    Over the chunks of the arm's own episodes, and the actions that drive something.
    """
    bound = arms.observed(level)[0].bound_actions
    rows = []
    for name, timed in engines.items():
        if not timed.rule.deterministic:
            continue
        apart = np.abs(timed.deviation()[..., bound])
        changed = (apart.max((1, 2)) > 1e-5).mean()
        label = "yes" if timed.rule.lossless else "no"
        row = {"arm": name, "lossless": label, "chunks changed": f"{100 * changed:.1f} %"}
        rows.append(row | {"rms": f"{np.sqrt(np.mean(apart**2)):.4f}", "largest": f"{apart.max():.4f}"})
    return pd.DataFrame(rows)


def expected_passes(found: Mapping[str, Any]) -> str:
    """M - K·a from the blocks that were accepted whole; empty without a draft."""
    if found["whole_blocks"] is None:
        return ""
    total, drafted, share = found["whole_blocks"]
    return f"{total} - {drafted}·{share:.3f} = {total - drafted * share:.2f}"


def _pass(policy: TokenPolicy, num_blocks: int) -> Callable[[], Any]:
    context = jnp.zeros((1, policy.config.dim))
    tokens = jnp.zeros((1, policy.config.num_layers, policy.tokens.tokens_per_layer), jnp.int32)
    call = jax.jit(TokenPolicy.logits, static_argnames="num_blocks")
    return lambda: jax.block_until_ready(call(policy, context, tokens, num_blocks=num_blocks))


def pass_times(run_path: Path, level: str, repeats: int) -> dict[str, pd.DataFrame]:
    """Milliseconds of one pass over the leading blocks: of the shipped model, the draft and a wide random one."""
    shipped = checkpoints.load_policy(arms.policy_path(run_path, "layers", level))
    draft = checkpoints.load_policy(arms.policy_path(run_path, "draft", level))
    sizes = replace(WIDE, blocks=shipped.config.blocks)
    wide = TokenPolicy(obs_dim=shipped.obs_dim, tokens=shipped.tokens, config=sizes, rngs=nnx.Rngs(0))
    found = {}
    for name, policy in (("shipped", shipped), ("draft", draft), ("wide", wide)):
        calls = [_pass(policy, count + 1) for count in range(len(policy.config.blocks))]
        times: list[list[float]] = [[] for _ in calls]
        for call in calls:
            call()
        for _ in range(repeats):
            for call, spent in zip(calls, times, strict=True):
                start = time.perf_counter()
                call()
                spent.append(1e3 * (time.perf_counter() - start))
        size = policy.tokens.tokens_per_layer
        found[name] = pd.DataFrame({"tokens": size * (index + 1), **spread(spent)} for index, spent in enumerate(times))
    return found


def pass_table(passes: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Median times by number of tokens."""
    rows = {}
    for name, found in passes.items():
        for tokens, median in zip(found["tokens"], found["p50"], strict=True):
            rows.setdefault(int(tokens), {})[f"{name} (ms, p50)"] = f"{median:.3f}"
    return pd.DataFrame({"tokens": tokens, **row} for tokens, row in rows.items()).astype(object).fillna("")
