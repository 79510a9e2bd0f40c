"""Token policies in a world that is stepped from Python, as what a study evaluates.

What every query's decoding found is noted, so that cells say which proposals were accepted, and which sequences were
invalid.
"""

import copy
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from rtc import worlds
from rtc.control.records import Records
from rtc.methods.base import Answer, Query, State
from rtc.methods.wrapper import Wrapper
from rtc.policies.checkpoints import check_level
from rtc.policies.tokens import checkpoints
from rtc.policies.tokens.agent import TokenAgent
from rtc.shared import runtime
from rtc.study import evaluation, hosted, identity, sequences, tokens
from rtc.study.cells import SIMULATOR
from rtc.study.evaluation import EvalConfig, Evaluation
from rtc.study.sequences import SequenceDecoding
from rtc.study.tokens import Decoding, TokenSubject
from rtc.worlds import HostWorld

AnyDecoding = Decoding | SequenceDecoding


# --- what a decoding found ------------------------------------------------------------------------------------


@dataclass
class Notes:
    """What was decoded, query by query: `rtc.policies.tokens.engine.Decoded` or `sequence.Sequence` of one row each."""

    decoded: list[Any] = field(default_factory=list)

    def row(self) -> dict[str, float]:
        """Columns of a cell, sums over all queries: proposals by layer, those that stood, invalid sequences."""
        found: dict[str, float] = {}
        for name in ("proposed", "accepted"):
            parts = [np.asarray(getattr(one, name)).sum((0, 2)) for one in self.decoded if hasattr(one, name)]
            found |= {f"{name}_{layer}": float(count) for layer, count in enumerate(np.sum(parts, 0) if parts else ())}
        invalid = [not one.valid[0] for one in self.decoded if hasattr(one, "valid")]
        return found | ({"invalid_sequences": float(sum(invalid))} if invalid else {})


@dataclass(frozen=True)
class Noted(Wrapper):
    """A method that decodes, with notes of what it found.

    Attributes:
        inner: the method.
        notes: where they go. They are no array, so the host executor calls this method as it is, uncompiled; what it
            computes is compiled here.
    """

    notes: Notes

    def first_chunk(
        self, policy: Any, key: Key[Array, " b"], obs: Float[Array, "b o"], num_steps: int
    ) -> Float[Array, "b h a"]:
        return _first_chunk(self.inner, policy, key, obs)

    def answer(
        self, policy: Any, query: Query, state: State, drawn: Int[Array, " b"], num_steps: int
    ) -> tuple[Answer, State]:
        answer, decoded = _answer(self.inner, policy, query, drawn)
        self.notes.decoded.append(jax.device_get(decoded))
        return answer, state


@runtime.jit
def _first_chunk(method: Any, policy: Any, key: Array, obs: Array) -> Array:
    return method.first_chunk(policy, key, obs, 1)


@runtime.jit
def _answer(method: Any, policy: Any, query: Query, drawn: Array) -> tuple[Answer, Any]:
    found: list[Any] = []
    watched = copy.copy(policy)

    def decode(*arguments: Any) -> Any:
        found.append(policy.decode(*arguments))
        return found[-1]

    object.__setattr__(watched, "decode", decode)
    answer, _ = method.answer(watched, query, (), drawn, 1)
    return answer, found[0]


# --- the subject ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Family:
    """The policies that a kind of decoding decodes.

    Attributes:
        files: their checkpoints, the tokenizer's first, from the run, the decoding and the name of what they are for.
        agent: what is in these files, from them and the actions that drive something.
        roots: where the code behind the results starts.
    """

    files: Callable[[Path, Any, str], list[Path]]
    agent: Callable[[list[Path], Any], Any]
    roots: tuple[str, ...]


def _token_agent(paths: list[Path], bound: Any) -> TokenAgent:
    tokenizer, main, *draft = paths
    policies = checkpoints.load_policy(main), jnp.asarray(bound), *map(checkpoints.load_policy, draft)
    return TokenAgent(checkpoints.load_tokenizer(tokenizer), *policies)


FAMILIES: Mapping[type, Family] = MappingProxyType(
    {
        Decoding: Family(
            lambda run, decoding, name: tokens.files(run, decoding.models, name),
            _token_agent,
            ("rtc.methods.decode", "rtc.policies.tokens.checkpoints"),
        ),
        SequenceDecoding: Family(
            lambda run, decoding, name: sequences.files(run, name),
            sequences.load_agent,
            ("rtc.methods.decode_sequence", "rtc.policies.tokens.sequence_checkpoints"),
        ),
    }
)


@dataclass(frozen=True)
class HostedTokenSubject(TokenSubject):
    """A token policy, and a way to decode with it, in a world that is stepped from Python."""

    level: HostWorld
    decoding: AnyDecoding

    def check(self, config: EvalConfig) -> None:
        hosted.check_world(self.level, self.level_path, config)
        super().check(config)

    def inputs(self, config: EvalConfig, seed: int) -> dict[str, Any]:
        module = worlds.module_of(self.level.kind)
        roots = (*FAMILIES[type(self.decoding)].roots, "rtc.study.hosted_tokens.evaluate", f"{module}.open_env")
        code = {"code": identity.code_from(roots, config), SIMULATOR: dict(self.level.simulator)}
        return super().inputs(config, seed) | code

    def rollout(self, config: EvalConfig, *, seed: int, episodes: Int[np.ndarray, " n"]) -> Records:
        """What happens in some episodes."""
        return rollout(self, config, Notes(), seed=seed, episodes=episodes)

    def evaluate(self, config: EvalConfig, seed: int) -> Evaluation:
        return evaluate(self, config, seed)

    def origin(self) -> dict[str, str]:
        places = ", ".join(identity.shown(path) for path in self.checkpoints)
        return {"checkpoint": places, "level_path": self.level.path}


def rollout(
    subject: HostedTokenSubject, config: EvalConfig, notes: Notes, *, seed: int, episodes: Int[np.ndarray, " n"]
) -> Records:
    """Runs some episodes, one after the other; `notes` are added to."""
    rules = tokens._controller(subject, config)
    rules = replace(rules, method=Noted(rules.method, notes))
    one_pass = replace(config, num_flow_steps=1)
    return hosted.rollout(one_pass, subject.level, subject.agent, rules, seed=seed, episodes=episodes)


def evaluate(subject: HostedTokenSubject, config: EvalConfig, seed: int) -> Evaluation:
    """Runs `config.num_evals` episodes.

    Raises:
        NonFiniteError: a NaN or infinity appeared; the message says in which episode and tick.
    """
    notes = Notes()

    def run(*, episodes: Int[np.ndarray, " n"], num_slots: int) -> Records:
        notes.decoded.clear()
        return rollout(subject, config, notes, seed=seed, episodes=episodes)

    found = evaluation.run(
        run,
        config,
        subject.level,
        what=f"world {subject.level.name}, decoding {subject.decoding.main}, seed {seed}",
        chunk_size=subject.chunk_size,
        # Steps are passes of the main model here, and every copy of a hedged query takes them.
        evaluations=lambda passes: passes * config.delay_profile.tail.hedge,
        bootstrap_evaluations=subject.decoding.method(subject.agent).bootstrap_evaluations(subject.agent, 1),
    )
    shares = {f"passes_{count}": share for count, share in tokens.pass_shares(found.records).items()}
    found.summary.row.update(shares | notes.row())
    return found


@functools.lru_cache(maxsize=16)
def load(run_path: str, decoding: AnyDecoding, level_path: str) -> HostedTokenSubject:
    """Loads a world and what a way to decode needs from a run.

    Raises:
        FileNotFoundError: a checkpoint is missing.
        ValueError: a checkpoint is damaged, or was trained with another tokenizer or for another world.
    """
    world, family = worlds.load(level_path), FAMILIES[type(decoding)]
    tokenizer, *policies = paths = family.files(Path(run_path), decoding, world.home.name)
    for path in policies:
        facts = checkpoints.facts(path)
        checkpoints.check_tokenizer(path, tokenizer)
        check_level(path, facts, world.home.name, world.home.sha256)
        sequences.require_entries(path, facts["entries"], list(range(world.observation_dim)), world.name)
    hashes = "+".join(map(checkpoints.sha256, paths))
    agent = _agent(hashes, family, tuple(paths), tuple(world.bound_actions.tolist()))
    return HostedTokenSubject(world, level_path, agent, decoding, tuple(paths), hashes)


@functools.lru_cache(maxsize=16)
def _agent(_hashes: str, family: Family, paths: tuple[Path, ...], bound: tuple[bool, ...]) -> Any:
    return family.agent(list(paths), bound)
