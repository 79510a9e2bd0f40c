"""RSD's training, its checkpoints, and what is run with them: timed engine, executor and experiment."""

import dataclasses
import json
import re
import time
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import train_rsd
from line_world import Killed, ReachEnv, assert_same, dies_at_call
from rtc import delays, execution, levels, results
from rtc.controller import ExecutionConfig, make_controller
from rtc.delays import DelayProfileConfig
from rtc.demonstrations import Demonstrations
from rtc.estimators import EstimatorConfig
from rtc.records import NEVER
from rtc.rsd import arms, bench, bench_report, checkpoints, data, engine, experiment, program, quality, training
from rtc.rsd.agent import TokenAgent, decode
from rtc.rsd.arms import Arm
from rtc.rsd.engine import Query
from rtc.rsd.experiment import Condition
from rtc.rsd.policy import TokenModelConfig, TokenPolicy
from rtc.rsd.rfsq import Tokenizer, TokenizerConfig
from rtc.rsd.rules import Exact, Greedy
from rtc.rsd.timed import Engine, run_episode_with_chunks
from rtc.rsd.training import FitConfig

SMALL = TokenizerConfig(action_chunk_size=4, latent_dim=2, num_layers=4, tokens_per_layer=1, hidden_dim=8)
BLOCKS = (1, 1, 2)
TINY = FitConfig(num_epochs=2, batch_size=16, warmup_steps=2)
MODELS = {
    "blocks": TokenModelConfig(blocks=BLOCKS, dim=8, depth=1, num_heads=2, obs_hidden_dim=8, simulated_delay=2),
    "draft": TokenModelConfig(blocks=(1, 1), dim=4, depth=1, num_heads=1, obs_hidden_dim=8, simulated_delay=2),
    "layers": TokenModelConfig(blocks=(1,) * 4, dim=8, depth=1, num_heads=2, obs_hidden_dim=8, simulated_delay=2),
    "parallel": TokenModelConfig(blocks=(4,), dim=8, depth=1, num_heads=2, obs_hidden_dim=8, simulated_delay=2),
}


# --- data and training --------------------------------------------------------------------------------------


def demonstrations_of(num_episodes=30, length=7):
    """Episodes whose actions tell them apart: transition t of episode e has the action e + t / 100 in all motors."""
    rng = np.random.default_rng(0)
    episode, tick = np.repeat(np.arange(num_episodes), length), np.tile(np.arange(length), num_episodes)
    action = np.repeat((episode + tick / 100)[:, None], 6, axis=1).astype(np.float32) / num_episodes
    size = len(action)
    return Demonstrations(
        obs=rng.standard_normal((size, 5)).astype(np.float32),
        action=action,
        done=tick == length - 1,
        solved=tick == length - 1,
        finite=np.ones(size, bool),
        expert=np.zeros(size, np.int32),
        template=np.zeros(5, np.float32),
        entries=np.arange(5),
        facts={},
    )


@pytest.fixture
def two_bound(monkeypatch):
    """In every level, only the first two actions drive something."""
    level = types.SimpleNamespace(bound_actions=np.arange(6) < 2, sha256="0" * 64, name="reach")
    monkeypatch.setattr(levels, "load", lambda path: level)
    return level


def test_an_episode_is_trained_on_or_held_out(two_bound):
    chunks = data.of_level(demonstrations_of(), "reach", held_out=0.2)
    episodes = [set(np.asarray(part) // 7) for part in (chunks.training, chunks.held_out)]
    assert not episodes[0] & episodes[1]
    assert episodes[0] | episodes[1] == set(range(30))
    assert len(episodes[1]) == 6


def test_chunks_stop_at_the_end_of_their_episode_and_leave_out_what_drives_nothing(two_bound):
    chunks = data.of_level(demonstrations_of(), "reach")
    chunk = np.asarray(chunks.at(jnp.array([4, 7]), 4))
    np.testing.assert_allclose(chunk[0, :, 0], np.array([0.04, 0.05, 0.06, 0]) / 30, atol=1e-7)
    np.testing.assert_allclose(chunk[1, :, 1], np.array([1.0, 1.01, 1.02, 1.03]) / 30, atol=1e-7)
    assert (chunk[:, :, 2:] == 0).all()


def test_joined_levels_keep_their_chunks(two_bound):
    one = data.of_level(demonstrations_of(), "reach")
    both = data.join([one, one])
    assert len(both.training) == 2 * len(one.training)
    np.testing.assert_array_equal(both.at(jnp.array([4 + 210]), 4), one.at(jnp.array([4]), 4))
    assert set(both.held_out) == {*one.held_out, *(one.held_out + 210)}


def test_a_share_of_the_episodes_is_checked():
    with pytest.raises(ValueError, match="held_out"):
        data.held_out_episodes(np.array([False, True]), 0.9, 0)


def fit_tokenizer(folder, chunks, epochs):
    config = FitConfig(num_epochs=epochs, batch_size=16, warmup_steps=2)

    def objective(model, start, key):
        return model.loss(key, chunks.at(start, 4)), {}

    return training.fit(Tokenizer(SMALL, nnx.Rngs(0)), objective, chunks.training, config, "tokenizer", folder)


def test_training_lowers_the_loss_and_its_statistics_are_kept(two_bound, tmp_path):
    chunks = data.of_level(demonstrations_of(), "reach")
    _, stats = fit_tokenizer(tmp_path, chunks, 30)
    rows = (tmp_path / "stats" / "tokenizer.csv").read_text().splitlines()
    assert len(rows) == 31
    assert stats["loss"] < 0.5 * float(rows[1].split(",")[1])


def test_the_error_falls_with_depth_and_no_code_is_the_rule(two_bound, tmp_path):
    chunks = data.of_level(demonstrations_of(num_episodes=60), "reach", held_out=0.2)
    trained, _ = fit_tokenizer(tmp_path, chunks, 60)
    table = quality.tokenizer_table(trained, {"reach": chunks}, {"reach": two_bound.bound_actions})
    errors = table["rms error"].astype(float)
    assert (np.diff(errors) < 0).all()
    assert table["commonest code"].astype(float).max() < 0.9


def test_a_killed_training_ends_as_an_uninterrupted_one(two_bound, tmp_path, monkeypatch):
    chunks = data.of_level(demonstrations_of(), "reach")
    expected, _ = fit_tokenizer(tmp_path / "whole", chunks, 4)
    with monkeypatch.context() as patch:
        dies_at_call(patch, training.training, "save_tree", 3)
        with pytest.raises(Killed):
            fit_tokenizer(tmp_path / "killed", chunks, 4)
    found, _ = fit_tokenizer(tmp_path / "killed", chunks, 4)
    assert_same(nnx.state(found), nnx.state(expected))


def test_majorities():
    values = np.array([[[0, 1]], [[0, 2]], [[0, 1]], [[3, 1]]])
    assert quality.majority(values) == 0.75
    assert quality.mean_majority(values) == 0.75
    assert quality.mean_majority(np.array([[0, 1], [0, 2]])) == 0.75
    assert quality.majority(np.array([[0, 1], [0, 2]])) == 1.0


# --- checkpoints --------------------------------------------------------------------------------------------


def small_policy(name="blocks", seed=0):
    return TokenPolicy(obs_dim=5, tokens=SMALL, config=MODELS[name], rngs=nnx.Rngs(seed))


def test_checkpoints_come_back(tmp_path):
    policy, tokenizer = small_policy(), Tokenizer(SMALL, nnx.Rngs(1))
    checkpoints.save(tmp_path / "policy", policy, {"entries": [1, 2]})
    checkpoints.save(tmp_path / "tokenizer", tokenizer, {})
    loaded = checkpoints.load_policy(tmp_path / "policy")
    assert (loaded.config, loaded.tokens, loaded.obs_dim) == (policy.config, policy.tokens, 5)
    assert_same(nnx.state(loaded), nnx.state(policy))
    assert_same(nnx.state(checkpoints.load_tokenizer(tmp_path / "tokenizer")), nnx.state(tokenizer))
    assert checkpoints.facts(tmp_path / "policy") == {"entries": [1, 2]}
    assert checkpoints.exists(tmp_path / "policy")
    assert not checkpoints.exists(tmp_path / "other")


def test_bad_checkpoints_are_refused(tmp_path):
    checkpoints.save(tmp_path / "policy", small_policy(), {})
    with pytest.raises(FileNotFoundError, match=r"no checkpoint .*; there are .*policy"):
        checkpoints.load_policy(tmp_path / "polciy")
    with pytest.raises(ValueError, match="does not describe a tokenizer"):
        checkpoints.load_tokenizer(tmp_path / "policy")
    file = tmp_path / "policy.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"0000")
    with pytest.raises(ValueError, match="is damaged"):
        checkpoints.load_policy(tmp_path / "policy")


# --- timed engine -------------------------------------------------------------------------------------------


def small_agent(draft=True):
    tokenizer = Tokenizer(SMALL, nnx.Rngs(0))
    bound = jnp.ones(6, bool)
    return TokenAgent(tokenizer, small_policy(), bound, small_policy("draft", 3) if draft else None)


@pytest.mark.parametrize(("max_passes", "split"), [(10, False), (10, True), (1, False), (1, True)])
def test_the_timed_engine_decodes_as_the_compiled_one(max_passes, split):
    agent = small_agent()
    timed_engine = Engine(agent, Exact(), max_passes=max_passes, split=split)
    obs = np.random.default_rng(0).standard_normal((6, 5)).astype(np.float32)
    for number in range(6):
        chunk = timed_engine(obs[number], jnp.ones((4, 6)), prefix=1)
        query = Query(jnp.asarray(obs[number : number + 1]), jnp.ones((1, 4, 6)), jnp.ones(1, jnp.int32))
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


# --- in the executor ----------------------------------------------------------------------------------------


def run_tokens(method, profile=None, horizon=1, agent=None):
    controller = make_controller(
        method,
        delays.make_process(profile or DelayProfileConfig()),
        EstimatorConfig().make(),
        ExecutionConfig(execute_horizon=horizon),
    )
    env = ReachEnv(jnp.float32(50.0))
    return execution.rollout(env, agent or small_agent(), controller, seed=0, episodes=np.arange(6), num_steps=1)


def test_a_query_is_delayed_by_its_own_passes():
    records = run_tokens(decode(Exact(), pass_ticks=1.0, draft_ticks=0.25))
    launched = records.delay != NEVER
    passes = records.flow_steps[launched]
    assert set(np.unique(passes)) == {1, 2, 3}
    # A round drafts what is not final yet: two blocks at first, then one, then none.
    least, most = passes + np.ceil(0.5), passes + np.ceil(0.75)
    assert (records.delay[launched] >= least).all()
    assert (records.delay[launched] <= most).all()
    np.testing.assert_array_equal(records.interval[launched], np.maximum(1, records.delay[launched]))
    exact = run_tokens(decode(Exact(), pass_ticks=1.0))
    asked = exact.delay != NEVER
    np.testing.assert_array_equal(exact.delay[asked], exact.flow_steps[asked])


def test_without_a_time_of_its_own_the_profile_says_the_delay():
    records = run_tokens(decode(Exact()), DelayProfileConfig(fixed_delay=2))
    assert set(np.unique(records.delay[records.delay != NEVER])) == {2}
    assert set(np.unique(records.flow_steps[records.delay != NEVER])) == {1, 2, 3}


def test_the_rest_of_a_query_takes_time_too():
    records = run_tokens(decode(Exact(), pass_ticks=1.0, overhead_ticks=2.5))
    launched = records.delay != NEVER
    np.testing.assert_array_equal(records.delay[launched], np.ceil(records.flow_steps[launched] + 2.5))


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
    assert set(np.unique(records.flow_steps[launched])) == {1, 2}
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
    told = decode(Greedy()).answer(agent, query, drawn, 1).chunk
    # Prefixes of more than one tick were not seen in training.
    for row, prefix in enumerate([0, 1, 1]):
        np.testing.assert_array_equal(told[row, :prefix], query.leftover[row, :prefix])
        assert (told[row, prefix] != query.leftover[row, prefix]).any()
    untold = decode(Greedy(), conditioned=False).answer(agent, query, drawn, 1).chunk
    np.testing.assert_array_equal(untold[0], told[0])
    np.testing.assert_array_equal(untold[1], untold[0])


# --- the experiment -----------------------------------------------------------------------------------------

SMALL_ARMS = {
    "blocks": Arm("blocks", "plain"),
    "blocks_greedy": Arm("blocks", "plain, greedy", rule="greedy"),
    "exact": Arm("blocks", "speculative", speculative=True),
    "greedy": Arm("blocks", "speculative, greedy", speculative=True, rule="greedy"),
    "index_2": Arm("blocks", "lossy", speculative=True, rule="index", tolerance=2),
    "draft": Arm("draft", "the draft"),
}


def save_policy(root, name, seed=0, entries=range(5)):
    facts = {
        "entries": list(entries),
        "tokenizer_sha256": checkpoints.sha256(arms.tokenizer_path(root)),
        "training": {"num_epochs": 2, "learning_rate": 1e-3},
    }
    checkpoints.save(arms.policy_path(root, name, "reach"), small_policy(name, seed), facts)


@pytest.fixture
def small_world(two_bound, monkeypatch, tmp_path):
    """Policies of random weights for a level in which nothing is simulated but a point on a line."""
    env = ReachEnv(jnp.float32(0.9))
    monkeypatch.setattr(arms, "observed", lambda level: (two_bound, env))
    monkeypatch.setattr(levels, "varying_observation_entries", lambda level: np.arange(5))
    checkpoints.save(arms.tokenizer_path(tmp_path), Tokenizer(SMALL, nnx.Rngs(0)), {})
    for name in MODELS:
        save_policy(tmp_path, name)
    return tmp_path


def test_cells_are_computed_once_and_again_when_something_changes(small_world, tmp_path, capsys):
    runs = experiment.Runs(tokens=small_world)
    condition = Condition("own", "exact", SMALL_ARMS["exact"], pass_ticks=1.0)
    cell = experiment.run(tmp_path / "cells", condition, "reach", runs, 5)
    assert len(cell.episodes) == 5
    assert sum(cell.result[name] for name in cell.result if name.startswith("passes_")) == pytest.approx(1)
    assert capsys.readouterr().out.count("solved") == 1
    experiment.run(tmp_path / "cells", condition, "reach", runs, 5)
    assert capsys.readouterr().out == ""
    save_policy(small_world, "draft", seed=9)
    experiment.run(tmp_path / "cells", condition, "reach", runs, 5)
    assert capsys.readouterr().out.count("solved") == 1


def test_shuffled_delays_have_the_law_of_the_cell(small_world, tmp_path):
    condition = Condition("own", "exact", SMALL_ARMS["exact"], pass_ticks=1.0)
    cell = experiment.run(tmp_path / "cells", condition, "reach", experiment.Runs(tokens=small_world), 5)
    law = dict(zip(experiment.shuffled(cell).base_delays, experiment.shuffled(cell).base_probs, strict=True))
    total = sum(cell.delay_counts.values())
    assert law == pytest.approx({delay: count / total for delay, count in cell.delay_counts.items()})


def test_a_policy_of_other_observations_is_refused(small_world):
    save_policy(small_world, "blocks", entries=[0, 1, 2, 3, 5])
    with pytest.raises(ValueError, match="other entries"):
        arms.load_agent(small_world, SMALL_ARMS["blocks"], "reach")


def test_a_policy_of_another_tokenizer_is_refused(small_world):
    checkpoints.save(arms.tokenizer_path(small_world), Tokenizer(SMALL, nnx.Rngs(7)), {})
    with pytest.raises(ValueError, match="another tokenizer"):
        arms.load_agent(small_world, SMALL_ARMS["blocks"], "reach")


def test_without_delay_nothing_is_committed(small_world, tmp_path, monkeypatch):
    prefixes = []
    real = TokenPolicy.context

    def context(self, obs, committed, prefix):
        jax.debug.callback(lambda prefix: prefixes.append(np.asarray(prefix)), prefix)
        return real(self, obs, committed, prefix)

    monkeypatch.setattr(TokenPolicy, "context", context)
    monkeypatch.setattr(program, "MODELS", MODELS)
    jax.clear_caches()
    protocol = program.Protocol(("reach",), 4, 2, runs=experiment.Runs(tokens=small_world), root=tmp_path / "rsd")
    protocol.depth()
    jax.effects_barrier()
    jax.clear_caches()
    assert len(prefixes) > 10
    assert (np.concatenate(prefixes) == 0).all()


class RightDecoder:
    """In the place of the flow policy's decoder: it pushes to the right."""

    def __init__(self, run_path, level):
        self.total_ms = []

    def __call__(self, obs):
        self.total_ms.append(1.0)
        return np.full((4, 6), 0.5, np.float32)


def test_benchmark_runs_whole_chunks_until_every_arm_has_its_queries(small_world, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "WIDE", MODELS["layers"])
    monkeypatch.setattr(bench, "FlowDecoder", RightDecoder)
    monkeypatch.setattr(arms, "ARMS", SMALL_ARMS)
    measured = bench.measure(small_world, "flow", "reach", 4, 3)
    bench_report.write(measured, results.require_writable(tmp_path / "bench"), time.time())
    assert all(len(bench.times(decoder)) >= 4 for decoder in measured.decoders.values())
    assert list(measured.split) == ["exact", "greedy", "index_2"]
    table = bench_report.main_table(measured.decoders, measured.episodes).set_index("arm")
    assert table.loc["flow", "solved (%)"].startswith("100.0")
    deviations = bench_report.deviation_table(measured.split).set_index("arm")
    assert (deviations["largest"] == "0.0000").to_dict() == {"greedy": True, "index_2": False}
    facts = json.loads((tmp_path / "bench" / "bench.json").read_text())
    assert {"pass_ms", "draft_ms", "overhead_ms", "flow_ms", "git_commit"} <= set(facts)
    assert facts["stats"]["blocks"]["passes"].keys() == {"3"}
    page = (tmp_path / "bench" / "summary.md").read_text()
    assert re.search(r"\| exact .* 3 - 2·0\.\d+ = ", page)
    assert measured.passes["draft"]["positions"].tolist() == [0, 1, 2]


def test_the_line_through_whole_queries(small_world, monkeypatch):
    """With queries that take 2 ms and 0.5 ms a block, and 0.1 ms for the draft's."""

    class Clocked:
        def __init__(self, agent, rule):
            blocks = agent.main.config.blocks
            self.log = types.SimpleNamespace(total_ms=[])
            self.ms = 2 + (0.5 if agent.main.config.dim == 8 else 0.1) * len(blocks)

        def __call__(self, obs):
            self.log.total_ms.append(self.ms)

    monkeypatch.setattr(bench, "Engine", Clocked)
    costs = bench.query_costs(small_world, "reach", 3)
    assert (costs["pass_ms"], costs["draft_ms"], costs["overhead_ms"]) == pytest.approx((0.5, 0.1, 2))
    assert costs["medians"]["layers, 4 passes"] == 4


def test_the_page_of_the_experiment(small_world, tmp_path, monkeypatch):
    training_facts = {"training": {"num_epochs": 16, "learning_rate": 3e-4}}
    flow_subject = types.SimpleNamespace(checkpoint_sha256="0", training=training_facts)
    monkeypatch.setattr(program, "ARMS", SMALL_ARMS)
    monkeypatch.setattr(program, "MODELS", MODELS)
    monkeypatch.setattr(program, "IN_CLOSED_LOOP", ("blocks", "exact"))
    monkeypatch.setattr(program, "OPEN", (("exact", "blocks"), ("greedy", "blocks_greedy"), ("draft", "exact")))
    monkeypatch.setattr(program, "CLOSED", (("exact", "exact_shuffled"), ("flow_prefix", "flow")))
    monkeypatch.setattr(experiment.experiment, "load_subject", lambda run, level: flow_subject)

    def flow(condition, level, runs, num_evals, seed):
        stand_in = dataclasses.replace(condition, arm=SMALL_ARMS["blocks"])
        return experiment._tokens(stand_in, level, runs, num_evals, seed)

    monkeypatch.setattr(experiment, "_flow", flow)
    protocol = program.Protocol(("reach",), 4, 2, runs=experiment.Runs(tokens=small_world), root=tmp_path / "rsd")
    program.run(protocol, {"pass_ms": 1.0, "draft_ms": 0.5, "flow_ms": 1.2, "overhead_ms": 0.8, "git_commit": "abc"})
    page = (tmp_path / "rsd" / "summary.md").read_text()
    assert "How many layers matter" in page
    assert "| layers_4 " in page
    assert page.count("exact - exact_shuffled") == 2
    # A tick is a quarter of 0.8 + 4 ms: 1.2 ms.
    assert (
        "a pass of the main model takes 0.8, one of the draft 0.4, the rest of a query 0.7; a query of the flow" in page
    )
    assert (tmp_path / "rsd" / "figures" / "layers.png").exists()
    assert (tmp_path / "rsd" / "index.html").exists()
    closed = tmp_path / "rsd" / "reach" / "measured"
    assert {path.name for path in closed.iterdir()} >= {"flow", "blocks", "exact_prefix", "exact_shuffled"}
    own, shuffled = (results.read_cell(closed / name / "seed_0").delay_counts for name in ("exact", "exact_shuffled"))
    assert set(shuffled) <= set(own)


def test_the_training_script_makes_everything_once(two_bound, tmp_path, monkeypatch):
    monkeypatch.setattr(arms, "MODELS", MODELS)
    monkeypatch.setattr(train_rsd, "TokenizerConfig", lambda: SMALL)
    monkeypatch.setattr(data, "load", lambda run_path, names: {name: demonstrations_of() for name in names})
    monkeypatch.setattr(train_rsd.cloning, "data_facts", lambda path, demos: {})
    args = train_rsd.Arguments(("reach",), ("reach", "other"), tmp_path, tmp_path / "run", TINY, TINY)
    train_rsd.train(args)
    text = (tmp_path / "run" / "README.md").read_text()
    assert "| commonest token | accuracy" in text
    assert re.search(r"\| +4 \|", text)
    weights = {path: path.read_bytes() for path in (tmp_path / "run").glob("*/policies/*.safetensors")}
    assert len(weights) == 1 + len(MODELS)
    train_rsd.train(args)
    assert weights == {path: path.read_bytes() for path in (tmp_path / "run").glob("*/policies/*.safetensors")}
    with pytest.raises(ValueError, match="another run"):
        train_rsd.train(dataclasses.replace(args, policy=FitConfig(num_epochs=3)))
    header = json.loads(arms.policy_path(tmp_path / "run", "blocks", "reach").with_suffix(".json").read_text())
    assert header["facts"]["entries"] == [0, 1, 2, 3, 4]
    assert {"git_commit", "command", "accuracy_0"} <= set(header["facts"])
