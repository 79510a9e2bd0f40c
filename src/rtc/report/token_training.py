"""The training report of RSD: its tokenizer and its token policies on held-out episodes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd

from rtc.policies.tokens import checkpoints
from rtc.policies.tokens.policy import TokenPolicy
from rtc.policies.tokens.rfsq import Tokenizer
from rtc.report import page
from rtc.report.page import Page, Section
from rtc.shared import provenance
from rtc.training import token_quality
from rtc.training.token_data import Chunks
from rtc.worlds.kinetix import levels


def tokenizer_section(tokenizer: Tokenizer, parts: Mapping[str, Chunks], path: Path) -> Section:
    """The tokenizer on held-out episodes."""
    facts = checkpoints.facts(path)
    text = (
        f"Trained on chunks of {len(facts['data'])} levels for {facts['seconds']:.0f} s; actions that drive nothing "
        "are 0 and left out of the error. Held-out episodes, levels weighted equally; the largest share that a value "
        "has at a place."
    )
    bound = {name: levels.load(name).bound_actions for name in parts}
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


def write(root: Path, sections: Sequence[Section], started: float) -> Path:
    """Writes README.md below `root`; returns it. `started`: when the command began, in seconds since the epoch."""
    text = Page("RSD: tokenizer and token policies", sections, provenance.footer(started))
    return page.write(root, {"en": text}, {}, name="README")
