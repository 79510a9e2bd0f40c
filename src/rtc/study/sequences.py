"""Sequence policies (FAST tokens) as what a study evaluates."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from rtc.methods.decode_sequence import DecodeSequence, decode_sequence
from rtc.policies.checkpoints import check_level
from rtc.policies.tokens import checkpoints, sequence_checkpoints
from rtc.policies.tokens.rules import Exact, Greedy
from rtc.policies.tokens.sequence_agent import SequenceAgent
from rtc.shared.validation import require_choice, require_float, require_positive
from rtc.study import identity, tokens
from rtc.study.evaluation import EvalConfig
from rtc.study.tokens import TokenSubject
from rtc.worlds.kinetix import levels

NAME = "fast"
_RULES = {"exact": Exact, "greedy": Greedy}
_ROOTS = (
    "rtc.methods.decode_sequence",
    "rtc.policies.tokens.sequence_checkpoints",
    "rtc.study.tokens.evaluate",
    "rtc.worlds.kinetix.levels.load",
)


@dataclass(frozen=True)
class SequenceDecoding:
    """One way to decode a chunk of FAST tokens, one token per pass until the chunk is complete.

    Attributes:
        rule: how tokens are chosen: drawn from the policy's law (`exact`), or the most probable one (`greedy`).
        conditioned: tell the policy which actions are committed.
        pass_ticks, overhead_ticks: control ticks that a pass and the rest of a query take; None: the delay profile says
            how long a query takes.
    """

    rule: str = "exact"
    conditioned: bool = True
    pass_ticks: float | None = None
    overhead_ticks: float = 0.0

    def __post_init__(self) -> None:
        require_choice("rule", self.rule, _RULES)
        require_float("overhead_ticks", self.overhead_ticks, low=0.0)
        if self.pass_ticks is not None:
            require_positive("pass_ticks", self.pass_ticks, "control ticks of a pass")
        elif self.overhead_ticks:
            raise ValueError("overhead_ticks has no effect without pass_ticks: give it, or leave both")

    @property
    def main(self) -> str:
        """Name of the model whose tokens count."""
        return NAME

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models that it needs."""
        return (NAME,)

    def method(self, agent: SequenceAgent) -> DecodeSequence:
        """The execution method."""
        rule = _RULES[self.rule]()
        timed = {"pass_ticks": self.pass_ticks, "overhead_ticks": self.overhead_ticks}
        return decode_sequence(rule, conditioned=self.conditioned, **timed)


def tokenizer_path(run_path: Path) -> Path:
    """Where the tokenizer is, without suffix."""
    return Path(run_path) / f"{NAME}_tokenizer" / "policies" / "tokenizer"


def policy_path(run_path: Path, level: str) -> Path:
    """Where a level's policy is, without suffix; `level` is its name."""
    return tokens.policy_path(run_path, NAME, level)


def files(run_path: Path, level: str) -> list[Path]:
    """The checkpoints of the tokenizer and of a level's policy."""
    return [tokenizer_path(run_path), policy_path(run_path, level)]


class SequenceSubject(TokenSubject):
    """A sequence policy, and a way to decode with it, on a level of Kinetix."""

    def inputs(self, config: EvalConfig, seed: int) -> dict[str, Any]:
        return super().inputs(config, seed) | {"code": identity.code_from(_ROOTS, config)}


@functools.lru_cache(maxsize=16)
def load(run_path: str, decoding: SequenceDecoding, level_path: str) -> SequenceSubject:
    """Loads a level and its sequence policy from a run.

    Raises:
        FileNotFoundError: a checkpoint is missing.
        ValueError: a checkpoint is damaged, or was trained with another tokenizer, on another content of the level or
            with other entries of the observation.
    """
    level, _ = tokens.observed(level_path)
    tokenizer, policy = paths = files(Path(run_path), level.name)
    facts = checkpoints.facts(policy)
    checkpoints.check_tokenizer(policy, tokenizer)
    check_level(policy, facts, level.name, level.sha256)
    tokens.require_entries(policy, facts["entries"], levels.varying_observation_entries(level).tolist(), level.name)
    hashes = "+".join(map(checkpoints.sha256, paths))
    agent = load_agent(paths, jnp.asarray(level.bound_actions))
    return SequenceSubject(level, level_path, agent, decoding, tuple(paths), hashes)


def load_agent(paths: list[Path], bound: Any) -> SequenceAgent:
    """The agent in some files."""
    tokenizer, policy = paths
    loaded = sequence_checkpoints.load_tokenizer(tokenizer), sequence_checkpoints.load_policy(policy)
    return SequenceAgent(*loaded, jnp.asarray(bound))
