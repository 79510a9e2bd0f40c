"""The starter file for a level of one's own."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtc.worlds.kinetix import levels

STARTER = Path(__file__).parents[1] / "worlds/starter/my_level.json"


def test_the_starter_is_a_level_that_a_policy_can_drive():
    level = levels.load(str(STARTER))
    assert level.name == "my_level"
    assert level.bound_actions.any()
    roles = STARTER.read_text()
    assert all(f'"{role}"' in roles for role in ("ball", "goal", "hazard"))


@pytest.mark.parametrize(("thruster", "solved"), [(5, True), (4, False)])
def test_the_starter_is_solved_by_thrust_to_the_right_and_ends_at_the_red_wall(thruster, solved):
    env = levels.make_env(levels.load(str(STARTER)), "fast")
    state, _ = env.reset(jax.random.split(jax.random.key(0), 1))
    action = jnp.zeros((1, env.action_dim)).at[:, thruster].set(1.0)

    def step(state, _):
        state, transition = env.step(state, action)
        return state, (transition.done[0], transition.solved[0])

    done, reached = jax.jit(lambda state: jax.lax.scan(step, state, length=env.max_timesteps)[1])(state)
    end = int(np.argmax(done))
    assert bool(reached[end]) == solved
    assert end < env.max_timesteps - 1
