"""Every execution method against the policy call that it stands for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from model import FlowPolicy, ModelConfig
from rtc import methods
from rtc.methods import MethodOptions, Query

B, H, A, STEPS = 5, 4, 6, 3
CONFIG = ModelConfig(
    channel_dim=8, channel_hidden_dim=8, token_hidden_dim=8, num_layers=1, action_chunk_size=H, simulated_delay=3
)


@pytest.fixture(scope="module")
def policy():
    """Random weights everywhere: a fresh policy would ignore much of its input."""
    fresh = FlowPolicy(obs_dim=7, action_dim=A, config=CONFIG, rngs=nnx.Rngs(0))
    graphdef, state = nnx.split(fresh)
    keys = iter(jax.random.split(jax.random.key(1), 100))
    return nnx.merge(graphdef, jax.tree.map(lambda x: 0.5 * jax.random.normal(next(keys), x.shape), state))


@pytest.fixture(scope="module")
def query():
    key = jax.random.key(2)
    return Query(
        key=jax.random.split(key, B),
        obs=jax.random.normal(key, (B, 7)),
        leftover=jax.random.normal(key, (B, H, A)),
        planned_delay=jnp.array([0, 1, 2, 3, 4]),
        overlap_end=jnp.array([3, 3, 2, 3, 1]),
    )


def noise_of(query, scale=1.0):
    return scale * jnp.stack([jax.random.normal(key, (H, A)) for key in query.key])


def next_chunk(name, policy, query, **options):
    method = methods.make(name, MethodOptions(**options))
    return jax.jit(lambda: method.next_chunk(policy, query, STEPS))()


def test_naive_is_a_plain_sample(policy, query):
    noise = noise_of(query)
    expected = jax.jit(lambda: policy.action(None, query.obs, STEPS, noise=noise))()
    np.testing.assert_allclose(next_chunk("naive", policy, query), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "schedule"),
    [("realtime", "exp"), ("realtime_linear", "linear"), ("realtime_ones", "ones"), ("hard_masking", "zeros")],
)
def test_guided_methods_use_their_schedule(policy, query, name, schedule):
    noise = noise_of(query)

    def expected(schedule):
        inputs = query.leftover, query.planned_delay, query.overlap_end, schedule, 2.5
        return jax.jit(lambda: policy.realtime_action(None, query.obs, STEPS, *inputs, noise=noise))()

    chunk = next_chunk(name, policy, query, max_guidance_weight=2.5)
    np.testing.assert_allclose(chunk, expected(schedule), atol=1e-4)
    others = {"exp", "linear", "ones", "zeros"} - {schedule}
    assert all(np.abs(chunk - expected(other)).max() > 1e-3 for other in others)


def test_bid_picks_one_of_its_own_samples(policy, query):
    chunk = next_chunk("bid", policy, query, bid_num_samples=3)
    for row in range(B):
        keys = jax.random.split(query.key[row], 3)
        noise = jnp.stack([jax.random.normal(key, (H, A)) for key in keys])
        samples = policy.action(None, jnp.tile(query.obs[row], (3, 1)), STEPS, noise=noise)
        assert np.abs(samples - chunk[row]).max(axis=(1, 2)).min() < 1e-4


def test_trained_prefix_commits_what_is_left_of_the_old_chunk(policy, query):
    chunk = next_chunk("trained_prefix", policy, query)
    for row, length in enumerate([0, 1, 2, 3, 1]):
        np.testing.assert_array_equal(chunk[row, :length], query.leftover[row, :length])
        assert (chunk[row, length:] != query.leftover[row, length:]).any()


@pytest.mark.parametrize("name", sorted(methods.METHODS))
def test_noise_scale_zero_removes_all_randomness(policy, query, name):
    other = query._replace(key=jax.random.split(jax.random.key(9), B))
    quiet = [next_chunk(name, policy, q, noise_scale=0.0) for q in (query, other)]
    np.testing.assert_array_equal(*quiet)
    loud = [next_chunk(name, policy, q, noise_scale=1.0) for q in (query, other)]
    assert (loud[0] != loud[1]).any()


def test_cost_in_network_evaluations():
    costs = {name: methods.make(name).network_evaluations(5) for name in methods.METHODS}
    guided = ("realtime", "realtime_linear", "realtime_ones", "hard_masking")
    assert costs == {"naive": 5, "trained_prefix": 5, "bid": 80} | dict.fromkeys(guided, 10)


def test_unknown_method_suggests_a_name():
    with pytest.raises(ValueError, match="did you mean 'realtime'"):
        methods.make("realtim")


@pytest.mark.parametrize(
    "change", [{"noise_scale": -1.0}, {"max_guidance_weight": float("nan")}, {"bid_num_samples": 0}]
)
def test_bad_options_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        MethodOptions(**change)
