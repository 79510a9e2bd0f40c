"""Trains the token policies of a world: RSD's and FAST's, on recorded demonstrations.

python exp/train_tokens.py --world gym:Pendulum-v1
bash exp/train_libero_tokens.sh

Finished checkpoints are kept, and a killed run continues where it was. FAST needs the extra `fast`. RSD on several
levels of Kinetix with one tokenizer for all of them is trained by exp/train_rsd.py.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from rtc import worlds
from rtc.policies.checkpoints import level_slug
from rtc.policies.tokens.rfsq import TokenizerConfig
from rtc.policies.tokens.sequence import SequenceModelConfig
from rtc.report import token_training
from rtc.report.page import Section
from rtc.shared import commands, runtime
from rtc.shared.validation import require_choice, require_int
from rtc.study import sequences
from rtc.study import tokens as token_files
from rtc.training import cloning, demonstrations, fast, token_data, tokens
from rtc.training.demonstrations import Demonstrations
from rtc.training.fast import EncodingConfig
from rtc.training.runs import as_dict, claim
from rtc.training.token_data import Chunks
from rtc.training.trainer import FitConfig

MODELS = (*token_files.MODELS, sequences.NAME)


@dataclass(frozen=True)
class Arguments:
    """Command line of train_tokens.

    Attributes:
        world: the world, or any of those that share its policies: a level of Kinetix, or one stepped from Python.
        models: what to train: models of RSD by name, and `fast`.
        data_run: run of the experts whose demonstrations are learned; they are in its folder `data`.
        run_path: where the checkpoints go.
        action_chunk_size: H, in control ticks.
        tokenizer: training of RSD's tokenizer.
        encoding: what FAST's tokenizer is learned with.
        policy: training of each policy.
        held_out: share of the episodes that is kept from training.
    """

    world: str = "gym:Pendulum-v1"
    models: tuple[str, ...] = ("blocks", "draft", "parallel", sequences.NAME)
    data_run: Path = Path("logs-expert/gym")
    run_path: Path = Path("logs-bc/gym/tokens")
    action_chunk_size: int = 8
    tokenizer: FitConfig = field(default_factory=FitConfig)
    encoding: EncodingConfig = field(default_factory=EncodingConfig)
    policy: FitConfig = field(default_factory=FitConfig)
    held_out: float = 0.1

    def __post_init__(self):
        require_int("action_chunk_size", self.action_chunk_size, low=1)
        if not self.models:
            raise ValueError(f"models has no entry, so nothing would be trained: give some of {', '.join(MODELS)}")
        for name in self.models:
            require_choice("models entry", name, MODELS)


@dataclass(frozen=True)
class Data:
    """What is learned.

    Attributes:
        name: of what the policies are for.
        demos: the demonstrations.
        chunks: their chunks.
        bound: the actions that drive something in the world.
        facts: what checkpoints keep of it.
    """

    name: str
    demos: Demonstrations
    chunks: Chunks
    bound: Bool[np.ndarray, " a"]
    facts: Mapping[str, Any]


def load(args: Arguments) -> Data:
    """The demonstrations of the world.

    Raises:
        FileNotFoundError: they have not been recorded.
        ValueError: they are damaged, or of another world.
    """
    world = worlds.load(args.world)
    home = getattr(world, "home", world)
    path = args.data_run / "data" / f"{level_slug(home.name)}.npz"
    demonstrations.require([path])
    demos = demonstrations.load(path)
    facts = cloning.data_facts(path, demos, home.name, home.sha256)
    chunks = token_data.of_world(demos, world.bound_actions, held_out=args.held_out)
    return Data(home.name, demos, chunks, world.bound_actions, facts)


def train(args: Arguments) -> None:
    started, data = time.time(), load(args)
    with claim(args.run_path, as_dict(args), True, may_differ=("world", "models")):
        of_rsd = tuple(name for name in args.models if name != sequences.NAME)
        sections = _rsd(args, data, of_rsd) if of_rsd else []
        if sequences.NAME in args.models:
            sections.append(_fast(args, data))
    commands.open_first(token_training.write(args.run_path, sections, started, f"Token policies: {data.name}"))


def _rsd(args: Arguments, data: Data, models: Sequence[str]) -> list[Section]:
    """Trains RSD's tokenizer and models where they are missing; returns the sections of the report."""
    path, parts = token_files.tokenizer_path(args.run_path), {data.name: data.chunks}
    sizes = TokenizerConfig(action_chunk_size=args.action_chunk_size, action_dim=len(data.bound))
    facts = {"data": {data.name: data.facts}}
    tokenizer = tokens.train_tokenizer(data.chunks, sizes, args.tokenizer, path, facts)
    bound, policies = {data.name: data.bound}, {}
    for name in models:
        place = token_files.policy_path(args.run_path, name, data.name)
        given = data.demos, data.chunks, path, token_files.MODELS[name], args.policy, place, data.facts
        policies[name] = tokens.train_policy(*given)
        runtime.make_room()
    return [
        token_training.tokenizer_section(tokenizer, parts, bound, path),
        token_training.policies_section(data.name, policies, tokenizer, data.chunks, data.demos.obs),
    ]


def _fast(args: Arguments, data: Data) -> Section:
    """Trains FAST's tokenizer and policy where they are missing; returns the section of the report."""
    tokenizer, policy = sequences.files(args.run_path, data.name)
    encoder = fast.train_tokenizer(data.chunks, args.action_chunk_size, args.encoding, tokenizer, data.facts)
    given = tokenizer, SequenceModelConfig(), args.policy, policy, data.facts
    fast.train_policy(data.demos, data.chunks, *given)
    return token_training.fast_section(encoder, data.chunks, policy)


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, train, __doc__, argv)
