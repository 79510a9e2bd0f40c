"""Token policies in a world that is stepped from Python, as what a study evaluates."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Int

from rtc import worlds
from rtc.control.records import Records
from rtc.methods import Method, Policy
from rtc.policies.checkpoints import check_level
from rtc.policies.tokens import checkpoints
from rtc.study import hosted, hosted_decoding, identity, sequences, tokens
from rtc.study.cells import SIMULATOR
from rtc.study.evaluation import EvalConfig, Evaluation
from rtc.study.hosted_decoding import Notes
from rtc.study.sequences import SequenceDecoding
from rtc.study.tokens import Decoding, TokenSubject
from rtc.worlds import HostWorld

AnyDecoding = Decoding | SequenceDecoding


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


FAMILIES: Mapping[type, Family] = MappingProxyType(
    {
        Decoding: Family(
            lambda run, decoding, name: tokens.files(run, decoding.models, name),
            tokens.agent_in,
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
        roots = (*FAMILIES[type(self.decoding)].roots, "rtc.study.hosted_decoding.evaluate", f"{module}.open_env")
        code = {"code": identity.code_from(roots, config), SIMULATOR: dict(self.level.simulator)}
        return super().inputs(config, seed) | code

    def answering(self, config: EvalConfig) -> tuple[Method, Policy, int]:
        """What answers a query: method, policy, and the flow steps that it takes, of which there are none."""
        return self.decoding.method(self.agent), self.agent, 1

    def rollout(self, config: EvalConfig, *, seed: int, episodes: Int[np.ndarray, " n"]) -> Records:
        """What happens in some episodes."""
        return hosted_decoding.rollout(self, config, Notes(), seed=seed, episodes=episodes)

    def evaluate(self, config: EvalConfig, seed: int) -> Evaluation:
        return hosted.noted(hosted_decoding.evaluate(self, config, seed), self.level)

    def origin(self) -> dict[str, str]:
        places = ", ".join(identity.shown(path) for path in self.checkpoints)
        return {"checkpoint": places, "level_path": self.level.path}


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
        tokens.require_entries(path, facts["entries"], list(range(world.observation_dim)), world.name)
    hashes = "+".join(map(checkpoints.sha256, paths))
    agent = _agent(hashes, family, tuple(paths), tuple(world.bound_actions.tolist()))
    return HostedTokenSubject(world, level_path, agent, decoding, tuple(paths), hashes)


@functools.lru_cache(maxsize=16)
def _agent(_hashes: str, family: Family, paths: tuple[Path, ...], bound: tuple[bool, ...]) -> Any:
    return family.agent(list(paths), np.asarray(bound))
