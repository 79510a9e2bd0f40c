"""Every execution method against the policy call that it stands for."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from model import FlowPolicy, ModelConfig
from rtc import methods
from rtc.methods import MethodOptions, Query, World, guidance
from rtc.methods.paint import inverted
from stubs import SmoothEnv

B, H, A, STEPS = 5, 4, 6, 3
CONFIG = ModelConfig(
    channel_dim=8,
    channel_hidden_dim=8,
    token_hidden_dim=8,
    num_layers=1,
    action_chunk_size=H,
    simulated_delay=3,
    robot_ahead=4,
)


def random_policy(seed):
    """Random weights everywhere: a fresh policy would ignore much of its input."""
    fresh = FlowPolicy(obs_dim=7, action_dim=A, config=CONFIG, rngs=nnx.Rngs(0))
    graphdef, state = nnx.split(fresh)
    keys = iter(jax.random.split(jax.random.key(seed), 100))
    return nnx.merge(graphdef, jax.tree.map(lambda x: 0.5 * jax.random.normal(next(keys), x.shape), state))


@pytest.fixture(scope="module")
def policy():
    return random_policy(1)


@pytest.fixture(scope="module")
def weak():
    return random_policy(2)


@pytest.fixture(scope="module")
def query():
    key = jax.random.key(2)
    return Query(
        key=jax.random.split(key, B),
        obs=jax.random.normal(key, (B, 7)),
        leftover=jax.random.normal(key, (B, H, A)),
        planned_delay=jnp.array([0, 1, 2, 3, 4]),
        overlap_end=jnp.array([3, 3, 2, 3, 1]),
        predictions=jnp.array([[0] * H, [3, 2, 1, 0], [1, 1, 0, 0], [2, 2, 2, 0], [1, 0, 0, 0]]),
        flow_steps=jnp.full(B, STEPS),
        execute_horizon=jnp.ones(B, int),
        upcoming=jax.random.normal(jax.random.key(4), (B, 2 * H, A)),
        known=jnp.arange(2 * H) < jnp.array([8, 6, 4, 3, 0])[:, None],
    )


class Still:
    """Stands for every network but a policy: nothing changes, and nothing is to be corrected."""

    robot = jnp.zeros(7, bool)

    def ahead(self, now, actions, ticks):
        return now

    def __call__(self, obs, action, phase):
        return jnp.zeros_like(action)


jax.tree_util.register_static(Still)


def noise_of(query, scale=1.0):
    return scale * jnp.stack([jax.random.normal(key, (H, A)) for key in query.key])


def bound(name, **options):
    """The method with its networks; of the options, those that it reads."""
    method = methods.make(name, methods.options_for(methods.METHODS, MethodOptions(**options))[name])
    return method.bind({asset: random_policy(2) if asset == "weak" else Still() for asset in method.assets()})


def next_chunk(name, policy, query, **options):
    method = bound(name, **options)
    if method.privileged:
        world = World(SmoothEnv(), SmoothEnv().reset(query.key)[0])
        query = query._replace(looked=method.look(policy, query, world))
    return answered(method, policy, query)


@jax.jit
def answered(method, policy, query):
    """One program per method, whatever its numbers are."""
    return method.answer(policy, query, method.init(policy, B), jnp.zeros(B, int), STEPS)[0].chunk


@functools.partial(jax.jit, static_argnames="num_steps")
def sampled(method, policy, query, num_steps):
    return method.next_chunk(policy, query, num_steps)


@functools.partial(jax.jit, static_argnames="schedule")
def guided(policy, query, noise, schedule):
    inputs = query.leftover, query.planned_delay, query.overlap_end, schedule, 2.5
    return policy.realtime_action(None, query.obs, STEPS, *inputs, noise=noise)


def test_naive_is_a_plain_sample(policy, query):
    noise = noise_of(query)
    expected = jax.jit(lambda: policy.action(None, query.obs, STEPS, noise=noise))()
    np.testing.assert_allclose(next_chunk("naive", policy, query), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "schedule"),
    [("realtime", "exp"), ("realtime_linear", "linear"), ("realtime_ones", "ones"), ("hard_masking", "zeros")],
)
def test_guided_methods_use_their_schedule(policy, query, name, schedule):
    expected = functools.partial(guided, policy, query, noise_of(query))
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


def test_bid_with_contrast_is_the_policy_call_with_a_weak_policy(policy, weak, query):
    keys = jnp.stack([jax.random.split(key, 4) for key in query.key], axis=1)
    noise = jnp.stack([jax.random.normal(key, (H, A)) for key in keys.reshape(-1)])
    inputs = query.leftover, query.planned_delay, query.overlap_end, 4, 2, weak
    expected = jax.jit(lambda: policy.bid_action(None, query.obs, STEPS, *inputs, noise=noise))()
    chunk = next_chunk("bid_contrast", policy, query, bid_num_samples=4, bid_k=2)
    np.testing.assert_allclose(chunk, expected, atol=1e-5)
    assert np.abs(chunk - next_chunk("bid", policy, query, bid_num_samples=4)).max() > 1e-3


def test_more_best_samples_than_samples_are_refused():
    with pytest.raises(ValueError, match="bid_k=5 exceeds bid_num_samples=4"):
        methods.make("bid_contrast", MethodOptions(bid_num_samples=4, bid_k=5))
    methods.make("bid", MethodOptions(bid_num_samples=1))


def test_stop_gradient_treats_the_velocity_as_constant(policy, query):
    """One flow step by hand: x + v + w · W (Y - x - v) at flow time 0, where the guidance weight is its bound."""
    noise = noise_of(query)
    method = methods.make("realtime_stop_gradient", MethodOptions(max_guidance_weight=2.5))
    chunk = sampled(method, policy, query._replace(flow_steps=jnp.ones(B, int)), 1)
    velocity = policy(query.obs, noise, 0.0)
    weights = guidance.get_prefix_weights(query.planned_delay, query.overlap_end, H, "exp")[..., None]
    expected = noise + velocity + 2.5 * weights * (query.leftover - noise - velocity)
    np.testing.assert_allclose(chunk, expected, atol=1e-4)


def test_temporal_ensemble_is_the_weighted_mean_of_all_predictions(policy):
    """Four queries, one tick apart, against the definition: exp(-m k) for the k-th oldest chunk of each tick."""
    decay, chunks, ensemble, obs = 0.3, [], None, jax.random.normal(jax.random.key(3), (4, 1, 7))
    for k in range(4):
        key = jax.random.split(jax.random.key(k), 1)
        leftover = jnp.zeros((1, H, A)) if ensemble is None else jnp.pad(ensemble[:, 1:], ((0, 0), (0, 1), (0, 0)))
        counts = jnp.array([[min(k, H - 1 - j) for j in range(H)]])
        zero = jnp.zeros(1, int)
        nothing = {"upcoming": leftover, "known": jnp.zeros((1, H), bool)}
        query = Query(key, obs[k], leftover, zero, zero + H, counts, zero + STEPS, zero + 1, **nothing)
        chunks.append(next_chunk("naive", policy, query))
        ensemble = next_chunk("temporal_ensemble", policy, query, ensemble_decay=decay)
    for entry in range(H):
        covering = [chunks[k][0, entry + 3 - k] for k in range(4) if entry + 3 - k < H]
        weights = np.exp(-decay * np.arange(len(covering)))
        expected = (weights[:, None] * np.stack(covering)).sum(axis=0) / weights.sum()
        np.testing.assert_allclose(ensemble[0, entry], expected, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["naive", "realtime", "realtime_stop_gradient", "bid_contrast", "temporal_ensemble", "trained_prefix"]
)
def test_a_query_out_of_time_goes_the_rest_of_the_way_in_its_last_step(policy, query, name):
    """With one of three steps, every sampler makes a single Euler step; the other rows keep all of theirs.

    Guidance pulls no more strongly in the longer step: as in a single step with a third of the weight.
    """
    steps = jnp.array([1, 3, 1, 3, 3])

    def ask(flow_steps, num_steps, weight):
        method = bound(name, bid_num_samples=3, max_guidance_weight=weight)
        return sampled(method, policy, query._replace(flow_steps=flow_steps), num_steps)

    mixed, whole = ask(steps, STEPS, 3.0), ask(jnp.full(B, STEPS), STEPS, 3.0)
    single = ask(jnp.ones(B, int), 1, 3.0 / STEPS)
    np.testing.assert_allclose(mixed, jnp.where((steps == 1)[:, None, None], single, whole), atol=1e-4)
    assert np.abs(single - whole).max() > 1e-2


def test_paint_finds_the_noise_that_leads_to_what_is_left(query):
    """Where velocities do not depend on the chunk, the way back is the way there."""
    policy = random_policy(3)
    policy.in_proj.kernel = nnx.Param(policy.in_proj.kernel[...].at[:A].set(0.0))
    condition, steps = policy.condition(query.obs), jnp.array([1, 2, 3, 3, 3])
    found = jax.jit(lambda: inverted(policy, condition, query.leftover, STEPS, steps))()
    again = jax.jit(lambda: policy.sample(condition, found, STEPS, steps))()
    np.testing.assert_allclose(again, query.leftover, atol=1e-4)
    assert np.abs(found - query.leftover).max() > 0.3
    chunk = next_chunk("paint", policy, query)
    for row, length in enumerate([0, 1, 2, 3, 1]):  # the planned delay, as far as there is something left
        np.testing.assert_array_equal(chunk[row, :length], query.leftover[row, :length])
        assert (chunk[row, length:] != query.leftover[row, length:]).any()


def test_carried_noise_is_that_of_the_same_tick(policy, query):
    """The chunk is the policy's own, from the last noise moved on by the ticks that have passed, then fresh noise."""
    method, other = methods.make("carried_noise"), query._replace(key=jax.random.split(jax.random.key(9), B))
    asked = jax.jit(lambda one, state: method.answer(policy, one, state, jnp.zeros(B, int), STEPS))
    (first, *_), state = asked(query, method.init(policy, B))
    (second, *_), after = asked(other, state)
    noise, carried = state[0], after[0]
    np.testing.assert_allclose(first, next_chunk("naive", policy, query), atol=1e-5)
    for row, kept in enumerate(query.overlap_end):
        np.testing.assert_array_equal(carried[row, :kept], noise[row, H - kept :])
        assert (carried[row, kept:] != noise[row, kept:]).all()
    again = jax.jit(lambda: policy.action(None, query.obs, STEPS, noise=carried, flow_steps=query.flow_steps))()
    np.testing.assert_allclose(second, again, atol=1e-5)


def test_trained_prefix_commits_what_is_left_of_the_old_chunk(policy, query):
    chunk = next_chunk("trained_prefix", policy, query)
    for row, length in enumerate([0, 1, 2, 2, 1]):  # trained with prefixes of at most 2
        np.testing.assert_array_equal(chunk[row, :length], query.leftover[row, :length])
        assert (chunk[row, length:] != query.leftover[row, length:]).any()


# `delay_expert` draws no chunks.
@pytest.mark.parametrize("name", sorted(methods.METHODS.keys() - {"delay_expert"}))
def test_noise_scale_zero_removes_all_randomness(policy, query, name):
    other = query._replace(key=jax.random.split(jax.random.key(9), B))
    quiet = [next_chunk(name, policy, q, noise_scale=0.0) for q in (query, other)]
    np.testing.assert_array_equal(*quiet)
    loud = [next_chunk(name, policy, q, noise_scale=1.0) for q in (query, other)]
    assert (loud[0] != loud[1]).any()


def test_cost_in_network_evaluations():
    costs = {name: methods.make(name).network_evaluations(5) for name in methods.METHODS}
    twice = ("realtime", "realtime_linear", "realtime_ones", "hard_masking", "foresee_learned+realtime", "paint")
    several = {"bid": 80, "bid_contrast": 160, "delay_expert": 0} | dict.fromkeys(twice, 10)
    assert costs == dict.fromkeys(methods.METHODS, 5) | several


def test_unknown_method_suggests_a_name():
    with pytest.raises(ValueError, match="did you mean 'realtime'"):
        methods.make("realtim")


@pytest.mark.parametrize(
    ("name", "options", "readers"),
    [
        ("naive", {"bid_k": 3}, "bid_contrast"),
        ("bid", {"bid_k": 3}, "bid_contrast"),
        ("realtime", {"ensemble_decay": 0.5}, "temporal_ensemble"),
        ("trained_prefix", {"own": (("gain", 1.0),)}, "no method reads it"),
    ],
)
def test_an_option_without_effect_is_refused(name, options, readers):
    option = dict(options.get("own", ())) or options
    with pytest.raises(ValueError, match=rf"{next(iter(option))}=.*no effect with method='{name}'.*{readers}"):
        methods.make(name, MethodOptions(**options))


def test_several_methods_share_options_that_one_of_them_reads():
    options = MethodOptions(max_guidance_weight=2.0, noise_scale=0.5)
    shared = methods.options_for(["naive", "realtime"], options)
    assert shared == {"naive": MethodOptions(noise_scale=0.5), "realtime": options}
    with pytest.raises(ValueError, match=r"max_guidance_weight.*naive, bid"):
        methods.options_for(["naive", "bid"], options)


def test_an_option_is_given_once():
    with pytest.raises(ValueError, match="noise_scale"):
        MethodOptions(own=(("noise_scale", 1.0),))
    with pytest.raises(ValueError, match="gain"):
        MethodOptions(own=(("gain", 1.0), ("gain", 2.0)))


def test_identity_has_what_the_method_reads_and_nothing_else():
    assert methods.identity("naive") == {"name": "naive", "noise_scale": 1.0}
    told = methods.identity("realtime", MethodOptions(max_guidance_weight=2.0))
    assert told == {
        "name": "realtime",
        "noise_scale": 1.0,
        "max_guidance_weight": 2.0,
        "schedule": "exp",
        "stop_gradient": False,
    }
    assert methods.identity("realtime") != methods.identity("realtime_linear") | {"name": "realtime"}
    assert methods.code_roots("bid_contrast") == ("rtc.methods.bid.Bid", "rtc.methods.bid.bid_contrast")
    assert methods.code_roots("hard_masking") == ("rtc.methods.realtime.Realtime", "rtc.methods.realtime.realtime")


def test_only_methods_that_override_act_act():
    acting = [name for name in methods.METHODS if "a2c2" in name or name in ("head_only", "delay_expert")]
    assert methods.acting() == acting
    assert not methods.make("naive").acts
    assert not methods.make("foresee_learned").acts


@pytest.mark.parametrize(
    "change",
    [
        {"noise_scale": -1.0},
        {"max_guidance_weight": float("nan")},
        {"bid_num_samples": 0},
        {"bid_k": 0},
        {"ensemble_decay": -0.1},
    ],
)
def test_bad_options_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        MethodOptions(**change)
