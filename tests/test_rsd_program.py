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
from rtc.policies.tokens import checkpoints
from rtc.policies.tokens.policy import TokenPolicy
from rtc.policies.tokens.rfsq import Tokenizer
from rtc.programs import rsd
from rtc.shared import files
from rtc.study import cells
from rtc.study.protocols import rsd_arms, rsd_cells
from rtc.study.protocols.rsd_arms import Arm
from rtc.study.protocols.rsd_cells import Condition
from rtc.worlds.kinetix import levels
from token_world import MODELS, SMALL, small_policy

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
        "tokenizer_sha256": checkpoints.sha256(rsd_arms.tokenizer_path(root)),
        "training": {"num_epochs": 2, "learning_rate": 1e-3},
    }
    checkpoints.save(rsd_arms.policy_path(root, name, "reach"), small_policy(name, seed), facts)


@pytest.fixture
def small_world(two_bound, monkeypatch, tmp_path):
    """Policies of random weights for a level in which nothing is simulated but a point on a line."""
    env = ReachEnv(jnp.float32(0.9))
    monkeypatch.setattr(rsd_arms, "observed", lambda level: (two_bound, env))
    monkeypatch.setattr(levels, "varying_observation_entries", lambda level: np.arange(5))
    checkpoints.save(rsd_arms.tokenizer_path(tmp_path), Tokenizer(SMALL, nnx.Rngs(0)), {})
    for name in MODELS:
        save_policy(tmp_path, name)
    return tmp_path


def test_cells_are_computed_once_and_again_when_something_changes(small_world, tmp_path, capsys):
    runs = rsd_cells.Runs(tokens=small_world)
    condition = Condition("own", "exact", SMALL_ARMS["exact"], pass_ticks=1.0)
    cell = rsd_cells.run(tmp_path / "cells", condition, "reach", runs, 5)
    assert len(cell.episodes) == 5
    assert sum(cell.result[name] for name in cell.result if name.startswith("passes_")) == pytest.approx(1)
    assert capsys.readouterr().out.count("solved") == 1
    rsd_cells.run(tmp_path / "cells", condition, "reach", runs, 5)
    assert capsys.readouterr().out == ""
    save_policy(small_world, "draft", seed=9)
    rsd_cells.run(tmp_path / "cells", condition, "reach", runs, 5)
    assert capsys.readouterr().out.count("solved") == 1


def test_shuffled_delays_have_the_law_of_the_cell(small_world, tmp_path):
    condition = Condition("own", "exact", SMALL_ARMS["exact"], pass_ticks=1.0)
    cell = rsd_cells.run(tmp_path / "cells", condition, "reach", rsd_cells.Runs(tokens=small_world), 5)
    law = dict(zip(rsd_cells.shuffled(cell).base_delays, rsd_cells.shuffled(cell).base_probs, strict=True))
    total = sum(cell.delay_counts.values())
    assert law == pytest.approx({delay: count / total for delay, count in cell.delay_counts.items()})


def test_a_policy_of_other_observations_is_refused(small_world):
    save_policy(small_world, "blocks", entries=[0, 1, 2, 3, 5])
    with pytest.raises(ValueError, match="other entries"):
        rsd_arms.load_agent(small_world, SMALL_ARMS["blocks"], "reach")


def test_a_policy_of_another_tokenizer_is_refused(small_world):
    checkpoints.save(rsd_arms.tokenizer_path(small_world), Tokenizer(SMALL, nnx.Rngs(7)), {})
    with pytest.raises(ValueError, match="another tokenizer"):
        rsd_arms.load_agent(small_world, SMALL_ARMS["blocks"], "reach")


def test_without_delay_nothing_is_committed(small_world, tmp_path, monkeypatch):
    prefixes = []
    real = TokenPolicy.context

    def context(self, obs, committed, prefix):
        jax.debug.callback(lambda prefix: prefixes.append(np.asarray(prefix)), prefix)
        return real(self, obs, committed, prefix)

    monkeypatch.setattr(TokenPolicy, "context", context)
    monkeypatch.setattr(rsd, "MODELS", MODELS)
    jax.clear_caches()
    protocol = rsd.Protocol(("reach",), 4, 2, runs=rsd_cells.Runs(tokens=small_world), root=tmp_path / "rsd")
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
    monkeypatch.setattr(tokens, "WIDE", MODELS["layers"])
    monkeypatch.setattr(tokens, "FlowDecoder", RightDecoder)
    monkeypatch.setattr(rsd_arms, "ARMS", SMALL_ARMS)
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


def test_the_page_of_the_experiment(small_world, tmp_path, monkeypatch):
    training_facts = {"training": {"num_epochs": 16, "learning_rate": 3e-4}}
    flow_subject = types.SimpleNamespace(checkpoint_sha256="0", training=training_facts)
    monkeypatch.setattr(rsd, "ARMS", {name: SMALL_ARMS[name] for name in ("blocks", "exact")})
    monkeypatch.setattr(rsd, "MODELS", MODELS)
    monkeypatch.setattr(rsd, "IN_CLOSED_LOOP", ("blocks", "exact"))
    monkeypatch.setattr(rsd, "OPEN", (("exact", "blocks"),))
    monkeypatch.setattr(rsd, "CLOSED", (("exact", "exact_shuffled"), ("flow_prefix", "flow")))
    monkeypatch.setattr(rsd_cells.experiment, "load_subject", lambda run, level: flow_subject)

    def flow(condition, level, runs, num_evals, seed):
        stand_in = dataclasses.replace(condition, arm=SMALL_ARMS["blocks"])
        return rsd_cells._tokens(stand_in, level, runs, num_evals, seed)

    monkeypatch.setattr(rsd_cells, "_flow", flow)
    protocol = rsd.Protocol(("reach",), 4, 2, runs=rsd_cells.Runs(tokens=small_world), root=tmp_path / "rsd")
    rsd.run(protocol, {"pass_ms": 1.0, "draft_ms": 0.5, "flow_ms": 1.2, "overhead_ms": 0.8, "git_commit": "abc"})
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
