"""FlowPolicy against published numbers."""

from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from model import FlowPolicy, ModelConfig, get_prefix_weights
from stubs import make_policy

GOLDENS = Path(__file__).parent / "goldens"
SCHEDULES = ("exp", "linear", "ones", "zeros")
close = partial(np.testing.assert_allclose, rtol=0, atol=1e-4)


@cache
def golden(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDENS / f"{name}.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@cache
def golden_policy(name: str, prefix: str = "w") -> FlowPolicy:
    arrays = golden(name)
    kernels = {key.removeprefix(f"{prefix}/"): value for key, value in arrays.items() if key.startswith(f"{prefix}/")}
    chunk_size, token_hidden_dim = kernels["mlp_stack/0/token_mix_in/kernel"].shape
    channel_dim, channel_hidden_dim = kernels["mlp_stack/0/channel_mix_in/kernel"].shape
    layers = sum(key.endswith("token_mix_in/kernel") for key in kernels)
    config = ModelConfig(channel_dim, channel_hidden_dim, token_hidden_dim, layers, chunk_size)

    def published(name, shape):
        array = kernels.pop(name)
        assert array.shape == shape
        return array

    policy = make_policy(published, obs_dim=arrays["obs"].shape[1], action_dim=6, config=config)
    assert not kernels, f"parameters that the policy lacks: {sorted(kernels)}"
    return policy


def outputs(name: str, kind: str) -> dict[tuple[str, ...], np.ndarray]:
    """Golden outputs "<kind>/<a>/<b>" by (a, b)."""
    found = {tuple(key.split("/")[1:]): value for key, value in golden(name).items() if key.split("/")[0] == kind}
    assert found, f"{name} has no {kind}"
    return found


@pytest.mark.parametrize("name", ["flow_h4", "flow_h8", "flow_h8_trained_prefix"])
def test_velocity_and_action_match_published(name):
    arrays, policy = golden(name), golden_policy(name)
    obs, noise, steps = arrays["obs"], arrays["noise"], int(arrays["n_steps"])
    close(jax.jit(lambda: policy(obs, noise, 0.37))(), arrays["velocity"])
    close(jax.jit(lambda: policy.action(None, obs, steps, noise=noise))(), arrays["action"])


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", ["flow_h4", "flow_h8"])
def test_realtime_action_matches_published(name, schedule):
    arrays, policy = golden(name), golden_policy(name)

    @jax.jit
    def sample(delay, horizon):
        obs, prev, steps = arrays["obs"], arrays["prev"], int(arrays["n_steps"])
        return policy.realtime_action(
            None, obs, steps, prev, delay, horizon, schedule, jnp.float32(5), noise=arrays["noise"]
        )

    for (found_schedule, delay, horizon), expected in outputs(name, "realtime").items():
        if found_schedule == schedule:
            close(sample(int(delay[1:]), int(horizon[1:])), expected)


@pytest.mark.parametrize("name", ["flow_h4", "flow_h8"])
def test_bid_action_matches_published(name):
    arrays, policy = golden(name), golden_policy(name)
    sample = jax.jit(
        lambda delay, horizon: policy.bid_action(
            None,
            arrays["obs"],
            int(arrays["n_steps"]),
            arrays["prev"],
            delay,
            horizon,
            6,
            noise=arrays["bid_noise"],
        )
    )
    for (delay, horizon), expected in outputs(name, "bid").items():
        close(sample(int(delay[1:]), int(horizon[1:])), expected)


def test_bid_action_with_weak_policy_matches_published():
    name = "flow_h8"
    arrays, policy, weak = golden(name), golden_policy(name), golden_policy(name, "weak")
    obs, prev, steps, noise = arrays["obs"], arrays["prev"], int(arrays["n_steps"]), arrays["bid_noise"]
    sample = jax.jit(
        lambda delay, horizon: policy.bid_action(None, obs, steps, prev, delay, horizon, 6, 3, weak, noise=noise)
    )
    for (delay, horizon), expected in outputs(name, "bid_weak_k3").items():
        close(sample(int(delay[1:]), int(horizon[1:])), expected)


def test_prefix_action_matches_published():
    name = "flow_h8_trained_prefix"
    arrays, policy = golden(name), golden_policy(name)
    obs, prev, steps = arrays["obs"], arrays["prev"], int(arrays["n_steps"])
    sample = jax.jit(lambda delay: policy.prefix_action(None, obs, steps, prev, delay, noise=arrays["noise"]))
    for (label,), expected in outputs(name, "trained_prefix").items():
        close(sample(int(label[1:])), expected)


@pytest.mark.parametrize("key", sorted(golden("prefix_weights")))
def test_prefix_weights_match_published(key):
    schedule, total = key.split("/")
    start, end = jnp.meshgrid(*2 * [jnp.arange(int(total) + 1)], indexing="ij")
    weights = get_prefix_weights(start, end, int(total), schedule)
    np.testing.assert_allclose(weights, golden("prefix_weights")[key], rtol=0, atol=1e-6)
