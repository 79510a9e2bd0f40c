"""RSD's timed engine, and token policies in the executor."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from line_world import ReachEnv
from rtc import methods
from rtc.bench.token_timing import Engine, run_episode_with_chunks
from rtc.control import executor
from rtc.control.controller import ExecutionConfig, make_controller
from rtc.control.records import NEVER
from rtc.delay import sampling
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.methods.decode import decode
from rtc.policies.tokens import engine
from rtc.policies.tokens.engine import Prompt
from rtc.policies.tokens.policy import TokenPolicy
from rtc.policies.tokens.rules import Exact, Greedy
from stubs import EchoPolicy
from token_world import MODELS, small_agent


@pytest.mark.parametrize(("max_passes", "split"), [(10, False), (10, True), (1, False), (1, True)])
def test_the_timed_engine_decodes_as_the_compiled_one(max_passes, split):
    agent = small_agent()
    timed_engine = Engine(agent, Exact(), max_passes=max_passes, split=split)
    obs = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)
    for number in range(6):
        chunk = timed_engine(obs[number], jnp.ones((4, 6)), prefix=1)
        query = Prompt(jnp.asarray(obs[number : number + 1]), jnp.ones((1, 4, 6)), jnp.ones(1, jnp.int32))
        key = jax.random.fold_in(jax.random.key(0), number)[None]
        expected = speculative(key, agent, query, max_passes)
        found = timed_engine.log.decoded[-1]
        for field in ("depth", "passes", "drafts", "proposed", "accepted"):
            np.testing.assert_array_equal(getattr(found, field), getattr(expected, field))
        depth = int(found.depth[0])
        np.testing.assert_array_equal(found.tokens[:, :depth], expected.tokens[:, :depth])
        np.testing.assert_allclose(chunk, agent.chunk(expected)[0], atol=1e-6)


@jax.jit
def speculative(key, agent, query, max_passes):
    return engine.speculative(key, agent.main, agent.draft, query, Exact(), max_passes)


def test_only_open_blocks_are_drafted(monkeypatch):
    """Passes of the draft that are run, when rounds are separate calls, are those that are counted."""
    agent, ran = small_agent(), []
    real = TokenPolicy.logits

    def logits(self, context, tokens, num_blocks=None):
        if self.config.blocks == MODELS["draft"].blocks:
            jax.debug.callback(lambda: ran.append(num_blocks))
        return real(self, context, tokens, num_blocks)

    monkeypatch.setattr(TokenPolicy, "logits", logits)
    # New traces, so that the counting logits are in them, and none of them afterwards.
    jax.clear_caches()
    timed_engine = Engine(agent, Exact(), split=True)
    for number in range(8):
        ran.clear()
        timed_engine(np.full(5, number, np.float32))
        jax.effects_barrier()
        assert len(ran) == int(timed_engine.log.decoded[-1].drafts[0])
    jax.clear_caches()


def test_statistics_of_the_timed_engine():
    whole, parts = (Engine(small_agent(), Exact(), split=split) for split in (False, True))
    with pytest.raises(ValueError, match="no query"):
        whole.get_stats()
    for timed_engine in (whole, parts):
        for number in range(5):
            timed_engine(np.full(5, number, np.float32))
    stats = whole.get_stats()
    passes = [int(decoded.passes[0]) for decoded in whole.log.decoded]
    assert stats["queries"] == 5
    assert stats["passes"] == {value: passes.count(value) for value in sorted(set(passes))}
    assert stats["mean_passes"] == np.mean(passes)
    assert len(stats["acceptance_per_layer"]) == 2
    assert np.shape(stats["acceptance_per_token"]) == (2, 1)
    assert "draft_ms" not in stats
    split = parts.get_stats()
    assert split["draft_ms"]["mean"] > 0
    assert split["total_ms"]["p50"] >= split["verify_ms"]["p50"]
    assert {key: split[key] for key in ("passes", "mean_drafts")} == {k: stats[k] for k in ("passes", "mean_drafts")}
    whole.reset_stats()
    with pytest.raises(ValueError, match="no query"):
        whole.get_stats()


def test_expected_passes_are_those_of_the_distributions():
    timed_engine = Engine(small_agent(), Exact())
    for _ in range(400):
        timed_engine(np.ones(5, np.float32))
    blocks, drafted, share = timed_engine.expected_passes()
    passes = [int(decoded.passes[0]) for decoded in timed_engine.log.decoded]
    assert (blocks, drafted) == (3, 2)
    assert np.mean(passes) == pytest.approx(blocks - drafted * share, abs=5 * np.std(passes) / 20)
    assert np.std(passes) > 0


def test_bad_engines_are_refused():
    with pytest.raises(ValueError, match="max_passes"):
        Engine(small_agent(), Exact(), max_passes=0)
    with pytest.raises(ValueError, match="give the agent a draft"):
        Engine(small_agent(draft=False), Exact(), split=True)


def test_without_a_draft_every_block_is_a_pass():
    timed_engine = Engine(small_agent(draft=False), Greedy())
    timed_engine(np.zeros(5, np.float32))
    assert timed_engine.get_stats()["passes"] == {3: 1}
    assert np.abs(timed_engine.deviation()).max() < 1e-6


def test_whole_chunks_are_executed_and_the_environment_says_what_succeeded():
    env = ReachEnv(jnp.float32(0.9))
    seen = []

    def decode_right(obs):
        seen.append(np.asarray(obs))
        return np.full((4, 6), 0.5, np.float32)

    episode = run_episode_with_chunks(env, decode_right, action_noise=0.0)
    # 0.1 per tick: the distance is below 0.15 at tick 8, the end of the second chunk.
    assert (episode.solved, episode.ticks, episode.queries) == (True, 8, 2)
    assert episode.returned == 1
    np.testing.assert_allclose(seen[1][0], 0.4, atol=1e-6)
    assert episode.actions.shape == (8, 6)
    lost = run_episode_with_chunks(env, lambda obs: np.zeros((4, 6), np.float32), action_noise=0.0)
    assert (lost.solved, lost.ticks, lost.queries, lost.returned) == (False, 12, 3, 0)


def run_tokens(method, profile=None, horizon=1, agent=None):
    controller = make_controller(
        method,
        sampling.make_process(profile or DelayProfileConfig()),
        EstimatorConfig().make(),
        ExecutionConfig(execute_horizon=horizon),
    )
    env = ReachEnv(jnp.float32(50.0))
    return executor.rollout(env, agent or small_agent(), controller, seed=0, episodes=np.arange(6), num_steps=1)


def test_a_query_is_delayed_by_its_own_passes():
    records = run_tokens(decode(Exact(), pass_ticks=1.0, draft_ticks=0.25))
    launched = records.delay != NEVER
    passes = records.steps[launched]
    assert set(np.unique(passes)) == {1, 2, 3}
    # A round drafts what is not final yet: two blocks at first, then one, then none.
    least, most = passes + np.ceil(0.5), passes + np.ceil(0.75)
    assert (records.delay[launched] >= least).all()
    assert (records.delay[launched] <= most).all()
    np.testing.assert_array_equal(records.interval[launched], np.maximum(1, records.delay[launched]))
    exact = run_tokens(decode(Exact(), pass_ticks=1.0))
    asked = exact.delay != NEVER
    np.testing.assert_array_equal(exact.delay[asked], exact.steps[asked])


def test_without_a_time_of_its_own_the_profile_says_the_delay():
    records = run_tokens(decode(Exact()), DelayProfileConfig(fixed_delay=2))
    assert set(np.unique(records.delay[records.delay != NEVER])) == {2}
    assert set(np.unique(records.steps[records.delay != NEVER])) == {1, 2, 3}


def test_the_rest_of_a_query_takes_time_too():
    records = run_tokens(decode(Exact(), pass_ticks=1.0, overhead_ticks=2.5))
    launched = records.delay != NEVER
    np.testing.assert_array_equal(records.delay[launched], np.ceil(records.steps[launched] + 2.5))


def test_a_conditioned_policy_plans_on_from_what_is_committed():
    profile = DelayProfileConfig(fixed_delay=1)
    agent = small_agent()
    # A policy for which the committed actions, small as they are, decide much.
    agent.main.observe.layers[0].kernel[...] = agent.main.observe.layers[0].kernel[...].at[5:].multiply(1000)
    agent.main.head.kernel[...] = 30 * agent.main.head.kernel[...]
    told = run_tokens(decode(Exact()), profile, 2, agent)
    untold = run_tokens(decode(Exact(), conditioned=False), profile, 2, agent)
    # The first tick belongs to the bootstrap chunk; the next one to a chunk that knew of it, or did not.
    np.testing.assert_array_equal(told.actions[:, 0], untold.actions[:, 0])
    assert (told.actions[:, 1] != untold.actions[:, 1]).any()


def test_a_deadline_bounds_passes_and_delay():
    records = run_tokens(decode(Exact(), max_passes=2, pass_ticks=2.0))
    launched = records.delay != NEVER
    assert set(np.unique(records.steps[launched])) == {1, 2}
    assert set(np.unique(records.delay[launched])) == {2, 4}


def test_a_conditioned_policy_continues_what_is_committed():
    """The first actions of its chunk are those of the old chunk, as far as the planned delay and training reach."""
    agent = small_agent()
    query = types.SimpleNamespace(
        key=jax.random.split(jax.random.key(0), 3),
        obs=jnp.zeros((3, 5)),
        leftover=jnp.arange(72.0).reshape(3, 4, 6),
        planned_delay=jnp.array([0, 1, 3]),
        overlap_end=jnp.full(3, 4),
    )
    drawn = jnp.zeros(3, jnp.int32)
    told = decode(Greedy()).answer(agent, query, (), drawn, 1)[0].chunk
    # Prefixes of more than one tick were not seen in training.
    for row, prefix in enumerate([0, 1, 1]):
        np.testing.assert_array_equal(told[row, :prefix], query.leftover[row, :prefix])
        assert (told[row, prefix] != query.leftover[row, prefix]).any()
    untold = decode(Greedy(), conditioned=False).answer(agent, query, (), drawn, 1)[0].chunk
    np.testing.assert_array_equal(untold[0], told[0])
    np.testing.assert_array_equal(untold[1], untold[0])


def test_methods_and_policies_that_do_not_go_together_are_told_apart():
    with pytest.raises(ValueError, match="Naive samples from a flow, and a TokenAgent has none"):
        run_tokens(methods.make("naive"))
    with pytest.raises(ValueError, match="Decode needs a TokenAgent, and this one is EchoPolicy"):
        run_tokens(decode(Greedy()), agent=EchoPolicy())
