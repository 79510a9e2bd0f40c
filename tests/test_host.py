"""The host executor against the one in JAX and against the one in plain Python."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from hash_world import LIMIT, NUM_STEPS, SIZE, assert_matches, controller_of, episode_draws, run
from host_world import BOTH, DIM, EchoExternal, ExternalFlow, HashWorld, linear_flow
from line_world import ReachEnv
from reference_executor import Rules, run_episode
from rtc import methods
from rtc.control import executor, host
from rtc.control.controller import ExecutionConfig, make_controller
from rtc.control.host import Measured, Simulated
from rtc.control.host.heads import HostHead
from rtc.control.records import NEVER
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.delay.sampling import make_process
from rtc.policies.heads import CorrectionHead, HeadConfig
from stubs import EchoPolicy, HashEnv, SmoothEnv

TAIL = DelayProfileConfig(
    mode="mixture", base_delays=(0, 2, 3), base_probs=(0.4, 0.3, 0.3), p_spike=0.15, d_spike=7, deadline=6
)
ANYTIME = DelayProfileConfig(mode="mixture", base_delays=(0, 2, 6), base_probs=(0.4, 0.3, 0.3), anytime=4, hedge=2)
EPISODES = np.array([4, 0, 2])


def assert_same(records, expected, tolerance=0.0):
    """Records are equal, numbers but for rounding."""
    for name in set(expected._fields) - {"slot_ticks", "poses"}:
        found, wanted = getattr(records, name), getattr(expected, name)
        if wanted is None:
            assert found is None, name
        elif np.issubdtype(wanted.dtype, np.floating):
            np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance, err_msg=name)
        else:
            np.testing.assert_array_equal(found, wanted, err_msg=name)


def in_jax(controller, env=None, policy=None, seed=3):
    return executor.rollout(
        env or SmoothEnv(), policy or linear_flow(), controller, seed=seed, episodes=EPISODES, num_steps=NUM_STEPS
    )


def on_host(controller, policy=None, env=None, seed=3, **options):
    policy = policy or ExternalFlow(linear_flow(), NUM_STEPS)
    return host.rollout(Simulated(env or SmoothEnv()), policy, controller, seed=seed, episodes=EPISODES, **options)


@pytest.mark.parametrize(
    ("method", "profile", "config"),
    [
        ("naive", TAIL, {}),
        ("naive", DelayProfileConfig(fixed_delay=6), {"fallback": "zero"}),
        ("naive", ANYTIME, {"execute_horizon": 2, "horizon": "adaptive"}),
        ("naive", TAIL, {"observation_lag": 1, "actuation_lag": 2}),
        ("synchronous", TAIL, {"execute_horizon": 3}),
        ("temporal_ensemble", ANYTIME, {}),
        ("bid", TAIL, {}),
    ],
)
def test_chunks_from_outside_are_executed_as_in_jax(method, profile, config):
    """Noise on the actions, too: all randomness is that of (seed, episode, query or tick)."""
    controller = controller_of(method, profile, action_noise=0.2, **config)
    expected = in_jax(controller)
    found, latency_ms = on_host(controller)
    assert_same(found, expected, 1e-5)
    assert np.isnan(latency_ms).all()
    # Something happened: late chunks, different lengths of episodes or starved ticks.
    assert len(np.unique(expected.delay)) > 1
    assert (found.age == NEVER)[np.arange(LIMIT) < found.length[:, None]].any() or method != "synchronous"
    assert executor.slot_ticks(found) == found.length.sum()


@pytest.mark.parametrize("method", ["telling", "ahead", "correcting"])
def test_policies_of_this_project_are_executed_as_in_jax(method):
    lags = {"correction_delay": 1, "observation_lag": 1, "actuation_lag": 2} if method == "correcting" else {}
    controller = controller_of(method, TAIL, **lags)
    expected = run(controller, end_every=17, episodes=EPISODES)
    env, policy = Simulated(HashEnv(jnp.int32(17))), EchoPolicy()
    found, _ = host.rollout(env, policy, controller, seed=0, episodes=EPISODES, num_steps=NUM_STEPS)
    assert_same(found, expected)


@functools.partial(jax.tree_util.register_dataclass, data_fields=["goal"], meta_fields=["entries"])
@dataclasses.dataclass(frozen=True)
class Somewhere(ReachEnv):
    """The line world, begun where the key says."""

    max_timesteps = LIMIT

    def reset(self, keys):
        x = jax.vmap(jax.random.uniform)(keys)
        state = x, jnp.zeros_like(x)
        return state, self._obs(*state)


def test_a_world_that_draws_its_start_is_started_alike():
    env = Somewhere(jnp.float32(1.5))
    policy = dataclasses.replace(linear_flow(), weights=linear_flow().weights[:5])
    controller = controller_of("naive", TAIL)
    expected = in_jax(controller, env, policy)
    found, _ = on_host(controller, ExternalFlow(policy, NUM_STEPS), env)
    assert_same(found, expected, 1e-5)
    assert len({host.Simulated(env).reset(seed)[0] for seed in (1, 2, 3)}) == 3


def a2c2(head, **config):
    controller = controller_of("a2c2", TAIL, **config)
    return dataclasses.replace(controller, method=controller.method.bind({"head": head}))


def test_actions_are_corrected_as_in_jax():
    """By a network of this project, and by the same network as a function of Python."""
    head = CorrectionHead(entries=range(7), action_dim=DIM, config=HeadConfig((8,)), rngs=nnx.Rngs(0))
    lags = {"observation_lag": 1, "actuation_lag": 2}
    expected = in_jax(a2c2(head, correction_delay=1, **lags))
    assert (expected.actions != in_jax(controller_of("naive", TAIL, **lags)).actions).any()

    def in_python(obs, action, phase):
        assert action.shape == (DIM,)
        assert 0 <= phase < 1
        return head(obs[None], action[None], jnp.full(1, phase, jnp.float32))[0]

    for one in (head, HostHead(in_python)):
        assert_same(on_host(a2c2(one, correction_delay=1, **lags))[0], expected, 1e-5)


def rules_of(told="naive", horizon=1, hold=True, **more):
    return Rules(SIZE, horizon, False, hold, "window_max", window=3, initial=1, told=told, **more)


def conditioned(method="conditioned", profile=None, reach=0, **config):
    return make_controller(
        host.CONDITIONED[method](reach) if method in host.CONDITIONED else methods.make(method),
        make_process(profile or TAIL),
        EstimatorConfig("window_max", window=3, initial=1).make(),
        ExecutionConfig(**{"action_noise": 0.0} | config),
    )


@pytest.mark.parametrize(
    ("told", "reach", "lags"),
    [
        ("telling", 0, {}),
        ("telling", 0, {"observation_lag": 1, "actuation_lag": 2}),
        ("synchronous", 0, {}),
        ("naive", 3, {}),
    ],
)
def test_timing_equals_plain_python(told, reach, lags):
    """Without JAX in world and policy; the policy is told planned delay and leftover, or plans ahead by itself."""
    for seed, horizon in ((0, 1), (1, 2), (2, 4)):
        hold, end_every = bool(seed), 17 * seed
        conditioning = BOTH if told == "telling" else ("planned_delay",) if reach else ()
        policy = EchoExternal(conditioning, reach=reach)
        method = "conditioned" if conditioning else told
        controller = conditioned(
            method, reach=reach, execute_horizon=horizon, fallback="hold" if hold else "zero", **lags
        )
        world = HashWorld(end_every)
        records, _ = host.rollout(world, policy, controller, seed=seed, episodes=EPISODES)
        waits = told == "synchronous"
        rules = rules_of(told, horizon, hold, waits=waits, deadline=6, reach=reach, **lags)
        for row, episode in enumerate(EPISODES):
            draws = [(delay, 1) for delay, _ in episode_draws(TAIL, seed, episode)]
            assert_matches(records, row, run_episode(rules, draws, end_every, LIMIT))
        assert len(set(world.seeds)) == len(EPISODES)


def test_only_what_the_policy_can_be_told_is_told():
    policy = EchoExternal(("planned_delay",))
    host.rollout(HashWorld(0), policy, conditioned(), seed=0, episodes=[0])
    first, *others = policy.requests
    assert first.planned_delay is None
    assert {request.leftover for request in policy.requests} == {None}
    assert all(request.planned_delay >= 0 for request in others)
    unconditioned = EchoExternal(BOTH)
    host.rollout(HashWorld(0), unconditioned, conditioned("naive"), seed=0, episodes=[0])
    assert {(one.planned_delay, one.leftover) for one in unconditioned.requests} == {(None, None)}
    seeds = [request.seed for request in policy.requests]
    assert len(set(seeds)) == len(seeds)
    assert seeds == [request.seed for request in unconditioned.requests][: len(seeds)]


@settings(max_examples=40, deadline=None)
@given(
    delays=st.lists(st.integers(0, 9), min_size=LIMIT + 1, max_size=LIMIT + 1),
    horizon=st.integers(1, SIZE),
    hold=st.booleans(),
    told=st.sampled_from(["telling", "naive", "synchronous"]),
    deadline=st.none() | st.integers(1, 8),
    end_every=st.sampled_from([0, 5, 17]),
)
def test_any_sequence_of_latencies_is_executed_as_in_plain_python(delays, horizon, hold, told, deadline, end_every):
    """A latency of k ticks and a bit is k + 1 ticks."""
    policy = EchoExternal(BOTH if told == "telling" else (), [50 * delay - 20 * bool(delay) for delay in delays])
    measured = Measured(control_hz=20, deadline=deadline)
    controller = conditioned(
        "conditioned" if told == "telling" else told,
        measured.profile(),
        execute_horizon=horizon,
        fallback="hold" if hold else "zero",
    )
    records, latency_ms = host.rollout(
        HashWorld(end_every), policy, controller, seed=0, episodes=[0], measured=measured
    )
    limit = float("inf") if deadline is None else deadline
    rules = rules_of(told, horizon, hold, waits=told == "synchronous", deadline=limit)
    assert_matches(records, 0, run_episode(rules, [(delay, 1) for delay in delays], end_every, LIMIT))
    np.testing.assert_array_equal(np.isnan(latency_ms), records.delay == NEVER)


def test_latency_is_measured_around_the_call():
    """A clock that policies move: a query takes 70 ms, so 2 ticks at 20 Hz, or as long as it says itself."""

    class Slow(EchoExternal):
        def infer(self, request):
            now[0] += 0.07
            return super().infer(request)

    now = [100.0]
    for scale, says, expected in ((1.0, (), 2), (3.0, (), 5), (1.0, [101.0] * LIMIT, 3)):
        measured = Measured(20, scale=scale, clock=lambda: now[0])
        controller = conditioned("naive", measured.profile())
        records, latency_ms = host.rollout(
            HashWorld(0), Slow(latencies_ms=says), controller, seed=0, episodes=[0, 1], measured=measured
        )
        launched = records.delay != NEVER
        assert set(records.delay[launched]) == {expected}
        np.testing.assert_allclose(latency_ms[launched], 101.0 if says else 70.0)
        # The estimator learns it from the second query on.
        planned = [row[row != NEVER].tolist() for row in records.planned]
        assert planned == [[1] + [expected] * (len(row) - 1) for row in planned]


def test_latency_of_a_policy_of_this_project_is_measured():
    now = [0.0]

    def clock():
        now[0] += 0.04
        return now[0]

    measured = Measured(50, clock=clock)
    controller = controller_of("naive", measured.profile())
    records, latency_ms = host.rollout(
        Simulated(HashEnv(jnp.int32(0))), EchoPolicy(), controller, seed=0, episodes=[0], measured=measured
    )
    launched = records.delay != NEVER
    assert set(records.delay[launched]) == {2}
    np.testing.assert_allclose(latency_ms[launched], 40.0)


def test_an_action_that_is_not_finite_ends_the_episode_and_is_not_executed():
    class Broken(EchoExternal):
        def infer(self, request):
            reply = super().infer(request)
            chunk = np.where(request.obs[0] == 5, np.nan, reply.chunk)
            return dataclasses.replace(reply, chunk=chunk)

    records, _ = host.rollout(
        HashWorld(0), Broken(), conditioned("naive", DelayProfileConfig()), seed=0, episodes=[0, 1]
    )
    assert records.bad_tick.tolist() == [5, 5]
    assert records.length.tolist() == [6, 6]


def test_seeds_are_keys():
    keys = jax.random.split(jax.random.key(1), 4)
    for key in keys:
        assert (jax.random.key_data(host.key_of(host.seed_of(key))) == jax.random.key_data(key)).all()
    assert len({host.seed_of(key) for key in keys}) == 4
