"""Checkpoints of FAST tokenizers and sequence policies, in the files of `rtc.policies.weights`."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from rtc.policies import weights
from rtc.policies.tokens import checkpoints
from rtc.policies.tokens.fast import FastConfig, FastTokenizer
from rtc.policies.tokens.sequence import SequenceModelConfig, SequencePolicy

TOKENIZER, POLICY = "FAST tokenizer", "sequence policy"


def save_tokenizer(path: Path, tokenizer: FastTokenizer, encoding: str, facts: Mapping[str, Any]) -> None:
    """Writes `<path>.safetensors` and `<path>.json`, each atomically.

    Args:
        path: where to, without suffix.
        tokenizer: the way from tokens to chunks.
        encoding: the byte-pair encoding as JSON, for the way there (`rtc.training.fast`).
        facts: anything JSON can hold.
    """
    header = {"kind": TOKENIZER, "config": dataclasses.asdict(tokenizer.config), "encoding": encoding}
    weights.write(path, tokenizer, header | {"facts": dict(facts)}, jax.tree_util.keystr)


def save_policy(path: Path, policy: SequencePolicy, facts: Mapping[str, Any]) -> None:
    """Writes `<path>.safetensors` and `<path>.json`, each atomically; arguments as of `save_tokenizer`."""
    sizes = {"config": dataclasses.asdict(policy.config), "tokens": dataclasses.asdict(policy.tokens)}
    header = {"kind": POLICY, **sizes, "obs_dim": policy.obs_dim, "facts": dict(facts)}
    weights.write(path, policy, header, jax.tree_util.keystr)


def load_tokenizer(path: Path) -> FastTokenizer:
    """Reads a tokenizer.

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: the file is damaged or holds something else.
    """
    header = checkpoints._header(path, TOKENIZER)
    config = weights.sizes(path, lambda: FastConfig(**header["config"]))
    return checkpoints._filled(path, header, lambda: FastTokenizer(config))


def encoding(path: Path) -> str:
    """A tokenizer's byte-pair encoding as JSON. Raises as `load_tokenizer`."""
    return checkpoints._header(path, TOKENIZER, {"encoding": str})["encoding"]


def load_policy(path: Path) -> SequencePolicy:
    """Reads a sequence policy. Raises as `load_tokenizer`."""
    header = checkpoints._header(path, POLICY, {"tokens": dict, "obs_dim": int})
    config = weights.sizes(path, lambda: SequenceModelConfig(**header["config"]))
    tokens = weights.sizes(path, lambda: FastConfig(**header["tokens"]))
    sizes = {"obs_dim": header["obs_dim"], "tokens": tokens, "config": config}
    return checkpoints._filled(path, header, lambda: SequencePolicy(**sizes, rngs=nnx.Rngs(0)))
