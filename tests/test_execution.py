"""The asynchronous executor against a second one in plain Python, and the guarantees its users rely on."""

from dataclasses import dataclass
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from hash_world import LIMIT, SIZE, controller_of, run
from model import FlowPolicy, ModelConfig
from rtc.control import executor, slots
from rtc.control.blocks import stream_keys
from rtc.control.controller import ExecutionConfig
from rtc.control.environment import start_keys
from rtc.control.records import NEVER
from rtc.delay import profiles
from rtc.delay.profiles import DelayProfileConfig
from stubs import EchoPolicy, HashEnv, NoisePolicy, SmoothEnv


@cache
def flow_policy():
    """A small policy with random weights everywhere: a fresh one would ignore much of its input."""
    config = ModelConfig(16, 24, 8, num_layers=2, action_chunk_size=SIZE)
    empty = nnx.eval_shape(lambda: FlowPolicy(obs_dim=7, action_dim=6, config=config, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(empty)
    rng = np.random.default_rng(0)
    return nnx.merge(graph, jax.tree.map(lambda x: jnp.asarray(0.3 * rng.standard_normal(x.shape, np.float32)), state))


def run_smooth(controller, env=None, policy=None, *, episodes=range(9), num_slots=4, query_block=None):
    return executor.rollout(
        env or SmoothEnv(),
        policy or flow_policy(),
        controller,
        seed=0,
        episodes=np.array(episodes),
        num_steps=3,
        num_slots=num_slots,
        query_block=query_block,
    )


def assert_same(records, expected, compare=np.testing.assert_array_equal):
    """Records are equal but for what tells how they were made."""
    for name in set(expected._fields) - {"slot_ticks", "poses", "origin", "evaluations"}:
        compare(getattr(records, name), getattr(expected, name), err_msg=name)


def action_noise(seed, episode, ticks):
    """Unit noise on the executed actions of an episode, drawn tick by tick outside the executor."""
    stream = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), episode), slots.ACTION_NOISE)
    return np.stack([jax.random.normal(jax.random.fold_in(stream, tick), (6,)) for tick in range(ticks)])


def test_synchronous_execution_holds_until_the_chunk_arrives_and_starts_at_its_first_action():
    records = run(controller_of("synchronous", DelayProfileConfig(fixed_delay=2), execute_horizon=3), episodes=[0])
    assert np.flatnonzero(records.delay[0] != NEVER).tolist() == [0, 5, 10, 15, 20]
    assert records.age[0, :10].tolist() == [NEVER, NEVER, 2, 3, 4, NEVER, NEVER, 2, 3, 4]
    assert records.actions[0, 2:5, 1].tolist() == [0, 1, 2]
    assert (records.actions[0, 5:7] == records.actions[0, 4]).all()


def test_an_abandoned_query_leaves_the_old_chunk_in_charge():
    """With d = 4 in one of two queries and a deadline of 2, a late query is launched anew two ticks later."""
    profile = DelayProfileConfig(mode="mixture", base_delays=(0, 4), base_probs=(0.5, 0.5), deadline=2)
    records = run(controller_of("naive", profile), episodes=range(8))
    for row in range(8):
        launched = np.flatnonzero(records.delay[row] != NEVER)
        late = records.delay[row, launched] == 2
        assert (records.abandoned[row, launched] == late).all()
        assert late.any()
        np.testing.assert_array_equal(np.diff(launched), np.where(late, 2, 1)[:-1])
        sources = launched[~late]
        for tick in range(launched[~late][0], LIMIT):
            source = sources[sources <= tick][-1]
            expected = tick - source if tick - source < SIZE else NEVER
            assert records.age[row, tick] == expected


@pytest.mark.parametrize("fallback", ["hold", "zero"])
def test_delay_beyond_the_chunk_starves(fallback):
    """d = 6 > H = 4: four ticks of the bootstrap chunk, then two starved ticks, and every later chunk is too old."""
    profile = DelayProfileConfig(fixed_delay=6)
    records = run(controller_of("naive", profile, fallback=fallback), episodes=[0])
    assert records.age[0, :7].tolist() == [0, 1, 2, 3, NEVER, NEVER, NEVER]
    assert (records.age[0, 6:] == NEVER).all()
    held = records.actions[0, 3] if fallback == "hold" else np.zeros(6)
    assert (records.actions[0, 4:] == held).all()
    assert np.flatnonzero(records.delay[0] != NEVER).tolist() == [0, 6, 12, 18]


def test_long_delay_is_not_truncated_to_the_horizon():
    """d = 3 > s = 1 postpones the next launch and starves one tick in three once old chunks are three ticks old."""
    records = run(controller_of("naive", DelayProfileConfig(fixed_delay=3), execute_horizon=1), episodes=[0])
    assert np.flatnonzero(records.delay[0] != NEVER).tolist() == list(range(0, LIMIT, 3))
    assert records.age[0, :9].tolist() == [0, 1, 2, 3, NEVER, NEVER, 3, NEVER, NEVER]


def test_environments_have_their_own_delays():
    profile = profiles.PROFILES["long_tail"]
    records = run(controller_of("naive", profile), episodes=range(8))
    rows = {tuple(row[row != NEVER][:12]) for row in records.delay}
    assert len(rows) > 1


def test_zero_delay_is_the_synchronous_rollout():
    """At d = 0 every executed action is entry 0..s-1 of a chunk computed from the current observation, bit for bit."""
    records = run(controller_of("naive", execute_horizon=2), episodes=[0, 1])
    env, policy = HashEnv(jnp.int32(0)), EchoPolicy()
    state, obs = env.reset(start_keys(1))
    for tick in range(LIMIT):
        if tick % 2 == 0:
            chunk = policy.action(None, obs, 1)
        action = chunk[:, tick % 2]
        np.testing.assert_array_equal(records.actions[0, tick], action[0])
        state, outcome = env.step(state, action)
        obs = outcome.obs


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ManyStarts(HashEnv):
    """Starts with a hash that its key decides."""

    def reset(self, keys):
        (tick, _), obs = super().reset(keys)
        code = jax.vmap(partial(jax.random.randint, shape=(), minval=0, maxval=1000))(keys)
        return (tick, code), obs.at[:, 1].set(code)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CodePolicy(EchoPolicy):
    """Chunks whose first action dimension is the second number observed."""

    def action(self, rng, obs, num_steps, *, noise=None, flow_steps=None):
        return jnp.broadcast_to(obs[:, 1:, None], (*obs.shape[:1], self.action_chunk_size, self.action_dim))


def test_every_episode_has_its_own_start_and_the_first_chunk_is_made_from_it():
    profile = DelayProfileConfig(fixed_delay=2)
    sizes = {"seed": 3, "num_steps": 1, "query_block": 2, "num_slots": 2}
    episodes = np.array([7, 0, 4, 2])
    env = ManyStarts(jnp.int32(0))
    records = executor.rollout(env, CodePolicy(), controller_of("naive", profile), episodes=episodes, **sizes)
    base = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(3), episodes)
    starts = env.reset(stream_keys(base, slots.START))[1][:, 1]
    assert len(np.unique(starts)) == len(episodes)
    # The bootstrap chunk covers two ticks, then the first query's chunk comes: both saw the start.
    np.testing.assert_array_equal(records.actions[:, :4, 0], np.repeat(starts[:, None], 4, axis=1))


def test_permuted_episodes_permute_results():
    controller = controller_of(profile=profiles.PROFILES["long_tail"])
    order = np.array([3, 0, 6, 2, 5, 1, 4])
    plain = run(controller, end_every=17, episodes=range(7))
    permuted = run(controller, end_every=17, episodes=order)
    assert_same(permuted, jax.tree.map(lambda x: x[order], plain))


@pytest.mark.parametrize("num_slots", [1, 3, 16])
def test_number_of_slots_does_not_change_results(num_slots):
    controller = controller_of(profile=profiles.PROFILES["long_tail"])
    few = run(controller, end_every=17, episodes=range(9), num_slots=num_slots)
    assert_same(few, run(controller, end_every=17, episodes=range(9), num_slots=6))


@pytest.mark.usefixtures("usual_code_generator")
def test_number_of_slots_does_not_change_a_network_by_a_bit():
    """The queries that share a block change with the number of slots; the program that answers them does not."""
    controller = controller_of("realtime", profiles.PROFILES["long_tail"], execute_horizon=2)
    base = run_smooth(controller, num_slots=9)
    assert 0 < base.solved.sum() < 9
    assert_same(run_smooth(controller, num_slots=4), base)


def test_asking_the_policy_in_blocks_equals_asking_for_all_slots():
    for kind in ("fixed", "adaptive"):
        controller = controller_of("realtime", profiles.PROFILES["long_tail"], execute_horizon=2, horizon=kind)
        plain = run_smooth(controller, query_block=9, num_slots=9)
        blocks = run_smooth(controller, query_block=2)
        assert_same(blocks, plain, partial(np.testing.assert_allclose, rtol=0, atol=1e-5))


def test_constant_entries_can_be_folded_into_the_policy():
    controller = controller_of("naive", profiles.PROFILES["long_tail"])
    env, policy, entries = SmoothEnv(), flow_policy(), (4, 2, 3)
    folded = policy.observing(entries, env.reset(start_keys(1))[1][0])
    records = run_smooth(controller, env.observing(entries), folded)
    assert_same(records, run_smooth(controller, env, policy), partial(np.testing.assert_allclose, rtol=0, atol=1e-5))


def test_only_slots_that_launch_a_query_ask_the_policy():
    """Eight episodes of 24 ticks in four slots, in blocks of four: two bootstrap blocks, then one per launch tick."""
    answered = []

    class Reporting(EchoPolicy):
        def action(self, rng, obs, *args, **kwargs):
            jax.debug.callback(lambda _: answered.append(len(obs)), obs[0, 0])
            return super().action(rng, obs, *args, **kwargs)

    jax.tree_util.register_dataclass(Reporting, data_fields=[], meta_fields=["action_chunk_size", "action_dim"])
    devices = len(jax.local_devices())
    for horizon in (1, 2, 4):
        answered.clear()
        controller = controller_of("naive", execute_horizon=horizon)
        run(controller, policy=Reporting(), episodes=range(8 * devices), query_block=4)
        jax.effects_barrier()
        assert answered == [4] * devices * (2 + 2 * LIMIT // horizon)


def test_no_tick_after_the_end_and_slots_are_refilled():
    controller = controller_of(profile=profiles.PROFILES["long_tail"])
    records = run(controller, end_every=5, episodes=range(64), num_slots=2)
    executed = (~np.isnan(records.actions[..., 0])).sum(axis=1)
    np.testing.assert_array_equal(executed, records.length)
    assert records.length.min() < LIMIT
    # With two slots per device, only the end of a device's queue can leave one of them idle.
    devices = len(jax.local_devices())
    for device in range(devices):
        needed = records.length[device::devices].sum()
        assert needed <= records.slot_ticks[device] < needed + LIMIT


def test_one_compile_serves_profiles_seeds_and_horizons():
    traced = []

    class Traced(EchoPolicy):
        def chunk(self, obs, *told):
            traced.append(obs.shape)
            return super().chunk(obs, *told)

    jax.tree_util.register_dataclass(Traced, data_fields=[], meta_fields=["action_chunk_size", "action_dim"])
    for name in profiles.PROFILES:
        for seed in (0, 1):
            for horizon in (1, 3):
                for kind in ("fixed", "adaptive"):
                    controller = controller_of(
                        "telling", profiles.PROFILES[name], execute_horizon=horizon, horizon=kind
                    )
                    run(controller, seed=seed, policy=Traced())
    assert len(traced) == 2  # of the first chunks, and of the queries


@pytest.mark.parametrize("method", ["naive", "telling"])
def test_action_noise_depends_on_seed_episode_and_tick_alone(method):
    """Replaying the commanded actions with noise from (seed, episode, tick) reproduces every episode's rewards."""
    controller = controller_of(method, profiles.PROFILES["long_tail"], action_noise=3.0)
    episodes = [4, 1, 7]
    records = run(controller, end_every=17, seed=3, episodes=episodes)
    env = HashEnv(jnp.int32(17))
    for row, episode in enumerate(episodes):
        commanded = records.actions[row, : records.length[row]]
        noisy = commanded + 3.0 * action_noise(3, episode, len(commanded))
        assert np.abs(noisy - commanded).max() > 1
        state, returned = env.reset(start_keys(1))[0], 0.0
        for action in noisy:
            state, outcome = env.step(state, action[None])
            returned += float(outcome.reward[0])
        assert returned == records.returned[row]
        assert bool(outcome.done[0])


def test_non_finite_actions_are_reported_where_they_start():
    controller = controller_of("telling", DelayProfileConfig())

    class Broken(EchoPolicy):
        def chunk(self, obs, *told):
            chunk = super().chunk(obs, *told)
            return jnp.where((obs[:, 0] == 5)[:, None, None], jnp.nan, chunk)

    jax.tree_util.register_dataclass(Broken, data_fields=[], meta_fields=["action_chunk_size", "action_dim"])
    records = executor.rollout(
        HashEnv(jnp.int32(0)), Broken(), controller, seed=0, episodes=np.arange(2), num_steps=1, num_slots=2
    )
    assert records.bad_tick.tolist() == [5, 5]
    assert records.length.tolist() == [6, 6]


def test_every_query_draws_its_own_noise():
    """The noise depends on (seed, episode, query) alone: distinct between queries, the same under another profile."""
    seen = {}
    for profile in ("no_delay", "long_tail"):
        controller = controller_of("naive", profiles.PROFILES[profile])
        for episodes, num_slots in (((0, 1, 2), 2), ((2, 0), 4)):
            records = executor.rollout(
                HashEnv(jnp.int32(0)),
                NoisePolicy(),
                controller,
                seed=1,
                episodes=np.array(episodes),
                num_steps=1,
                num_slots=num_slots,
            )
            for row, episode in enumerate(episodes):
                fresh = records.age[row] == 0
                query = np.cumsum(records.delay[row] != NEVER) - 1
                for tick in np.flatnonzero(fresh):
                    noise = float(records.actions[row, tick, 0])
                    assert seen.setdefault((episode, int(query[tick])), noise) == noise
    assert len(set(seen.values())) == len(seen) > 2 * LIMIT


def test_poses_are_recorded_on_request():
    controller = controller_of("naive", profiles.PROFILES["long_tail"])
    arguments = {"seed": 0, "episodes": np.arange(3), "num_steps": 1}
    recorded = executor.rollout(HashEnv(jnp.int32(17)), EchoPolicy(), controller, record_poses=True, **arguments)
    plain = executor.rollout(HashEnv(jnp.int32(17)), EchoPolicy(), controller, **arguments)
    assert plain.poses == ()
    for row, length in enumerate(recorded.length):
        assert recorded.poses[0][row, :length].tolist() == list(range(1, length + 1))
    np.testing.assert_array_equal(recorded.actions, plain.actions)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"execute_horizon": 0}, "execute_horizon=0"),
        ({"horizon": "adaptve"}, "did you mean 'adaptive'"),
        ({"fallback": "held"}, "did you mean 'hold'"),
        ({"action_noise": -0.1}, "action_noise=-0.1"),
    ],
)
def test_bad_execution_config(change, message):
    with pytest.raises(ValueError, match=message):
        ExecutionConfig(**change)


def test_horizon_beyond_the_chunk_is_refused():
    with pytest.raises(ValueError, match="execute_horizon=5 exceeds the chunk size 4"):
        run(controller_of(execute_horizon=5))
