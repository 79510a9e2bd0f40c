"""What a cell depends on: its settings, the contents of its networks and traces, and the code."""

import types

import pytest

from rtc.control.controller import ExecutionConfig
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.methods import MethodOptions
from rtc.policies.mixer import ModelConfig
from rtc.study import cells as results_cells
from rtc.study import identity
from rtc.study.evaluation import EvalConfig, ModelSize
from rtc.study.subject import FlowSubject
from rtc.study.tokens import Decoding
from rtc.worlds.kinetix import levels


def test_settings_at_their_default_are_not_named():
    """So that a new option changes no cell; a default that changes would change what such cells stand for."""
    assert identity.settings(EvalConfig()) == {
        "num_evals": 2048,
        "num_flow_steps": 5,
        "delay": {"mode": "fixed"},
        "method": {"name": "naive"},
        "estimator": {"kind": "window_max"},
        "execution": {"execute_horizon": 1},
    }
    variants = EvalConfig(
        method="hard_masking",
        method_options=MethodOptions(noise_scale=0.5, max_guidance_weight=5.0),
        delay_profile=DelayProfileConfig(mode="mixture", p_spike=0.2, d_spike=7, tail_cap=3),
        estimator=EstimatorConfig("quantile", window=5, initial=1),
    )
    found = identity.settings(variants)
    assert found["delay"] == {"mode": "mixture", "p_spike": 0.2, "d_spike": 7, "tail_cap": 3}
    assert found["method"] == {"name": "hard_masking", "noise_scale": 0.5, "schedule": "zeros"}
    assert found["estimator"] == {"kind": "quantile", "window": 5}
    changed = EvalConfig(physics="stock", execution=ExecutionConfig(fallback="zero"), start_noise=0.5, num_slots=3)
    assert identity.settings(changed).items() >= {"physics": "stock", "start_noise": 0.5}.items()
    assert identity.settings(changed)["execution"] == {"execute_horizon": 1, "fallback": "zero"}
    assert vars(ExecutionConfig()).items() >= {"horizon": "fixed", "fallback": "hold", "action_noise": 0.1}.items()
    assert identity.given(Decoding("blocks")) == {"main": "blocks"}
    plain = {"rule": "exact", "max_passes": 1000, "layers": 1000, "conditioned": True, "speculative": False}
    assert vars(Decoding("blocks")).items() >= plain.items()


def test_a_cell_depends_on_the_contents_of_its_trace_and_of_the_weak_policy(tmp_path):
    trace = tmp_path / "trace.csv"
    weak, policy = (tmp_path / f"{epoch}/policies/worlds_l_grasp_easy.safetensors" for epoch in (2, 8))
    for path in (weak, policy):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"policy")
    trace.write_text("latency_ms\n10\n20\n")
    weak.write_bytes(b"first")
    level = levels.load("grasp_easy")
    subject = FlowSubject(level, "grasp_easy", None, policy, "c", {}, tmp_path)

    def key(method, path=trace):
        delay = DelayProfileConfig(mode="trace", trace_path=str(path))
        return results_cells.fingerprint(subject.inputs(EvalConfig(method=method, delay_profile=delay), 0))

    before = {method: key(method) for method in ("naive", "bid_contrast")}
    weak.write_bytes(b"second")
    assert key("naive") == before["naive"]
    assert key("bid_contrast") != before["bid_contrast"]
    weak.write_bytes(b"first")
    assert key("bid_contrast") == before["bid_contrast"]
    moved = tmp_path / "moved.csv"
    moved.write_bytes(trace.read_bytes())
    assert key("naive", moved) == before["naive"]
    moved.write_text("latency_ms\n10\n30\n")
    assert key("naive", moved) != before["naive"]


def test_how_a_pickle_was_trained_is_part_of_a_cell(tmp_path):
    """The file does not say it: the user does, and methods that complete prefixes depend on it."""
    level = levels.load("grasp_easy")

    def config(suffix, simulated_delay):
        policy = types.SimpleNamespace(config=ModelConfig(simulated_delay=simulated_delay))
        subject = FlowSubject(level, "grasp_easy", policy, tmp_path / f"p{suffix}", "c", {}, tmp_path)
        return subject.inputs(EvalConfig(method="trained_prefix"), 0)["config"]

    assert [config(".pkl", delay)["simulated_delay"] for delay in (2, 3)] == [2, 3]
    assert config(".pkl", None) == config(".safetensors", 2) == config(".safetensors", None)
    with pytest.raises(ValueError, match="was trained with simulated_delay=2"):
        ModelSize(simulated_delay=3).wanted(ModelConfig(simulated_delay=2), trust=True)
    assert ModelSize(simulated_delay=3).wanted(ModelConfig(), trust=False).simulated_delay == 3


def test_the_code_of_one_method_is_no_part_of_another():
    naive, guided = (identity.code(EvalConfig(method=name)) for name in ("naive", "realtime"))
    assert naive != guided
    assert guided == identity.code(EvalConfig(method="realtime", method_options=MethodOptions(max_guidance_weight=2.0)))
