"""Training of tokenizers and token policies."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from rtc.policies.tokens import checkpoints
from rtc.policies.tokens.policy import TokenModelConfig, TokenPolicy
from rtc.policies.tokens.rfsq import Tokenizer, TokenizerConfig
from rtc.shared import provenance
from rtc.training import runs, token_data, trainer
from rtc.training.demonstrations import Demonstrations
from rtc.training.token_data import Chunks
from rtc.training.trainer import FitConfig


class TokenData(NamedTuple):
    """What a token policy learns from: the tokenizer gives the targets."""

    tokenizer: Tokenizer
    chunks: Chunks
    obs: Float[Array, "n o"]


def tokenizer_objective(
    tokenizer: Tokenizer, chunks: Chunks, start: Int[Array, " b"], key: PRNGKeyArray
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """The error of the decoded chunks that start at these transitions."""
    return tokenizer.loss(key, chunks.at(start, tokenizer.config.action_chunk_size)), {}


def policy_objective(
    policy: TokenPolicy, data: TokenData, start: Int[Array, " b"], key: PRNGKeyArray
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Cross-entropy of the tokens of the chunks that start at these transitions; the accuracy of every layer."""
    chunk = data.chunks.at(start, data.tokenizer.config.action_chunk_size)
    loss, accuracy = policy.loss(key, data.obs[start], chunk, data.tokenizer.encode(chunk))
    return loss, {f"accuracy_{layer}": accuracy[layer] for layer in range(len(accuracy))}


def fit(
    model: nnx.Module, objective: trainer.Objective, data: Any, chunks: Chunks, config: FitConfig, path: Path
) -> tuple[Any, dict[str, float]]:
    """Trains on the training chunks with a falling step size; state and statistics go beside the checkpoints."""
    order = token_data.ShuffledChunks(chunks.training, config.batch_size, config.seed)
    place = {"folder": path.parents[1], "name": path.name}
    return trainer.fit(model, objective, data, order, config, **place, schedule=trainer.cosine)


def train_tokenizer(chunks: Chunks, sizes: TokenizerConfig, config: FitConfig, path: Path, facts: Mapping) -> Tokenizer:
    """Trains a tokenizer and writes it to `<path>.safetensors` (+ `.json`), unless it is there already."""
    if checkpoints.exists(path):
        return checkpoints.load_tokenizer(path)
    tokenizer, origin = Tokenizer(sizes, nnx.Rngs(config.seed)), provenance.origin()
    tokenizer, stats = fit(tokenizer, tokenizer_objective, chunks.without_split(), chunks, config, path)
    checkpoints.save(path, tokenizer, {**facts, "training": runs.as_dict(config), **stats, **origin})
    return tokenizer


def train_policy(
    demos: Demonstrations,
    chunks: Chunks,
    tokenizer_path: Path,
    sizes: TokenModelConfig,
    config: FitConfig,
    path: Path,
    facts: Mapping,
) -> TokenPolicy:
    """Trains a token policy of one level and writes it, unless it is there already.

    Args:
        demos: the level's demonstrations.
        chunks: their chunks.
        tokenizer_path: checkpoint of the tokenizer, which gives the tokens to predict.
        sizes: size of the policy.
        config: hyper-parameters.
        path: checkpoint, without suffix.
        facts: what to note in it besides the training.

    Raises:
        ValueError: the policy that is there was trained with another tokenizer.
    """
    if checkpoints.exists(path):
        checkpoints.check_tokenizer(path, tokenizer_path)
        return checkpoints.load_policy(path)
    tokenizer = checkpoints.load_tokenizer(tokenizer_path)
    obs = jnp.asarray(demos.obs, jnp.float32)
    rngs = nnx.Rngs(config.seed)
    policy = TokenPolicy(obs_dim=obs.shape[1], tokens=tokenizer.config, config=sizes, rngs=rngs)
    origin, data = provenance.origin(), TokenData(tokenizer, chunks.without_split(), obs)
    policy, stats = fit(policy, policy_objective, data, chunks, config, path)
    inputs = {"entries": np.asarray(demos.entries).tolist(), "tokenizer_sha256": checkpoints.sha256(tokenizer_path)}
    checkpoints.save(path, policy, {**facts, **inputs, "training": runs.as_dict(config), **stats, **origin})
    return policy
