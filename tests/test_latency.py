"""Latency of single queries: what is timed, and traces that delay profiles can read."""

import json
from pathlib import Path

import numpy as np
import pytest
from flax import nnx

from model import FlowPolicy
from rtc.bench import latency
from rtc.bench.latency import Latency
from rtc.delay import profiles, sampling
from rtc.delay.profiles import DelayProfileConfig
from rtc.policies import checkpoints
from rtc.programs import measure_latency
from stubs import TINY


def test_methods_take_turns_and_the_warm_up_does_not_count():
    asked = []
    ask = {name: lambda index, name=name: asked.append((name, index)) or np.zeros(1) for name in "ab"}
    found = latency.measure(ask, queries=5, warm_up=2, block=3)
    turns = [("a", 0), ("b", 0)]
    for block in (range(3), range(3, 5)):
        turns += [(name, index) for name in "ab" for index in (*range(2), *block)]
    assert asked == turns
    for one in found.values():
        assert one.warm_ms.shape == (5,)
        assert (one.warm_ms > 0).all()
        assert one.cold_ms > 0


def test_percentiles_are_times_that_occurred():
    row = Latency(50.0, np.array([4.0, 1.0, 2.0, 3.0])).row()
    assert row == {"queries": 4, "min": 1.0, "p50": 2.0, "p95": 4.0, "p99": 4.0, "max": 4.0, "cold start": 50.0}


def test_measured_traces_drive_delay_profiles(tmp_path):
    for run, size in (("run", TINY), ("prefix", measure_latency.dataclasses.replace(TINY, simulated_delay=2))):
        policy = FlowPolicy(obs_dim=679, action_dim=6, config=size, rngs=nnx.Rngs(0))
        checkpoints.save_policy(tmp_path / run / "1/policies/worlds_l_grasp_easy", policy, {})
    places = {"run_path": str(tmp_path / "run"), "prefix_run_path": str(tmp_path / "prefix")}
    root = tmp_path / "latency"
    methods = ("naive", "trained_prefix")
    args = measure_latency.Arguments(**places, methods=methods, queries=20, warm_up=2, output_root=str(root))
    measure_latency.run(args)
    facts = json.loads((root / "latency.json").read_text())
    assert [row["method"] for row in facts["latency_ms"]] == list(methods)
    assert facts["device_kind"]
    assert "trained_prefix" in (root / "summary.md").read_text()
    path = str(root / "naive.csv")
    measured = profiles.read_trace(path)
    assert measured.shape == (20,)
    assert measured.max() == pytest.approx(facts["latency_ms"][0]["max"], abs=1e-5)
    scaled = DelayProfileConfig(mode="trace", trace_path=path, trace_scale=100 / np.median(measured), dt_ms=20.0)
    ticks = np.asarray(sampling.make_process(scaled).table)[:20]
    np.testing.assert_array_equal(ticks, np.ceil(measured * scaled.trace_scale / 20 - 1e-9))


def test_a_profiler_trace_can_be_recorded(tmp_path):
    latency.profile(lambda index: np.zeros(1), str(tmp_path), queries=2)
    assert list(Path(tmp_path).rglob("*.xplane.pb"))
