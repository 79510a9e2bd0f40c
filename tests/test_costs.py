"""Multiplications of methods, and of anything that has a jaxpr."""

import jax
import jax.numpy as jnp
import pandas as pd
import pytest
from flax import nnx

from model import FlowPolicy
from rtc import methods
from rtc.bench import networks as bench
from rtc.control.metrics import Summary
from rtc.policies.forward import ForwardConfig, ForwardModel
from rtc.policies.heads import CorrectionHead, HeadConfig
from rtc.shared.jaxprs import multiplications, needed
from rtc.study import costs
from rtc.study.costs import Costs
from stubs import TINY, SmoothEnv

ENV, STEPS = SmoothEnv(), 3
OBS = ENV.obs_dim


def count(function, *args):
    return tuple(multiplications(needed(function, *args)))


def test_products_and_single_multiplications_count():
    a, b = jnp.ones((2, 3)), jnp.ones((3, 5))
    assert count(lambda a, b: a @ b, a, b) == (30, 0)
    assert count(lambda a, b: 2.5 * (a @ b) * a.sum(), a, b) == (30 + 10 + 10, 0)
    assert count(lambda a, b: (a @ b, 3.0 * a)[1], a, b) == (6, 0)  # what nobody needs does not


def test_loops_count_as_often_as_they_run_and_branches_as_the_dearest():
    a = jnp.ones((4, 4))
    assert count(lambda a: jax.lax.scan(lambda x, _: (x @ a, None), a, length=7)[0], a) == (7 * 64, 0)
    assert count(jax.jit(lambda a: jax.lax.cond(a[0, 0] > 0, lambda x: x @ x, lambda x: 2.0 * x, a)), a) == (64, 0)

    def until(a, n):
        return jax.lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] @ a), (0, a))[1] @ a

    assert count(until, a, 3) == (64, 64)


@pytest.fixture(scope="module")
def policy():
    return FlowPolicy(obs_dim=OBS, action_dim=6, config=TINY, rngs=nnx.Rngs(0))


def of(policy, name, **networks):
    return costs.of(policy, methods.make(name).bind(networks), ENV, STEPS)


def test_a_query_counts_every_flow_step_and_guidance_the_way_back(policy):
    plain, guided = of(policy, "naive"), of(policy, "realtime")
    passes = STEPS * bench.forward_multiply_adds(TINY)
    assert passes < plain.query < 4 * passes  # activations and norms weigh much in a network of this size
    assert guided.query > plain.query + passes
    assert plain.first == plain.query
    assert (plain.ahead, plain.tick) == (0, 0)


def test_networks_of_a_method_count_where_they_are_asked(policy):
    head = CorrectionHead(entries=range(OBS), action_dim=6, config=HeadConfig((5, 7)), rngs=nnx.Rngs(0))
    corrected, plain = of(policy, "a2c2", head=head), of(policy, "naive")
    products = (OBS + 6 + 2) * 5 + 5 * 7 + 7 * 6
    assert products <= corrected.tick < products + 40
    assert corrected.query == plain.query
    model = ForwardModel(entries=range(OBS), action_dim=6, config=ForwardConfig(8, 1), rngs=nnx.Rngs(0))
    ahead = of(policy, "foresee_learned", model=model)
    products = (OBS + 6) * 8 + 8 * 8 + 8 * OBS
    assert products <= ahead.ahead < products + 100
    assert ahead.tick == 0
    assert of(policy, "foresee_simulator").ahead == 0


def test_a_cell_has_the_mean_over_its_ticks():
    episodes = pd.DataFrame({"returned_episode_lengths": [10, 30], "num_queries": [5, 15]})
    summary = Summary({"mean_planned_delay": 2.5}, episodes, {})
    row = costs.row(Costs(first=100, query=50, ahead=10, tick=3), summary, copies=2)
    assert row["query_multiplications"] == pytest.approx(75e-6)
    assert row["multiplications_per_tick"] == pytest.approx((40 * 75 + 40 * 3 + 200) / 40 / 1e6)
    assert costs.row(None, summary, copies=2) == {}
