"""The models that RSD compares, where they are, and the ways to decode with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from rtc.control.environment import Environment
from rtc.policies.checkpoints import level_slug
from rtc.policies.tokens import checkpoints
from rtc.policies.tokens.agent import NO_DEADLINE, TokenAgent
from rtc.policies.tokens.policy import TokenModelConfig
from rtc.policies.tokens.rules import ActionDistance, Exact, Greedy, IndexDistance, Rule
from rtc.shared.validation import require_choice
from rtc.worlds.kinetix import levels
from rtc.worlds.kinetix.levels import Level

LEVELS: tuple[str, ...] = ("grasp_easy", "hard_lunar_lander", "mjc_walker")
MODELS: dict[str, TokenModelConfig] = {
    "blocks": TokenModelConfig(blocks=(1, 1, 1, 5)),
    "draft": TokenModelConfig(blocks=(1, 1, 1), dim=32, depth=1, num_heads=2, obs_hidden_dim=128),
    "layers": TokenModelConfig(blocks=(1,) * 8),
    "parallel": TokenModelConfig(blocks=(8,)),
}


@dataclass(frozen=True)
class Arm:
    """One way to decode a chunk.

    Attributes:
        main: model whose tokens count, a name of `MODELS`.
        speculative: with the draft.
        rule: `exact`, `greedy`, `index` or `action`.
        tolerance: cells for `index`, largest difference of an action for `action`.
        max_passes: deadline in passes of the main model.
        what: its description.
    """

    main: str
    what: str
    speculative: bool = False
    rule: str = "exact"
    tolerance: float = 0.0
    max_passes: int = NO_DEADLINE

    def make_rule(self, agent: TokenAgent) -> Rule:
        """The rule as a pytree."""
        makers = {
            "exact": Exact,
            "greedy": Greedy,
            "index": lambda: IndexDistance(jnp.int32(self.tolerance), agent.tokenizer.config),
            "action": lambda: ActionDistance(jnp.float32(self.tolerance), agent.tokenizer),
        }
        require_choice("rule", self.rule, makers)
        return makers[self.rule]()


ARMS: Mapping[str, Arm] = {
    "parallel": Arm("parallel", "all tokens in one pass, independent of each other"),
    "layers": Arm("layers", "autoregressive, a block per layer"),
    "blocks": Arm("blocks", "autoregressive, four blocks"),
    "blocks_greedy": Arm("blocks", "the same, most probable tokens", rule="greedy"),
    "exact": Arm("blocks", "speculative, lossless", speculative=True),
    "greedy": Arm("blocks", "speculative, lossless, most probable tokens", speculative=True, rule="greedy"),
    "index_1": Arm("blocks", "lossy, greedy: codes may be a cell off", True, "index", tolerance=1),
    "action_0.1": Arm("blocks", "lossy, greedy: actions may move by 0.1 at each block's depth", True, "action", 0.1),
    "deadline_1": Arm("blocks", "lossy: what one pass has verified", True, max_passes=1),
    "deadline_2": Arm("blocks", "lossy: what two passes have verified", True, max_passes=2),
    "deadline_1_greedy": Arm("blocks", "lossy, greedy: what one pass has verified", True, "greedy", max_passes=1),
    "draft": Arm("draft", "lossy: the draft alone, three layers"),
}


def tokenizer_path(run_path: Path) -> Path:
    """Where the tokenizer is, without suffix."""
    return run_path / "tokenizer" / "policies" / "tokenizer"


def policy_path(run_path: Path, model: str, level: str) -> Path:
    """Where a level's token policy is, without suffix."""
    return run_path / model / "policies" / level_slug(f"worlds/l/{level}.json")


def files(run_path: Path, arm: Arm, level: str) -> list[Path]:
    """The checkpoints that an arm uses."""
    models = [arm.main, *(["draft"] if arm.speculative else [])]
    return [tokenizer_path(run_path), *(policy_path(run_path, model, level) for model in models)]


def load_agent(run_path: Path, arm: Arm, level: str) -> TokenAgent:
    """The agent that an arm decodes with.

    Raises:
        FileNotFoundError: a checkpoint is missing.
        ValueError: a checkpoint is damaged, or was trained with another tokenizer or other entries of the observation.
    """
    tokenizer, *policies = files(run_path, arm, level)
    loaded = levels.load(level)
    entries = levels.varying_observation_entries(loaded).tolist()
    for path in policies:
        checkpoints.check_tokenizer(path, tokenizer)
        if checkpoints.facts(path)["entries"] != entries:
            raise ValueError(f"{path} reads other entries of the observation than vary in {level}: train it again")
    main, *draft = map(checkpoints.load_policy, policies)
    return TokenAgent(checkpoints.load_tokenizer(tokenizer), main, jnp.asarray(loaded.bound_actions), *draft)


@cache
def observed(level: str) -> tuple[Level, Environment]:
    """A level, and its environment with the entries of the observation that vary."""
    loaded = levels.load(level)
    entries = levels.varying_observation_entries(loaded)
    return loaded, levels.make_env(loaded, "fast").observing(tuple(np.asarray(entries).tolist()))
