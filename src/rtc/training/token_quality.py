"""How good tokenizer and token policies are on held-out episodes, beside the baseline of the commonest token."""

from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Bool, Float, Int

from rtc.policies.tokens.policy import TokenPolicy
from rtc.policies.tokens.rfsq import Tokenizer, codes_of_tokens
from rtc.training.token_data import Chunks

_BATCH = 4096
_MOST = 40 * _BATCH


def held_out(chunks: Chunks, seed: int = 0) -> Int[np.ndarray, " n"]:
    """First transitions of held-out chunks, a random part of them where they are very many."""
    order = np.random.default_rng(seed).permutation(chunks.held_out)
    return np.sort(order[:_MOST])


def in_batches(call: Callable[[Array], tuple[Array, ...]], start: Int[np.ndarray, " n"]) -> list[np.ndarray]:
    """`call` on batches of first transitions, its outputs joined along the first axis."""
    parts = [call(jnp.asarray(start[i : i + _BATCH])) for i in range(0, len(start), _BATCH)]
    return [np.concatenate([np.asarray(part[index]) for part in parts]) for index in range(len(parts[0]))]


@partial(jax.jit, static_argnames="size")
def _chunks_at(chunks: Chunks, start: Array, size: int) -> Array:
    return chunks.at(start, size)


@jax.jit
def _errors(
    tokenizer: Tokenizer, chunk: Float[Array, "b h a"], bound: Bool[Array, " a"]
) -> tuple[Int[Array, "b l j"], Float[Array, "b l"]]:
    tokens = tokenizer.encode(chunk)
    depths = range(1, tokenizer.config.num_layers + 1)
    wrong = [jnp.square(tokenizer.decode(tokens, depth) - chunk) for depth in depths]
    errors = [jnp.mean(one, axis=(1, 2), where=bound) for one in wrong]
    return tokens, jnp.stack(errors, axis=1)


def majority(values: Int[np.ndarray, "n ..."]) -> float:
    """Largest share of one value at one place: what always guessing it would score there."""
    columns = values.reshape(len(values), -1)
    return max(float(np.bincount(column).max() / len(column)) for column in columns.T)


def mean_majority(values: Int[np.ndarray, "n ..."]) -> float:
    """What always guessing the commonest value of each place scores on average."""
    columns = values.reshape(len(values), -1)
    return float(np.mean([np.bincount(column).max() / len(column) for column in columns.T]))


def tokenizer_table(
    tokenizer: Tokenizer, parts: Mapping[str, Chunks], bound: Mapping[str, Bool[np.ndarray, " a"]]
) -> pd.DataFrame:
    """Per layer, over the held-out chunks of all levels (each level counts the same): error, and the commonest values.

    Columns: root mean square error of an action that drives something when decoding up to this layer; the largest
    share of one code, and of one token, at any place of the layer.

    Args:
        tokenizer: the tokenizer.
        parts: chunks by level.
        bound: by level, the actions that drive something.
    """
    tokens, errors, size = [], [], tokenizer.config.action_chunk_size
    for level, chunks in parts.items():
        start, small = held_out(chunks), chunks.without_split()
        mask = jnp.asarray(bound[level])
        found, error = in_batches(lambda s, c=small, m=mask: _errors(tokenizer, _chunks_at(c, s, size), m), start)
        errors.append(error.mean(0))
        tokens.append(found[np.random.default_rng(0).permutation(len(found))[:20_000]])
    together = np.concatenate(tokens)
    codes = np.asarray(codes_of_tokens(jnp.asarray(together), tokenizer.config))
    return pd.DataFrame(
        {
            "layers": layer + 1,
            "rms error": f"{np.sqrt(np.mean([error[layer] for error in errors])):.4f}",
            "commonest code": f"{majority(codes[:, layer]):.3f}",
            "commonest token": f"{majority(together[:, layer]):.3f}",
        }
        for layer in range(tokenizer.config.num_layers)
    )


@jax.jit
def _predictions(
    policy: TokenPolicy, tokenizer: Tokenizer, chunk: Float[Array, "b h a"], obs: Float[Array, "b o"]
) -> tuple[Array, Array]:
    tokens = tokenizer.encode(chunk)[:, : policy.config.num_layers]
    logits = policy.logits(policy.context(obs, chunk, jnp.zeros(len(obs), jnp.int32)), tokens)
    nats = -jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[..., None], axis=-1)[..., 0]
    return logits.argmax(-1) == tokens, nats


def baseline_row(tokenizer: Tokenizer, chunks: Chunks) -> dict[str, str]:
    """Accuracy per layer of always guessing the commonest token of a place."""
    small, size = chunks.without_split(), tokenizer.config.action_chunk_size
    encode = jax.jit(lambda s: (tokenizer.encode(_chunks_at(small, s, size)),))
    (tokens,) = in_batches(encode, held_out(chunks))
    layers = {f"L{layer}": f"{mean_majority(tokens[:, layer]):.3f}" for layer in range(tokens.shape[1])}
    return {"model": "commonest token", "": "accuracy", **layers}


def policy_rows(
    name: str, policy: TokenPolicy, tokenizer: Tokenizer, chunks: Chunks, obs: Float[Array, "n o"]
) -> list[dict[str, str]]:
    """Accuracy and nats per token in every layer, no action committed."""
    start, small, size = held_out(chunks), chunks.without_split(), tokenizer.config.action_chunk_size
    right, nats = in_batches(lambda s: _predictions(policy, tokenizer, _chunks_at(small, s, size), obs[s]), start)
    kinds = {"accuracy": right.mean((0, 2)), "nats": nats.mean((0, 2))}
    return [
        {"model": name, "": kind, **{f"L{layer}": f"{value:.3f}" for layer, value in enumerate(values)}}
        for kind, values in kinds.items()
    ]
