"""What the bench of networks counts, and that its workloads run."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from model import FlowPolicy, ModelConfig
from rtc.bench import networks
from rtc.training.cloning import CloningConfig
from rtc.training.expert import ExpertConfig
from rtc.training.ppo import PPOConfig

# More tokens than are mixed one by one, so that all mixing is matrix products.
MODEL = ModelConfig(channel_dim=16, channel_hidden_dim=24, token_hidden_dim=20, num_layers=2, action_chunk_size=12)


def multiply_adds(function, *args) -> int:
    """Of the matrix products in a function."""
    total = 0

    def visit(jaxpr):
        nonlocal total
        for equation in jaxpr.eqns:
            if equation.primitive.name == "dot_general":
                (contracted, _), _ = equation.params["dimension_numbers"]
                left = equation.invars[0].aval.shape
                total += math.prod(equation.outvars[0].aval.shape) * math.prod(left[axis] for axis in contracted)
            for parameter in equation.params.values():
                inner = getattr(parameter, "jaxpr", None)
                if inner is not None:
                    visit(inner)

    visit(jax.make_jaxpr(function)(*args).jaxpr)
    return total


def test_multiply_adds_are_those_of_the_layers():
    policy = FlowPolicy(obs_dim=9, action_dim=6, config=MODEL, rngs=nnx.Rngs(0))
    obs, chunk, time = jnp.ones((1, 9)), jnp.ones((1, 12, 6)), jnp.ones((1, 1))
    condition, modulation = policy.condition(obs), policy.modulation(time)
    forward = networks.forward_multiply_adds(MODEL)
    assert multiply_adds(policy.velocity, condition, chunk, modulation) == forward
    rest = multiply_adds(policy.condition, obs) + multiply_adds(policy.modulation, time)
    assert networks.update_multiply_adds(MODEL, obs_dim=9) == 3 * (forward + rest)
    large = dataclasses.replace(MODEL, num_layers=1)
    assert networks.forward_multiply_adds(large) < forward


def test_workloads_run_and_are_compared_with_the_first():
    small = dataclasses.replace(MODEL, action_chunk_size=4)
    workloads = {networks.LIMIT: networks.limit(64), **networks.queries(small, batch=2)}
    workloads["cloning"] = networks.updates(CloningConfig(batch_size=8, parts=2, model=small), count=2)
    workloads["PPO"] = networks.ppo(
        PPOConfig(num_envs=2, num_steps=4, num_minibatches=2, num_epochs=1), ExpertConfig((0, 1), width=8)
    )
    rows = networks.measure(workloads, repeats=1)
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
    assert all(float(row["GFLOP/s"]) >= 0 for row in rows)


def test_an_update_has_whole_parts():
    with pytest.raises(ValueError, match="parts=3 must divide batch_size=512"):
        CloningConfig(parts=3)
