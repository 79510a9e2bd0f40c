"""The models that RSD compares, where they are, and the ways to decode with them."""

from pathlib import Path

from rtc.levels import level_slug
from rtc.rsd.policy import TokenModelConfig

LEVELS: tuple[str, ...] = ("grasp_easy", "hard_lunar_lander", "mjc_walker")
MODELS: dict[str, TokenModelConfig] = {
    "blocks": TokenModelConfig(blocks=(1, 1, 1, 5)),
    "draft": TokenModelConfig(blocks=(1, 1, 1), dim=32, depth=1, num_heads=2, obs_hidden_dim=128),
    "layers": TokenModelConfig(blocks=(1,) * 8),
    "parallel": TokenModelConfig(blocks=(8,)),
}


def tokenizer_path(run_path: Path) -> Path:
    """Where the tokenizer is, without suffix."""
    return run_path / "tokenizer" / "policies" / "tokenizer"


def policy_path(run_path: Path, model: str, level: str) -> Path:
    """Where a level's token policy is, without suffix."""
    return run_path / model / "policies" / level_slug(f"worlds/l/{level}.json")
