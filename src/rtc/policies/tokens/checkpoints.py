"""Checkpoints of tokenizers and token policies, in the files of `rtc.policies.weights`."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import jax
from flax import nnx

from rtc.policies import weights
from rtc.policies.tokens.policy import TokenModelConfig, TokenPolicy
from rtc.policies.tokens.rfsq import Tokenizer, TokenizerConfig

T = TypeVar("T")
_KINDS = {Tokenizer: "tokenizer", TokenPolicy: "token policy"}


def exists(path: Path) -> bool:
    """Whether a complete checkpoint is there; its JSON is written last."""
    return weights.with_suffix(path, weights.HEADER).exists()


def save(path: Path, model: Tokenizer | TokenPolicy, facts: Mapping[str, Any]) -> None:
    """Writes `<path>.safetensors` and `<path>.json`, each atomically.

    Args:
        path: where to, without suffix.
        model: what to write.
        facts: anything JSON can hold.
    """
    header = {"kind": _KINDS[type(model)], **_sizes(model), "facts": dict(facts)}
    weights.write(path, model, header, jax.tree_util.keystr)


def _sizes(model: Tokenizer | TokenPolicy) -> dict[str, Any]:
    config = {"config": dataclasses.asdict(model.config)}
    if isinstance(model, TokenPolicy):
        return {**config, "tokens": dataclasses.asdict(model.tokens), "obs_dim": model.obs_dim}
    return config


def facts(path: Path) -> dict[str, Any]:
    """The facts stored with a checkpoint.

    Raises:
        FileNotFoundError: no such checkpoint.
    """
    return _header(path)["facts"]


def sha256(path: Path) -> str:
    """Hash of a checkpoint's weights."""
    return _header(path)["sha256"]


def check_tokenizer(path: Path, tokenizer: Path) -> None:
    """Raises ValueError unless a policy was trained on the tokens of this tokenizer."""
    if facts(path)["tokenizer_sha256"] != sha256(tokenizer):
        raise ValueError(f"{path} was trained on the tokens of another tokenizer than {tokenizer}: train it again")


def load_tokenizer(path: Path) -> Tokenizer:
    """Reads a tokenizer.

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: the file is damaged or holds something else.
    """
    header = _header(path, "tokenizer")
    config = weights.sizes(path, lambda: TokenizerConfig(**header["config"]))
    return _filled(path, header, lambda: Tokenizer(config, nnx.Rngs(0)))


def load_policy(path: Path) -> TokenPolicy:
    """Reads a token policy.

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: the file is damaged or holds something else.
    """
    header = _header(path, "token policy", {"tokens": dict, "obs_dim": int})
    config, obs_dim = header["config"], header["obs_dim"]
    config = weights.sizes(path, lambda: TokenModelConfig(**{**config, "blocks": tuple(config["blocks"])}))
    tokens = weights.sizes(path, lambda: TokenizerConfig(**header["tokens"]))
    return _filled(path, header, lambda: TokenPolicy(obs_dim=obs_dim, tokens=tokens, config=config, rngs=nnx.Rngs(0)))


def _header(path: Path, kind: str | None = None, fields: Mapping[str, type] = MappingProxyType({})) -> dict[str, Any]:
    if not exists(path):
        raise weights.not_found("checkpoint", path, (found.stem for found in path.parent.glob("*.json")))
    header = weights.read_header(path, {"kind": str, "config": dict, "facts": dict})
    if kind not in (None, header["kind"]):
        file = weights.with_suffix(path, weights.HEADER)
        raise ValueError(f"{file} does not describe a {kind} but a {header['kind']}: choose another file")
    return weights.read_header(path, fields) if fields else header


def _filled(path: Path, header: Mapping[str, Any], make: Callable[[], T]) -> T:
    arrays = weights.read_arrays(path, header)
    model = weights.filled(path, arrays, nnx.eval_shape(make), jax.tree_util.keystr)
    return jax.tree.map(lambda leaf: leaf, model)
