"""RSD's benchmark and experiment."""

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

from line_world import ReachEnv
from rtc.bench import tokens, tokens_report
from rtc.control.controller import ExecutionConfig
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.methods import MethodOptions
from rtc.policies.tokens import checkpoints
from rtc.policies.tokens.policy import TokenPolicy
from rtc.policies.tokens.rfsq import Tokenizer
from rtc.programs import rsd as rsd_program
from rtc.shared import files
from rtc.study import cells, plan, runner, subject
from rtc.study import tokens as token_study
from rtc.study.arguments import StudyArguments
from rtc.study.evaluation import EvalConfig
from rtc.study.outcome import Outcome
from rtc.study.protocols import rsd
from rtc.study.study import Arm, Study
from rtc.study.tokens import Decoding
from rtc.worlds.kinetix import levels
from token_world import MODELS, SMALL, small_policy

SMALL_DECODINGS = {
    "blocks": Decoding("blocks"),
    "blocks_greedy": Decoding("blocks", rule="greedy"),
    "exact": Decoding("blocks", speculative=True),
    "greedy": Decoding("blocks", speculative=True, rule="greedy"),
    "index_2": Decoding("blocks", speculative=True, rule="index", tolerance=2),
    "draft": Decoding("draft"),
}


def save_policy(root, name, seed=0, entries=range(5)):
    facts = {
        "entries": list(entries),
        "tokenizer_sha256": checkpoints.sha256(token_study.tokenizer_path(root)),
        "training": {"num_epochs": 2, "learning_rate": 1e-3},
    }
    checkpoints.save(token_study.policy_path(root, name, "reach"), small_policy(name, seed), facts)


@pytest.fixture
def small_world(two_bound, monkeypatch, tmp_path):
    """Policies of random weights for a level in which nothing is simulated but a point on a line."""
    env = ReachEnv(jnp.float32(0.9))
    monkeypatch.setattr(token_study, "observed", lambda level, *_: (two_bound, env))
    monkeypatch.setattr(levels, "varying_observation_entries", lambda level: np.arange(5))
    checkpoints.save(token_study.tokenizer_path(tmp_path), Tokenizer(SMALL, nnx.Rngs(0)), {})
    for name in MODELS:
        save_policy(tmp_path, name)
    return tmp_path


def small_study(root, **arms):
    """A study of the small world, and how it runs."""
    made = [
        Arm("own", label, EvalConfig(), run_path=str(root), **({"decoding": arm} if isinstance(arm, Decoding) else arm))
        for label, arm in arms.items()
    ]
    texts = dict.fromkeys(("title", "title_zh", "question", "question_zh"), "")
    study = Study(name="small", arms=tuple(made), levels=("reach",), num_evals=5, **texts)
    return study, StudyArguments(output_root=str(root / "study")).of(study)


def test_cells_are_computed_once_and_again_when_something_changes(small_world, capsys):
    study, args = small_study(small_world, exact=dataclasses.replace(SMALL_DECODINGS["exact"], pass_ticks=1.0))
    runner.run(study, args)
    (cell,) = Outcome.read(study, args).group(("own", "exact"))
    assert len(cell.episodes) == 5
    assert sum(cell.result[name] for name in cell.result if name.startswith("passes_")) == pytest.approx(1)
    assert cell.inputs["config"]["decoding"] == {"main": "blocks", "speculative": True, "pass_ticks": 1.0}
    assert capsys.readouterr().out.count("solved") == 1
    runner.run(study, args)
    assert capsys.readouterr().out == "0 of 1 cells to compute\n"
    save_policy(small_world, "draft", seed=9)
    with pytest.raises(runner.ConflictError, match="checkpoint_sha256"):
        runner.run(study, args)
    runner.run(study, dataclasses.replace(args, overwrite=True))
    assert capsys.readouterr().out.count("solved") == 1


def test_shuffled_delays_have_the_law_of_the_cell(small_world):
    own = dataclasses.replace(SMALL_DECODINGS["exact"], pass_ticks=1.0)
    shuffled = {"decoding": SMALL_DECODINGS["exact"], "delays_of": ("own", "exact")}
    study, args = small_study(small_world, exact=own, shuffled=shuffled)
    with pytest.raises(cells.CellError, match="not computed yet"):
        plan.planned(study, args, study.arms[1], "reach", 0)
    runner.run(study, args)
    source = Outcome.read(study, args).group(("own", "exact"))[0]
    profile = plan.planned(study, args, study.arms[1], "reach", 0).config.delay_profile
    law = dict(zip(profile.base_delays, profile.base_probs, strict=True))
    total = sum(source.delay_counts.values())
    assert law == pytest.approx({delay: count / total for delay, count in source.delay_counts.items()})


def test_every_copy_of_a_hedged_query_costs_its_passes(small_world):
    once, twice = (
        token_study.load(str(small_world), SMALL_DECODINGS["blocks"], "reach").evaluate(
            EvalConfig(num_evals=3, delay_profile=DelayProfileConfig(fixed_delay=1, hedge=hedge)), 0
        )
        for hedge in (1, 2)
    )
    start = 3  # passes of the chunk before the first query
    costs = [found.summary.episodes["flow_evals"].to_numpy() - start for found in (once, twice)]
    assert (costs[1] == 2 * costs[0]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"draft_ticks": 1.0}, "have no effect without pass_ticks"),
        ({"tolerance": 1.0}, "tolerance=1.0 is unused"),
        ({"tolerance": 0.5, "rule": "index"}, "needs a whole one"),
        ({"rule": "exakt"}, "did you mean 'exact'"),
        ({"max_passes": 0}, "max_passes=0"),
    ],
)
def test_faulty_decodings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Decoding("blocks", **change)


def test_delays_that_would_have_no_effect_are_refused(small_world):
    policy = token_study.load(str(small_world), Decoding("blocks", pass_ticks=1.0), "reach")
    with pytest.raises(ValueError, match="delay_profile has no effect"):
        policy.check(EvalConfig(delay_profile=DelayProfileConfig(fixed_delay=1)))
    with pytest.raises(ValueError, match=r"estimator\.kind='oracle'"):
        policy.check(EvalConfig(estimator=EstimatorConfig("oracle")))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"method": "realtime"}, "method"),
        ({"method_options": MethodOptions(noise_scale=0.5)}, "method_options"),
        ({"num_flow_steps": 10}, "num_flow_steps"),
        ({"delay_profile": DelayProfileConfig(fixed_delay=4, anytime=2)}, "anytime"),
        ({"execution": ExecutionConfig(correction_delay=1)}, "correction_delay"),
    ],
)
def test_settings_of_flow_policies_are_refused(small_world, given, name):
    policy = token_study.load(str(small_world), Decoding("blocks"), "reach")
    policy.check(EvalConfig(delay_profile=DelayProfileConfig(fixed_delay=4)))
    with pytest.raises(ValueError, match=rf"{name}\S* has no effect"):
        policy.check(EvalConfig(**given))


def test_a_policy_of_other_observations_is_refused(small_world):
    save_policy(small_world, "blocks", entries=[0, 1, 2, 3, 5])
    with pytest.raises(ValueError, match="other entries"):
        token_study.load_agent(small_world, ("blocks",), "reach")


def test_a_policy_of_another_tokenizer_is_refused(small_world):
    checkpoints.save(token_study.tokenizer_path(small_world), Tokenizer(SMALL, nnx.Rngs(7)), {})
    with pytest.raises(ValueError, match="another tokenizer"):
        token_study.load_agent(small_world, ("blocks",), "reach")


def test_without_delay_nothing_is_committed(small_world, tmp_path, monkeypatch):
    prefixes = []
    real = TokenPolicy.context

    def context(self, obs, committed, prefix):
        jax.debug.callback(lambda prefix: prefixes.append(np.asarray(prefix)), prefix)
        return real(self, obs, committed, prefix)

    monkeypatch.setattr(TokenPolicy, "context", context)
    jax.clear_caches()
    protocol = rsd.Protocol(("reach",), 4, 2, runs=rsd.Runs(tokens=small_world))
    study, args = small_study(small_world, blocks={})
    study = dataclasses.replace(study, arms=tuple(protocol.without_delay()[3:4]))
    runner.run(study, args)
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
    monkeypatch.setattr(tokens, "WIDE", MODELS["layers"])
    monkeypatch.setattr(tokens, "FlowDecoder", RightDecoder)
    monkeypatch.setattr(rsd, "DECODINGS", SMALL_DECODINGS)
    measured = tokens.measure(small_world, "flow", "reach", 4, 3)
    tokens_report.write(measured, files.require_writable(tmp_path / "bench"), time.time())
    assert all(len(tokens.times(decoder)) >= 4 for decoder in measured.decoders.values())
    assert list(measured.split) == ["exact", "greedy", "index_2"]
    table = tokens_report.main_table(measured.decoders, measured.episodes).set_index("arm")
    assert table.loc["flow", "solved (%)"].startswith("100.0")
    deviations = tokens_report.deviation_table(measured.split).set_index("arm")
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

    monkeypatch.setattr(tokens, "Engine", Clocked)
    costs = tokens.query_costs(small_world, "reach", 3)
    assert (costs["pass_ms"], costs["draft_ms"], costs["overhead_ms"]) == pytest.approx((0.5, 0.1, 2))
    assert costs["medians"]["layers, 4 passes"] == 4


TIMES = {"pass_ms": 1.0, "draft_ms": 0.5, "flow_ms": 1.2, "overhead_ms": 0.8, "git_commit": "abc"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "Expecting value"),
        ("{}", "it lacks 'pass_ms'"),
        ("[]", "list indices"),
        (json.dumps(TIMES | {"pass_ms": 0}), "pass_ms=0 must be positive"),
        (json.dumps(TIMES | {"flow_ms": "1"}), "flow_ms='1' must be a finite number"),
        (json.dumps(TIMES | {"git_commit": None}), "git_commit=None is no text"),
    ],
)
def test_times_that_are_none_are_refused(tmp_path, content, reason):
    bench = tmp_path / "bench.json"
    bench.write_text(content)
    with pytest.raises(ValueError, match=rf"bench='.*' is no bench.json of `python exp/bench_rsd.py` \({reason}"):
        rsd_program.run(rsd_program.Arguments(bench=bench))


def test_the_page_of_the_experiment(small_world, tmp_path, monkeypatch):
    training = {"training": {"num_epochs": 16, "learning_rate": 3e-4}}
    chosen = {name: SMALL_DECODINGS[name] for name in ("blocks", "exact")}
    monkeypatch.setattr(rsd, "DECODINGS", chosen)
    monkeypatch.setattr(rsd, "MODELS", MODELS)
    monkeypatch.setattr(rsd, "IN_CLOSED_LOOP", ("blocks", "exact"))
    monkeypatch.setattr(rsd, "OPEN", (("exact", "blocks"),))
    monkeypatch.setattr(rsd, "CLOSED", (("exact", "exact_shuffled"), ("flow_prefix", "flow")))
    monkeypatch.setattr(subject, "load", lambda run, level: types.SimpleNamespace(training=training))
    load = token_study.load
    # A token policy stands in for the flow policies, with their settings.
    monkeypatch.setattr(token_study, "_FLOW_ONLY", ())
    monkeypatch.setattr(plan, "_flow", lambda *_: load(str(small_world), SMALL_DECODINGS["blocks"], "reach"))
    protocol = rsd.Protocol(("reach",), 4, 2, runs=rsd.Runs(tokens=small_world), root=tmp_path / "rsd")
    bench = tmp_path / "bench.json"
    bench.write_text(json.dumps(TIMES))
    rsd_program.run(rsd_program.Arguments(protocol, bench))
    page = (tmp_path / "rsd" / "summary.md").read_text()
    assert "How many layers matter" in page
    assert "| layers_4 " in page
    assert page.count("exact - exact_shuffled") == 2
    # A tick is a quarter of 0.8 + 4 ms: 1.2 ms.
    assert "a pass of the main model takes 0.83, one of the draft 0.42, the rest of a query 0.68; a query of" in page
    assert (tmp_path / "rsd" / "figures" / "layers.png").exists()
    assert (tmp_path / "rsd" / "index.html").exists()
    closed = tmp_path / "rsd" / "cells" / "reach" / "measured"
    assert {path.name for path in closed.iterdir()} >= {"flow", "blocks", "exact_prefix", "exact_shuffled"}
    # Autoregression over three blocks: 0.68 + 3 · 0.83 ticks.
    assert set(cells.read_cell(closed / "blocks" / "seed_0").delay_counts) == {4}
    own, shuffled = (cells.read_cell(closed / name / "seed_0").delay_counts for name in ("exact", "exact_shuffled"))
    assert set(shuffled) <= set(own)
