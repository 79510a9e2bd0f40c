"""Training of FAST tokenizers, which is learning a byte-pair encoding, and of the policies of their tokens.

The encoding is learned and applied by `tokenizers` (extra `fast`); evaluation needs its tables alone.
"""

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from rtc.policies.tokens import checkpoints, fast, sequence_checkpoints
from rtc.policies.tokens.fast import FastConfig, FastTokenizer
from rtc.policies.tokens.sequence import SequenceModelConfig, SequencePolicy
from rtc.shared import provenance
from rtc.shared.entry import how_to_install
from rtc.shared.validation import require_int, require_positive
from rtc.training import runs, tokens
from rtc.training.demonstrations import Demonstrations
from rtc.training.token_data import Chunks
from rtc.training.trainer import FitConfig

# Coefficients are written as characters, from here on: a block of Unicode without holes or white space.
_FIRST, _LAST = 0x4E00, 0x9FFF


@dataclass(frozen=True)
class EncodingConfig:
    """What a tokenizer is learned with; the defaults are the published ones.

    Attributes:
        scale: what coefficients are multiplied with before they are rounded.
        vocabulary: tokens at most, the single coefficients included.
    """

    scale: float = 10.0
    vocabulary: int = 1024

    def __post_init__(self):
        require_positive("scale", self.scale, "the factor of coefficients before they are rounded")
        require_int("vocabulary", self.vocabulary, low=1)


class Encoder(NamedTuple):
    """The way from chunks to tokens.

    Attributes:
        tokenizer: the way back.
        encoding: the byte-pair encoding, of the library's class.
        first: the smallest coefficient, which the first character stands for; `last` the largest.
        last: coefficients beyond these count as these.
    """

    tokenizer: FastTokenizer
    encoding: Any
    first: int
    last: int

    def encode(self, chunks: Float[np.ndarray, "n h a"]) -> list[list[int]]:
        """The tokens of chunks."""
        tables = self.tokenizer
        found = fast.rounded(
            chunks, np.asarray(tables.centre[...]), np.asarray(tables.half_range[...]), tables.config.scale
        )
        return [one.ids for one in self.encoding.encode_batch(_texts(found, self.first, self.last))]


def library() -> Any:
    """The package `tokenizers`. Raises ValueError where it is not installed."""
    try:
        return importlib.import_module("tokenizers")
    except ImportError as error:
        raise ValueError(f"FAST tokens need the package tokenizers: {how_to_install('exp-delta[fast]')}") from error


def _texts(coefficients: Int[np.ndarray, "n c"], first: int, last: int) -> list[str]:
    """A character per coefficient."""
    return ["".join(map(chr, row)) for row in np.clip(coefficients, first, last) - first + _FIRST]


def learn(chunks: Float[np.ndarray, "n h a"], config: EncodingConfig) -> Encoder:
    """Learns a tokenizer from chunks.

    Raises:
        ValueError: the package `tokenizers` is not installed, or the vocabulary has no room for single coefficients.
    """
    package = library()
    centre, half_range = fast.ranges(chunks)
    found = fast.rounded(chunks, centre, half_range, config.scale)
    first, last = int(found.min()), int(found.max())
    single = last - first + 1
    if single > min(config.vocabulary, _LAST - _FIRST + 1):
        raise ValueError(
            f"vocabulary={config.vocabulary} is smaller than the {single} values that coefficients have with "
            f"scale={config.scale:g}: lower the scale, or raise the vocabulary"
        )
    encoding = package.Tokenizer(package.models.BPE())
    trainer = package.trainers.BpeTrainer(
        vocab_size=config.vocabulary,
        initial_alphabet=[chr(_FIRST + number) for number in range(single)],
        special_tokens=[],
        show_progress=False,
    )
    texts = _texts(found, first, last)
    encoding.train_from_iterator(texts, trainer)
    mean_length = np.mean([len(one.ids) for one in encoding.encode_batch(texts)])
    pieces = _pieces(encoding, first)
    sizes = FastConfig(
        action_chunk_size=chunks.shape[1],
        action_dim=chunks.shape[2],
        vocabulary=len(pieces),
        longest=max(map(len, pieces)),
        scale=config.scale,
        usual_length=max(1, round(float(mean_length))),
    )
    tokenizer = FastTokenizer(sizes)
    tokenizer.centre[...], tokenizer.half_range[...] = jnp.float32(centre), jnp.float32(half_range)
    padded = [[*piece, *[0] * (sizes.longest - len(piece))] for piece in pieces]
    tokenizer.pieces[...], tokenizer.lengths[...] = jnp.int32(padded), jnp.int32([len(piece) for piece in pieces])
    return Encoder(tokenizer, encoding, first, last)


def _pieces(encoding: Any, first: int) -> list[list[int]]:
    """The coefficients of every token, by its number."""
    by_number = {number: text for text, number in encoding.get_vocab().items()}
    return [[ord(character) - _FIRST + first for character in by_number[number]] for number in range(len(by_number))]


def load_encoder(path: Path) -> Encoder:
    """An encoder from a checkpoint of its tokenizer.

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: it is damaged or something else, or the package `tokenizers` is not installed.
    """
    kept = json.loads(sequence_checkpoints.encoding(path))
    encoding = library().Tokenizer.from_str(kept["tokenizers"])
    return Encoder(sequence_checkpoints.load_tokenizer(path), encoding, kept["first"], kept["last"])


def train_tokenizer(
    chunks: Chunks, chunk_size: int, config: EncodingConfig, path: Path, facts: Mapping[str, Any]
) -> Encoder:
    """Learns a tokenizer from the training chunks and writes it, unless it is there already.

    Raises:
        ValueError: as of `learn`.
    """
    if checkpoints.exists(path):
        return load_encoder(path)
    origin, there = provenance.origin(), np.asarray(chunks.at(jnp.asarray(chunks.training), chunk_size))
    encoder = learn(there, config)
    kept = {"tokenizers": encoder.encoding.to_str(), "first": encoder.first, "last": encoder.last}
    facts = {**facts, "training": runs.as_dict(config), "chunks": len(there), **origin}
    sequence_checkpoints.save_tokenizer(path, encoder.tokenizer, json.dumps(kept), facts)
    return encoder


class SequenceData(NamedTuple):
    """What a sequence policy learns from.

    Attributes:
        chunks: the chunks.
        obs: observations.
        tokens: of the chunk that starts at each transition; -1 behind the last.
        filled: coefficients before each token.
    """

    chunks: Chunks
    obs: Float[Array, "n o"]
    tokens: Int[Array, "n t"]
    filled: Int[Array, "n t"]


def objective(
    policy: SequencePolicy, data: SequenceData, start: Int[Array, " b"], key: PRNGKeyArray
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Cross-entropy of the tokens of the chunks that start at these transitions, and their accuracy."""
    chunk = data.chunks.at(start, policy.tokens.action_chunk_size)
    loss, accuracy = policy.loss(key, data.obs[start], chunk, data.tokens[start], data.filled[start])
    return loss, {"accuracy": accuracy}


def padded(sequences: Sequence[Sequence[int]], lengths: Int[np.ndarray, " v"]) -> tuple[np.ndarray, np.ndarray]:
    """Sequences as rows of one array, -1 behind their ends, and the coefficients before each token."""
    found = np.full((len(sequences), max(map(len, sequences))), -1, np.int32)
    for row, one in zip(found, sequences, strict=True):
        row[: len(one)] = one
    filled = np.cumsum(np.where(found >= 0, lengths[found], 0), axis=1)
    return found, np.concatenate([np.zeros((len(found), 1), int), filled[:, :-1]], axis=1).astype(np.int32)


def train_policy(
    demos: Demonstrations,
    chunks: Chunks,
    tokenizer_path: Path,
    sizes: SequenceModelConfig,
    config: FitConfig,
    path: Path,
    facts: Mapping[str, Any],
) -> SequencePolicy:
    """Trains a sequence policy and writes it, unless it is there already; arguments as of `tokens.train_policy`.

    Raises:
        ValueError: the policy that is there was trained with another tokenizer, or the package `tokenizers` is not
            installed.
    """
    if checkpoints.exists(path):
        checkpoints.check_tokenizer(path, tokenizer_path)
        return sequence_checkpoints.load_policy(path)
    encoder, origin = load_encoder(tokenizer_path), provenance.origin()
    size = encoder.tokenizer.config.action_chunk_size
    every = np.asarray(chunks.at(jnp.arange(len(chunks.last)), size))
    found, filled = padded(encoder.encode(every), np.asarray(encoder.tokenizer.lengths[...]))
    obs = jnp.asarray(demos.obs, jnp.float32)
    policy = SequencePolicy(
        obs_dim=obs.shape[1], tokens=encoder.tokenizer.config, config=sizes, rngs=nnx.Rngs(config.seed)
    )
    data = SequenceData(chunks.without_split(), obs, jnp.asarray(found), jnp.asarray(filled))
    policy, stats = tokens.fit(policy, objective, data, chunks, config, path)
    inputs = {"entries": np.asarray(demos.entries).tolist(), "tokenizer_sha256": checkpoints.sha256(tokenizer_path)}
    facts = {**facts, **inputs, "training": runs.as_dict(config), **stats, **origin}
    sequence_checkpoints.save_policy(path, policy, facts)
    return policy
