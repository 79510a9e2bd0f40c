"""A full level's frame skip, solver settings, constants and time limit: honoured by both engines, and alike."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from rtc.bench import equivalence
from rtc.control.environment import start_keys
from rtc.worlds.kinetix import levels
from rtc.worlds.kinetix.physics import step

BATCH, TICKS = 8, 12
SETTINGS = {"frame_skip": 1, "num_solver_iterations": 3, "do_warm_starting": False, "solver_batch_size": 20}
CONSTANTS = {"dt": 1 / 50, "max_timesteps": TICKS, "base_friction": 0.7}


def test_the_specialised_step_honours_what_kinetix_does(grasp: levels.Level, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "CAPACITIES", ())  # one branch to compile instead of three
    level = dataclasses.replace(
        grasp,
        static_params=grasp.static_params.replace(**SETTINGS),
        env_params=grasp.env_params.replace(**CONSTANTS),
    )
    action = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (TICKS, BATCH, 6)), jnp.float32)
    stock, fast = (levels.make_env(level, physics) for physics in ("stock", "fast"))
    assert not isinstance(fast, levels.KinetixEnv)
    states = [env.reset(start_keys(BATCH))[0] for env in (stock, fast)]
    for tick in range(TICKS):
        # From the stock engine's state, so that rounding does not add up.
        before = fast.from_stock(states[0])
        states[0], expected = equivalence.step(stock, states[0], action[tick])
        _, found = equivalence.step(fast, before, action[tick])
        np.testing.assert_allclose(found.obs, expected.obs, atol=2e-4)
        np.testing.assert_array_equal(found.done, expected.done)
    assert expected.done.all()
    # One control tick is one physics step of 20 ms: the free box's fall shows both.
    fallen = equivalence.step(fast, fast.reset(start_keys(BATCH))[0], 0 * action[0])[0]
    row = fast.scene.bodies.row[11]
    np.testing.assert_allclose(fallen.motion.vy[row], fast.scene.gravity[1] / 50, atol=0.05)
