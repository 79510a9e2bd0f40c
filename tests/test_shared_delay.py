"""The simulation that earlier studies used, and what was wrong with it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtc import methods
from rtc.bench import shared_delay
from rtc.delay import profiles, sampling
from rtc.delay.profiles import DelayProfileConfig
from stubs import EchoPolicy, HashEnv, Telling


def solved(method, profile, **options):
    settings = {"seed": 0, "episodes": 8, "execute_horizon": 2, "num_steps": 1, "action_noise": 0.0} | options
    process = sampling.make_process(profile)
    return shared_delay.solved(HashEnv(jnp.int32(7)), EchoPolicy(), method, process, **settings)


@pytest.mark.parametrize("method", [methods.make("naive"), Telling()], ids=["naive", "told"])
def test_tail_control_changes_nothing_where_delays_are_cut_to_the_horizon(method):
    tail, controlled = (solved(method, profiles.profile(name)) for name in ("long_tail", "tail_controlled"))
    np.testing.assert_array_equal(tail, controlled)


def test_all_environments_share_their_delays():
    """Without action noise all episodes of a batch are the same."""
    profile = DelayProfileConfig(mode="mixture", base_delays=(0, 1, 2), base_probs=(0.4, 0.3, 0.3))
    results = {seed: set(solved(methods.make("naive"), profile, seed=seed).tolist()) for seed in range(12)}
    assert all(len(found) == 1 for found in results.values())
    assert len(set.union(*results.values())) == 2


def test_a_constant_delay_within_the_horizon_is_the_published_protocol():
    """Entry by entry: the first d actions of every s come from the old chunk, the others from the new one."""
    recorded = []

    class Recording(HashEnv):
        def step(self, state, action):
            jax.debug.callback(lambda a: recorded.append(np.asarray(a[0])), action, ordered=True)
            return super().step(state, action)

    jax.tree_util.register_dataclass(
        Recording, data_fields=["end_every"], meta_fields=["max_timesteps", "obs_dim", "action_dim"]
    )
    shared_delay.solved(
        Recording(jnp.int32(0)),
        EchoPolicy(),
        methods.make("naive"),
        sampling.make_process(DelayProfileConfig(fixed_delay=1)),
        seed=0,
        episodes=2,
        execute_horizon=2,
        num_steps=1,
        action_noise=0.0,
    )
    jax.effects_barrier()
    launch, entry = np.stack(recorded)[:8, :2].T
    assert launch.tolist() == [0, 0, 0, 2, 2, 4, 4, 6]
    assert entry.tolist() == [0, 1, 2, 1, 2, 1, 2, 1]
