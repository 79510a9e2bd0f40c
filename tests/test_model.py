"""FlowPolicy: its shortcuts against the plain computation, and clear errors."""

import dataclasses
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from model import FlowPolicy, ModelConfig, get_prefix_weights
from rtc.policies import mixer
from rtc.shared.jaxprs import matrix_products, needed
from stubs import make_policy

SCHEDULES = ("exp", "linear", "ones", "zeros")
SMALL = ModelConfig(channel_dim=16, channel_hidden_dim=24, token_hidden_dim=8, num_layers=1, action_chunk_size=6)
OBS_DIM, ACTION_DIM, BATCH, STEPS = 37, 3, 5, 4
close = partial(np.testing.assert_allclose, rtol=0, atol=1e-4)
very_close = partial(np.testing.assert_allclose, rtol=0, atol=1e-5)


def random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


# --- the plain computation ---------------------------------------------------------------------------------


@cache
def small_policy(**changes) -> FlowPolicy:
    """A policy with all weights random: a fresh one has zeros in its adaptive norms."""
    rng = np.random.default_rng(0)

    def value(_name, shape):
        return rng.standard_normal(shape, np.float32) / np.sqrt(shape[0])

    config = dataclasses.replace(SMALL, **changes)
    return make_policy(value, obs_dim=OBS_DIM, action_dim=ACTION_DIM, config=config)


@pytest.fixture
def inputs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observations, previous chunk, noise."""
    chunk = (BATCH, SMALL.action_chunk_size, ACTION_DIM)
    return random(1, BATCH, OBS_DIM), random(2, *chunk), random(3, *chunk)


def euler_with_prefix(velocity, obs, prev, noise, delay, steps):
    """Euler steps with the prefix put back, at flow time 1, before each of them."""
    x, is_prefix = noise, (np.arange(noise.shape[1]) < delay)[None, :, None]
    for i in range(steps):
        time = np.broadcast_to(np.where(is_prefix[..., 0], np.float32(1), np.float32(i / steps)), noise.shape[:2])
        x = np.where(is_prefix, prev, x)
        x = x + np.asarray(velocity(obs, x, time)) / steps
    return x


def test_one_time_per_batch_sample_or_token_is_the_same(inputs):
    obs, prev, _ = inputs
    velocity = jax.jit(small_policy().__call__)
    expected = velocity(obs, prev, 0.3)
    very_close(velocity(obs, prev, np.full(BATCH, 0.3)), expected)
    very_close(velocity(obs, prev, np.full((BATCH, SMALL.action_chunk_size), 0.3)), expected)
    assert not np.allclose(velocity(obs, prev, 0.31), expected, atol=1e-3)


def test_action_equals_plain_euler(inputs):
    obs, _, noise = inputs
    policy, x = small_policy(), noise
    velocity = jax.jit(policy.__call__)
    for i in range(STEPS):
        x = x + velocity(obs, x, np.full(noise.shape[:2], i / STEPS)) / STEPS
    very_close(jax.jit(lambda: policy.action(None, obs, STEPS, noise=noise))(), x)


def test_realtime_action_equals_one_vjp_per_sample(inputs):
    obs, prev, noise = inputs
    policy, delay, horizon, beta = small_policy(), 2, 5, 3.0
    weights = get_prefix_weights(delay, horizon, SMALL.action_chunk_size, "exp")[:, None]

    def guided(obs, prev, x, t):
        denoise = lambda x: x + (1 - t) * policy(obs[None], x[None], t)[0]  # noqa: E731
        x_1, vjp = jax.vjp(denoise, x)
        weight = jnp.where(t == 0, beta, jnp.minimum(beta, (t**2 + (1 - t) ** 2) / (t * (1 - t))))
        return policy(obs[None], x[None], t)[0] + weight * vjp((prev - x_1) * weights)[0]

    x, guided = noise, jax.jit(jax.vmap(guided, in_axes=(0, 0, 0, None)))
    for i in range(STEPS):
        x = x + guided(obs, prev, x, np.float32(i / STEPS)) / STEPS
    sample = partial(policy.realtime_action, None, obs, STEPS, prev, delay, horizon, "exp", beta)
    very_close(jax.jit(lambda: sample(noise=noise))(), x)


def test_prefix_action_equals_per_token_times(inputs):
    obs, prev, noise = inputs
    policy = small_policy()
    sampled = jax.jit(lambda: policy.prefix_action(None, obs, STEPS, prev, 2, noise=noise))()
    expected = euler_with_prefix(jax.jit(policy.__call__), obs, prev, noise, 2, STEPS)
    very_close(sampled, expected)


@pytest.mark.parametrize("simulated_delay", [None, 4])
def test_loss_and_gradient_equal_per_token_times(inputs, simulated_delay):
    obs, action, _ = inputs
    policy, rng = small_policy(simulated_delay=simulated_delay), jax.random.key(3)

    def plain(policy):
        noise_rng, time_rng, delay_rng = jax.random.split(rng, 3)
        noise = jax.random.normal(noise_rng, action.shape)
        delay = jnp.zeros(BATCH)
        if simulated_delay is not None:
            probability = jnp.exp(jnp.arange(simulated_delay)[::-1])
            delay = jax.random.categorical(delay_rng, jnp.log(probability), shape=(BATCH,))
        is_target = (jnp.arange(SMALL.action_chunk_size) >= delay[:, None])[..., None]
        time = jnp.where(is_target, jax.random.uniform(time_rng, (BATCH, 1, 1)), 1.0)
        error = policy(obs, (1 - time) * noise + time * action, time[..., 0]) - (action - noise)
        return jnp.sum(error**2 * is_target) / (jnp.sum(is_target) * ACTION_DIM)

    loss, gradient = nnx.jit(nnx.value_and_grad(lambda policy: policy.loss(rng, obs, action)))(policy)
    expected, expected_gradient = nnx.jit(nnx.value_and_grad(plain))(policy)
    very_close(loss, expected)
    jax.tree.map(very_close, gradient, expected_gradient)


# --- constant observation entries --------------------------------------------------------------------------


def test_folded_policy_equals_the_plain_one_in_every_sampler(inputs):
    _, prev, noise = inputs
    policy, entries = small_policy(), [30, 2, 3, 17]
    constants = random(5, OBS_DIM)
    obs = np.tile(constants, (BATCH, 1))
    obs[:, entries] = random(6, BATCH, len(entries))
    folded, bid_noise = policy.observing(entries, constants), random(4, 3 * BATCH, *noise.shape[1:])
    assert (folded.obs_dim, policy.obs_dim) == (len(entries), OBS_DIM)

    @jax.jit
    def samples(policy, obs):
        weak = (2, policy)
        return (
            policy(obs, prev, 0.4),
            policy.action(None, obs, STEPS, noise=noise),
            policy.realtime_action(None, obs, STEPS, prev, 1, 4, "exp", 5.0, noise=noise),
            policy.prefix_action(None, obs, STEPS, prev, 2, noise=noise),
            policy.bid_action(None, obs, STEPS, prev, 1, 4, 3, noise=bid_noise),
            policy.bid_action(None, obs, STEPS, prev, 1, 4, 3, *weak, noise=bid_noise),
        )

    jax.tree.map(very_close, samples(folded, obs[:, entries]), samples(policy, obs))
    # The same entries again give a policy of the same type: it shares compiled programs.
    samples(policy.observing(entries, 2 * constants), obs[:, entries])
    assert samples._cache_size() == 2


def test_folding_nothing_reorders_the_observation(inputs):
    obs, _, noise = inputs
    policy, order = small_policy(), np.arange(OBS_DIM)[::-1]
    folded = policy.observing(order, np.zeros(OBS_DIM))
    sample = jax.jit(lambda policy, obs: policy.action(None, obs, STEPS, noise=noise))
    very_close(sample(folded, obs[:, order]), sample(policy, obs))


@pytest.mark.parametrize("entries", [[], [1, 1], [0, OBS_DIM], [-1]])
def test_entries_that_an_observation_does_not_have_are_refused(entries):
    with pytest.raises(ValueError, match="must be distinct entries of 37"):
        small_policy().observing(entries, np.zeros(OBS_DIM))


def test_constants_of_another_observation_are_refused():
    with pytest.raises(ValueError, match=r"constants has shape \[36\]"):
        small_policy().observing([0], np.zeros(OBS_DIM - 1))


# --- what is computed how often ----------------------------------------------------------------------------


def matmul_shapes(function, *args) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Operand shapes of the matrix products that are needed in the body of the (only) scan over flow steps."""
    scans = [e for e in needed(function, *args).eqns if e.primitive.name == "scan"]
    assert len(scans) == 1
    products = matrix_products(scans[0].params["jaxpr"].jaxpr)
    return [tuple(operand.aval.shape for operand in equation.invars) for equation in products]


def test_flow_steps_repeat_only_what_depends_on_the_chunk(inputs):
    obs, prev, noise = inputs
    policy = small_policy()
    # So few tokens are mixed one by one where they become many, and by a matrix product on the way back.
    forward, backward = 3 * SMALL.num_layers + 2, 4 * SMALL.num_layers + 2
    plain = matmul_shapes(lambda n: policy.action(None, obs, STEPS, noise=n), noise)
    guided = matmul_shapes(lambda n: policy.realtime_action(None, obs, STEPS, prev, 1, 5, "exp", 5.0, noise=n), noise)
    prefix = matmul_shapes(lambda n: policy.prefix_action(None, obs, STEPS, prev, 1, noise=n), noise)
    # Mixing and the projections in and out: neither the observation nor the time's MLP and modulation.
    assert len(plain) == len(prefix) == forward
    # One shared forward pass and one backward pass to the chunk alone.
    assert len(guided) == forward + backward
    widths = {size for shapes in plain + guided + prefix for shape in shapes for size in shape}
    assert widths.isdisjoint({OBS_DIM, OBS_DIM + ACTION_DIM, 3 * SMALL.channel_dim})


def mixed(x, kernel):
    return jnp.einsum("bnc,nm->bmc", x, kernel)


def test_layers_written_by_hand_are_the_layers_with_their_derivatives():
    sizes = ((3, 4, 40), (4, 6), (12, 6), (3, 12, 40), (3, 4, 35))
    x, few, many, wide, odd = (jnp.asarray(random(seed, *size)) for seed, size in enumerate(sizes))
    plain_norm = partial(jax.nn.standardize, epsilon=1e-6)
    for ours, plain, args in (
        (mixer.gelu, jax.nn.gelu, (4 * x,)),
        (lambda x: mixer.modulated_norm(x, 0.3, 0.1), lambda x: 1.3 * plain_norm(x) + 0.1, (x,)),
        (lambda x: mixer.modulated_norm(x, 0.0, 0.0), plain_norm, (odd,)),
        (mixer._mix_in, mixed, (x, few)),
        (mixer._mix_in, mixed, (wide, many)),
        (mixer._mix_out, mixed, (wide, many)),
        (mixer._dense, jnp.matmul, (x, wide[0].T)),
    ):
        value, back = jax.vjp(ours, *args)
        expected, plain_back = jax.vjp(plain, *args)
        very_close(value, expected)
        change = jnp.asarray(random(9, *value.shape))
        for found, wanted in zip(back(change), plain_back(change), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=2e-5)
    far = jnp.array([-1e4, -30.0, 30.0, 1e4])
    assert jax.vmap(jax.grad(mixer.gelu))(far).tolist() == [0, 0, 1, 1]


# --- delays ------------------------------------------------------------------------------------------------


def test_per_environment_delays_equal_scalar_calls(inputs):
    obs, prev, noise = inputs
    policy, delays, horizons = small_policy(), jnp.array([0, 1, 3, 6, 2]), jnp.array([6, 4, 4, 6, 0])
    bid_noise = random(4, 3, *noise.shape)

    @jax.jit
    def sample(obs, prev, noise, bid_noise, delay, horizon):
        bid_noise = bid_noise.reshape(-1, *noise.shape[1:])
        return (
            policy.realtime_action(None, obs, STEPS, prev, delay, horizon, "exp", 5.0, noise=noise),
            policy.realtime_action(None, obs, STEPS, prev, delay, horizon, "zeros", 5.0, noise=noise),
            policy.prefix_action(None, obs, STEPS, prev, delay, noise=noise),
            policy.bid_action(None, obs, STEPS, prev, delay, horizon, 3, noise=bid_noise),
        )

    together = sample(obs, prev, noise, bid_noise, delays, horizons)
    for i in range(BATCH):
        one = slice(i, i + 1)
        alone = sample(obs[one], prev[one], noise[one], bid_noise[:, one], delays[i], horizons[i])
        for batched, single in zip(together, alone, strict=True):
            very_close(batched[one], single)


def test_python_ints_equal_traced_delays(inputs):
    obs, prev, noise = inputs
    policy = small_policy()
    traced = jax.jit(lambda delay: policy.prefix_action(None, obs, STEPS, prev, delay, noise=noise))
    static = jax.jit(lambda: policy.prefix_action(None, obs, STEPS, prev, 3, noise=noise))
    very_close(static(), traced(3))


def test_delay_beyond_the_chunk_does_not_see_the_noise(inputs):
    obs, prev, noise = inputs
    delay = SMALL.action_chunk_size + 3
    sample = jax.jit(lambda noise: small_policy().prefix_action(None, obs, STEPS, prev, delay, noise=noise))
    np.testing.assert_array_equal(sample(noise), sample(2 * noise))


# --- noise and training ------------------------------------------------------------------------------------


def test_noise_comes_from_the_key_unless_given(inputs):
    obs, _, noise = inputs
    policy, key = small_policy(), jax.random.key(0)
    sample = jax.jit(lambda key, noise: policy.action(key, obs, STEPS, noise=noise))
    very_close(sample(key, None), sample(None, jax.random.normal(key, noise.shape)))


def fresh_policy(obs_dim: int, config: ModelConfig) -> FlowPolicy:
    sizes = {"obs_dim": obs_dim, "action_dim": ACTION_DIM, "config": config}
    return nnx.jit(lambda: FlowPolicy(**sizes, rngs=nnx.Rngs(0)))()


@pytest.mark.parametrize("simulated_delay", [None, 3])
def test_loss_falls_on_a_toy_target(simulated_delay):
    config = dataclasses.replace(SMALL, simulated_delay=simulated_delay)
    policy = fresh_policy(4, config)
    obs = random(0, 64, 4)
    action = np.tanh(obs[:, None, :ACTION_DIM]) * np.linspace(1, 2, SMALL.action_chunk_size, dtype="f")[:, None]
    optimizer = nnx.Optimizer(policy, optax.adam(1e-2), wrt=nnx.Param)

    @nnx.jit
    def train(policy, optimizer, rng):
        loss, gradient = nnx.value_and_grad(lambda policy: policy.loss(rng, obs, action))(policy)
        optimizer.update(policy, gradient)
        return loss

    losses = [float(train(policy, optimizer, jax.random.key(i))) for i in range(60)]
    assert losses[0] > 1.0
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:5])


def test_loss_ignores_a_prefix_of_the_published_length_distribution():
    # In a fresh policy the blocks are the identity: tokens do not interact, so the prefix gets no gradient.
    simulated_delay, batch = 5, 4000
    policy = fresh_policy(2, dataclasses.replace(SMALL, simulated_delay=simulated_delay))
    obs, action = np.zeros((batch, 2), np.float32), random(0, batch, SMALL.action_chunk_size, ACTION_DIM)
    gradient = jax.jit(jax.grad(lambda action: policy.loss(jax.random.key(2), obs, action)))(action)
    is_prefix = np.all(np.asarray(gradient) == 0, axis=-1)
    assert np.all(is_prefix[:, :-1] >= is_prefix[:, 1:]), "the actions without gradient are not a prefix"
    frequency = np.bincount(is_prefix.sum(axis=1), minlength=simulated_delay) / batch
    expected = np.exp([4, 3, 2, 1, 0]) / np.exp([4, 3, 2, 1, 0]).sum()
    np.testing.assert_allclose(frequency, expected, atol=0.03)


# --- errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channel_dim": 0}, "channel_dim=0"),
        ({"channel_dim": 15}, "use 16"),
        ({"num_layers": 2.0}, r"num_layers=2\.0"),
        ({"token_hidden_dim": True}, "token_hidden_dim=True"),
        ({"simulated_delay": 0}, "simulated_delay=0"),
        ({"simulated_delay": 7}, "between 1 and 6"),
    ],
)
def test_config_errors_name_field_and_fix(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **changes)


def test_unknown_schedule_suggests_one():
    with pytest.raises(ValueError, match="did you mean 'linear'"):
        get_prefix_weights(0, 1, 4, "linaer")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, o, c: p.action(None, o, STEPS), "rng=None"),
        (lambda p, o, c: p.action(None, o, 0, noise=c), "num_steps=0"),
        (lambda p, o, c: p.action(None, o, STEPS, noise=c[:, 1:]), "noise has shape"),
        (lambda p, o, c: p.action(None, o[:, 1:], STEPS, noise=c), "obs has shape"),
        (lambda p, o, c: p(o[0], c, 0.5), "obs has shape"),
        (lambda p, o, c: p.prefix_action(None, o, STEPS, c[:2], 1, noise=c), "prev_action_chunk has shape"),
        (lambda p, o, c: p.prefix_action(None, o, STEPS, c, -1, noise=c), "inference_delay=-1"),
        (
            lambda p, o, c: p.realtime_action(None, o, 1, c, 0, 5, "exp", -1.0, noise=c),
            "max_guidance_weight=-1",
        ),
        (lambda p, o, c: p.bid_action(None, o, 1, c, 0, 5, 0, noise=c), "n_samples=0"),
        (lambda p, o, c: p.bid_action(None, o, 1, c, 0, 5, 1, bid_k=1, noise=c), "bid_weak_policy"),
        (lambda p, o, c: p.bid_action(None, o, 1, c, 0, 5, 1, 2, p, noise=c), "bid_k=2"),
    ],
)
def test_call_errors_name_the_argument(inputs, call, message):
    obs, prev, _ = inputs
    with pytest.raises(ValueError, match=message):
        call(small_policy(), obs, prev)
