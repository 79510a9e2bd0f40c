"""What the bench of networks counts, and that its workloads run."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from model import FlowPolicy, ModelConfig
from rtc.bench import networks
from rtc.shared.jaxprs import matrix_products, needed, product_size
from rtc.training.cloning import CloningConfig
from rtc.training.expert import Expert, ExpertConfig
from rtc.training.ppo import Minibatch, PPOConfig, loss

# More tokens than are mixed one by one, so that all mixing is matrix products.
MODEL = ModelConfig(channel_dim=16, channel_hidden_dim=24, token_hidden_dim=20, num_layers=2, action_chunk_size=12)


def multiply_adds(function, *args) -> int:
    """Of the matrix products in a function."""
    return sum(map(product_size, matrix_products(needed(function, *args))))


def test_multiply_adds_are_those_of_the_layers():
    policy = FlowPolicy(obs_dim=9, action_dim=6, config=MODEL, rngs=nnx.Rngs(0))
    obs, chunk, time = jnp.ones((1, 9)), jnp.ones((1, 12, 6)), jnp.ones((1, 1))
    forward = networks.forward_multiply_adds(MODEL)
    assert multiply_adds(policy.velocity, policy.condition(obs), chunk, policy.modulation(time)) == forward
    assert multiply_adds(policy.condition, obs) == 9 * MODEL.channel_dim
    assert networks.forward_multiply_adds(dataclasses.replace(MODEL, num_layers=1)) < forward
    structure, params = nnx.split(policy)

    def of_chunk(params):
        return nnx.merge(structure, params).loss(jax.random.key(0), obs, chunk)

    assert multiply_adds(jax.value_and_grad(of_chunk), params) == networks.update_multiply_adds(MODEL, obs_dim=9)


def test_multiply_adds_of_ppo_are_those_of_its_loss():
    config, expert = PPOConfig(num_envs=2, num_steps=4, num_minibatches=2, num_epochs=1), ExpertConfig((0, 1), width=8)
    structure, params = nnx.split(Expert(expert, rngs=nnx.Rngs(0)))
    zeros = jnp.zeros(4)
    batch = Minibatch(jnp.ones((4, expert.feature_dim)), jnp.ones((4, 6)), zeros, zeros, zeros)

    def of_batch(params):
        return loss(nnx.merge(structure, params), jax.random.key(0), batch, config)[0]

    assert 2 * multiply_adds(jax.value_and_grad(of_batch), params) == networks.ppo(config, expert).multiply_adds


def test_workloads_run_and_are_compared_with_the_first():
    small = dataclasses.replace(MODEL, action_chunk_size=4)
    workloads = {networks.LIMIT: networks.limit(64), **networks.queries(small, batch=2, rounds=3)}
    workloads["cloning"] = networks.updates(CloningConfig(batch_size=8, parts=2, model=small), count=2)
    workloads["PPO"] = networks.ppo(
        PPOConfig(num_envs=2, num_steps=4, num_minibatches=2, num_epochs=1), ExpertConfig((0, 1), width=8)
    )
    rows = networks.rows(workloads, networks.measure(workloads, repeats=1))
    assert [row["what"] for row in rows] == list(workloads)
    assert rows[0]["of the limit (%)"] == 100
    assert [row["time (µs)"].split(" per ")[1] for row in rows] == [
        "product",
        "query",
        "query",
        "update",
        "gradient step",
    ]
    realtime, naive = (workloads[f"{name} query, H = 4"].multiply_adds for name in ("realtime", "naive"))
    assert naive < realtime < 2 * naive
    assert rows[1]["multiply-adds (million)"] == f"{naive / 6 / 1e6:.3g}"
