"""Checkpoints of tokenizers and token policies: weights in safetensors, sizes and facts in JSON beside them."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import safetensors.numpy
from flax import nnx

from rtc.policies import weights as training
from rtc.policies.tokens.policy import TokenModelConfig, TokenPolicy
from rtc.policies.tokens.rfsq import Tokenizer, TokenizerConfig
from rtc.shared.files import atomic_write

_VERSION = 1
_KINDS = {Tokenizer: "tokenizer", TokenPolicy: "token policy"}


def exists(path: Path) -> bool:
    """Whether a complete checkpoint is there; its JSON is written last."""
    return path.with_suffix(".json").exists()


def save(path: Path, model: Tokenizer | TokenPolicy, facts: Mapping[str, Any]) -> None:
    """Writes `<path>.safetensors` and `<path>.json`, each atomically.

    Args:
        path: where to, without suffix.
        model: what to write.
        facts: anything JSON can hold.
    """
    weights = safetensors.numpy.save(training.tensors(nnx.to_pure_dict(nnx.state(model))))
    header = {
        "version": _VERSION,
        "kind": _KINDS[type(model)],
        **_sizes(model),
        "sha256": hashlib.sha256(weights).hexdigest(),
        "facts": dict(facts),
    }
    atomic_write(path.with_suffix(".safetensors"), weights)
    training.write_json(path.with_suffix(".json"), header)


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
    config = TokenizerConfig(**header["config"])
    return _filled(path, header, nnx.eval_shape(lambda: Tokenizer(config, nnx.Rngs(0))))


def load_policy(path: Path) -> TokenPolicy:
    """Reads a token policy.

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: the file is damaged or holds something else.
    """
    header = _header(path, "token policy")
    tokens = TokenizerConfig(**header["tokens"])
    config = TokenModelConfig(**{**header["config"], "blocks": tuple(header["config"]["blocks"])})
    obs_dim = header["obs_dim"]
    abstract = nnx.eval_shape(lambda: TokenPolicy(obs_dim=obs_dim, tokens=tokens, config=config, rngs=nnx.Rngs(0)))
    return _filled(path, header, abstract)


def _header(path: Path, kind: str | None = None) -> dict[str, Any]:
    file = path.with_suffix(".json")
    if not file.exists():
        there = sorted(str(found.with_suffix("")) for found in path.parent.glob("*.json"))
        raise FileNotFoundError(f"no checkpoint {path}; there are {', '.join(there) or 'none in this folder'}")
    header = json.loads(file.read_text())
    if header.get("version") != _VERSION or kind not in (None, header["kind"]):
        raise ValueError(f"{file} does not describe a {kind}: train it again with exp/train_rsd.py")
    return header


def _filled(path: Path, header: Mapping[str, Any], abstract: Any) -> Any:
    file = path.with_suffix(".safetensors")
    if hashlib.sha256(file.read_bytes()).hexdigest() != header["sha256"]:
        raise ValueError(f"{file} is damaged: its hash is not the one in its JSON; restore it or train again")
    graph, state = nnx.split(abstract)
    nnx.replace_by_pure_dict(state, training.load_tree(file, nnx.to_pure_dict(state)))
    return jax.tree.map(lambda leaf: leaf, nnx.merge(graph, state))
