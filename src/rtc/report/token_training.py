"""The training report of token policies: tokenizers and policies on held-out episodes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Bool

from rtc.policies.tokens import checkpoints
from rtc.policies.tokens.policy import TokenPolicy
from rtc.policies.tokens.rfsq import Tokenizer
from rtc.report import page
from rtc.report.page import Page, Section
from rtc.shared import provenance
from rtc.training import fast, token_quality
from rtc.training.fast import Encoder
from rtc.training.token_data import Chunks


def tokenizer_section(
    tokenizer: Tokenizer, parts: Mapping[str, Chunks], bound: Mapping[str, Bool[np.ndarray, " a"]], path: Path
) -> Section:
    """The tokenizer on held-out episodes; `bound` are, by level, the actions that drive something."""
    facts = checkpoints.facts(path)
    count = len(facts["data"])
    levels = f"{count} levels" if count > 1 else "one level"
    text = (
        f"Trained on chunks of {levels} for {facts['seconds']:.0f} s; actions that drive nothing are 0 and left out of "
        "the error. Held-out episodes, levels weighted equally; the largest share that a value has at a place."
    )
    table = token_quality.tokenizer_table(tokenizer, parts, bound)
    return Section("Tokenizer", [text, table])


def policies_section(
    level: str, policies: Mapping[str, TokenPolicy], tokenizer: Tokenizer, chunks: Chunks, obs: np.ndarray
) -> Section:
    """The token policies of a level on held-out episodes."""
    obs = jnp.asarray(obs, jnp.float32)
    rows = [token_quality.baseline_row(tokenizer, chunks)]
    for name, policy in policies.items():
        rows += token_quality.policy_rows(name, policy, tokenizer, chunks, obs)
    text = "Teacher-forced, per layer; `commonest token`: the accuracy of always guessing it."
    return Section(level, [text, pd.DataFrame(rows).astype(object).fillna("")])


def fast_section(encoder: Encoder, chunks: Chunks, path: Path) -> Section:
    """FAST's tokenizer on held-out episodes, and its policy's accuracy at the end of training.

    Args:
        encoder: the tokenizer.
        chunks: of the demonstrations.
        path: checkpoint of the policy, without suffix.
    """
    sizes = encoder.tokenizer.config
    there = np.asarray(chunks.at(jnp.asarray(token_quality.held_out(chunks)), sizes.action_chunk_size))
    found, _ = fast.padded(encoder.encode(there), np.asarray(encoder.tokenizer.lengths[...]))
    count = (found >= 0).sum(1)
    decoded = encoder.tokenizer.decode(jnp.asarray(np.maximum(found, 0)), jnp.asarray(count))
    row = {
        "tokens in the vocabulary": sizes.vocabulary,
        "coefficients of a chunk": sizes.coefficients,
        "tokens of a chunk, mean": f"{count.mean():.1f}",
        "5 % to 95 %": " to ".join(f"{x:.0f}" for x in np.percentile(count, [5, 95])),
        "most": int(count.max()),
        "rms error": f"{np.sqrt(np.mean(np.square(np.asarray(decoded) - there))):.4f}",
        "accuracy of the policy": f"{checkpoints.facts(path)['accuracy']:.3f}",
    }
    text = (
        f"FAST: coefficients are rounded after multiplication with {sizes.scale:g}. Chunks of held-out episodes; the "
        "accuracy is that of the next token in the last epoch of training."
    )
    return Section("FAST", [text, pd.DataFrame([row])])


def write(
    root: Path, sections: Sequence[Section], started: float, title: str = "RSD: tokenizer and token policies"
) -> Path:
    """Writes README.md below `root`; returns it. `started`: when the command began, in seconds since the epoch."""
    text = Page(title, sections, provenance.footer(started))
    return page.write(root, {"en": text}, {}, name="README")
