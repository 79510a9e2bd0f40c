"""Tiny RSD models of random weights, and demonstrations to train them on."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from rtc.policies.tokens.agent import TokenAgent
from rtc.policies.tokens.policy import TokenModelConfig, TokenPolicy
from rtc.policies.tokens.rfsq import Tokenizer, TokenizerConfig
from rtc.training.demonstrations import Demonstrations

SMALL = TokenizerConfig(action_chunk_size=4, latent_dim=2, num_layers=4, tokens_per_layer=1, hidden_dim=8)
MODELS = {
    "blocks": TokenModelConfig(blocks=(1, 1, 2), dim=8, depth=1, num_heads=2, obs_hidden_dim=8, simulated_delay=2),
    "draft": TokenModelConfig(blocks=(1, 1), dim=4, depth=1, num_heads=1, obs_hidden_dim=8, simulated_delay=2),
    "layers": TokenModelConfig(blocks=(1,) * 4, dim=8, depth=1, num_heads=2, obs_hidden_dim=8, simulated_delay=2),
    "parallel": TokenModelConfig(blocks=(4,), dim=8, depth=1, num_heads=2, obs_hidden_dim=8, simulated_delay=2),
}


def demonstrations_of(num_episodes=30, length=7):
    """Episodes whose actions tell them apart: transition t of episode e has the action e + t / 100 in all motors."""
    rng = np.random.default_rng(0)
    episode, tick = np.repeat(np.arange(num_episodes), length), np.tile(np.arange(length), num_episodes)
    action = np.repeat((episode + tick / 100)[:, None], 6, axis=1).astype(np.float32) / num_episodes
    size = len(action)
    return Demonstrations(
        obs=rng.standard_normal((size, 5)).astype(np.float32),
        action=action,
        other=action,
        done=tick == length - 1,
        solved=tick == length - 1,
        finite=np.ones(size, bool),
        expert=np.zeros(size, np.int32),
        template=np.zeros(5, np.float32),
        entries=np.arange(5),
        facts={},
    )


def small_policy(name="blocks", seed=0):
    return TokenPolicy(obs_dim=5, tokens=SMALL, config=MODELS[name], rngs=nnx.Rngs(seed))


def small_agent(draft=True):
    tokenizer = Tokenizer(SMALL, nnx.Rngs(0))
    bound = jnp.ones(6, bool)
    return TokenAgent(tokenizer, small_policy(), bound, small_policy("draft", 3) if draft else None)
