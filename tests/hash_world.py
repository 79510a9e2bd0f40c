"""Episodes of HashEnv in the executor, and what they are compared with."""

import jax
import jax.numpy as jnp
import numpy as np

from rtc import methods
from rtc.control import executor, slots
from rtc.control.controller import ExecutionConfig, make_controller
from rtc.control.records import NEVER
from rtc.delay import sampling
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from stubs import Ahead, Correcting, Counting, CountingAhead, EchoPolicy, HashEnv, Telling

SIZE, LIMIT, NUM_STEPS = 4, 24, 5
STUBS = {
    "telling": Telling,
    "counts": Counting,
    "ahead": Ahead,
    "counts_ahead": CountingAhead,
    "correcting": Correcting,
}


def controller_of(method="telling", profile=None, estimator=None, **config):
    return make_controller(
        STUBS[method]() if method in STUBS else methods.make(method),
        sampling.make_process(profile or DelayProfileConfig()),
        (estimator or EstimatorConfig()).make(),
        ExecutionConfig(**{"action_noise": 0.0} | config),
    )


def run(controller, *, end_every=0, seed=0, episodes=range(5), num_slots=4, policy=None, query_block=3):
    """Five episodes in four slots, whose queries are answered three at a time."""
    return executor.rollout(
        HashEnv(jnp.int32(end_every)),
        policy or EchoPolicy(),
        controller,
        seed=seed,
        episodes=np.array(episodes),
        num_steps=NUM_STEPS,
        num_slots=num_slots,
        query_block=query_block,
    )


@jax.jit
def draw_all(process, key):
    def query(stream, _):
        draw, stream = sampling.sample(process, stream)
        return stream, (draw.delay, sampling.flow_steps(draw, NUM_STEPS))

    return jax.lax.scan(query, sampling.init(key), length=LIMIT)[1]


def episode_draws(profile, seed, episode):
    """Delay and flow steps of an episode's queries, sampled one by one outside the executor."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), episode), slots.DELAY)
    columns = draw_all(sampling.make_process(profile), key)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def assert_matches(records, row, expected):
    length = len(expected.actions)
    assert records.length[row] == length
    np.testing.assert_array_equal(records.actions[row, :length], np.array(expected.actions, np.float32))
    assert np.isnan(records.actions[row, length:]).all()
    assert records.age[row, :length].tolist() == expected.age
    launched = np.flatnonzero(records.delay[row] != NEVER)
    assert launched.tolist() == sorted(expected.queries)
    for tick in launched:
        names = "delay", "planned", "execute_horizon", "interval", "steps"
        assert tuple(getattr(records, name)[row, tick] for name in names) == expected.queries[tick]
    if records.origin is not None:
        assert {int(tick): int(records.origin[row, tick]) for tick in launched} == expected.origins
    if records.evaluations is not None:
        assert records.evaluations[row, :length].tolist() == expected.evaluations
    assert (records.abandoned[row] == 1).sum() == expected.abandoned
    assert records.returned[row] == expected.returned
    assert records.solved[row] == expected.solved
