"""Configurations and studies written as TOML files."""

import dataclasses
from pathlib import Path
from typing import Literal

import pytest
import tyro

import eval_flow
from rtc.delay import profiles
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.shared import commands, toml
from rtc.study import files
from rtc.study.evaluation import EvalConfig

EVALUATION = """\
method = "realtime"
num_evals = 64
[delay_profile]
mode = "markov"
d_spike = 6
base_delays = [0, 1]
base_probs = [0.5, 0.5]
p_burst_start = 0.1
p_burst_end = 1
deadline = 3
[method_options]
max_guidance_weight = 2
[estimator]
kind = "ewma"
[execution]
horizon = "adaptive"
"""
STUDY = """\
name = "hedging"
title = "Does hedging help?"
levels = ["grasp_easy", "catapult"]
[profiles.long_tail]
[profiles.hedged]
base = "long_tail"
hedge = 2
[profiles.slow]
mode = "lognormal"
median_ms = 80
[methods.realtime]
[methods.soft]
method = "realtime"
run_path = "logs-bc/other"
method_options = { max_guidance_weight = 2.0 }
estimator = { kind = "quantile", q = 0.9 }
[[comparisons]]
candidate = ["hedged", "soft"]
reference = ["long_tail", "realtime"]
"""


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "file.toml"
        path.write_text(text)
        return path

    return write


def test_a_file_fills_nested_configurations(written):
    config = toml.fill(EvalConfig(), toml.read(written(EVALUATION)), "file")
    assert (config.method, config.num_evals, config.num_flow_steps) == ("realtime", 64, 5)
    assert config.delay_profile == DelayProfileConfig(
        mode="markov",
        d_spike=6,
        base_delays=(0, 1),
        base_probs=(0.5, 0.5),
        p_burst_start=0.1,
        p_burst_end=1.0,
        deadline=3,
    )
    assert config.method_options.max_guidance_weight == 2.0
    assert (config.estimator.kind, config.execution.horizon) == ("ewma", "adaptive")


def test_flags_win_over_the_file(written):
    argv = ["--run-path", "logs-bc/x", "--config-file", str(written(EVALUATION)), "--config.num-evals", "8"]
    args = tyro.cli(eval_flow.Arguments, default=commands.from_file(eval_flow.Arguments, argv), args=argv)
    assert (args.run_path, args.config.num_evals, args.config.method) == ("logs-bc/x", 8, "realtime")
    plain = tyro.cli(eval_flow.Arguments, default=commands.from_file(eval_flow.Arguments, argv[:2]), args=argv[:2])
    assert plain.config == EvalConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('methd = "naive"', "file: field='methd' is unknown; did you mean 'method'"),
        ("num_evals = 1.5", "file: num_evals=1.5 has the type float"),
        ("num_evals = 0", "file: num_evals=0 must be"),
        ("num_evals = true", "num_evals=True has the type bool; it must be an integer"),
        ("[delay_profile]\np_spike = 0.2\nd_spike = 4", "delay_profile: p_spike=0.2 has no effect .* 'mixture'"),
        ('[delay_profile]\ntrace_path = "my.csv"', "trace_path='my.csv' has no effect .* set mode to 'trace'"),
        ("[estimator]\nq = 0.9", "estimator.q=0.9 has no effect .* set estimator.kind to 'quantile'"),
        ("[delay_profile]\nfixed_delay = 9\ndeadline = 2", "no query would ever return"),
        ('[delay_profile]\nbase_delays = [0, "1"]', r"base_delays\[1\]='1' has the type str; it must be an integer"),
        ("[delay_profile]\nbase_delays = 3", "it must be an array, each entry an integer"),
        ("[delay_profile]\nmode = 3", "mode=3 has the type int; it must be one of 'fixed', 'mixture'"),
        ("delay_profile = 3", r"delay_profile=3 must be a table \[delay_profile\]"),
        ('[delay_profile]\nmode = "mixture"\np_spike = 2.0', "file, delay_profile: p_spike=2.0 must be"),
        ("[delay_profile]\nhedge = 2\nhegde = 2", "field='hegde' is unknown; did you mean 'hedge'"),
        ('[delay_profile]\ndeadline = "soon"', "deadline='soon' has the type str"),
        ('[estimator]\nkind = "window"', "did you mean 'window_max'"),
        pytest.param(f"start_noise = 1{'0' * 400}", "start_noise=10* is too large; it must be a number", id="large"),
    ],
)
def test_faulty_files_are_explained(written, text, message):
    with pytest.raises(ValueError, match=message):
        toml.fill(EvalConfig(), toml.read(written(text)), "file")


@pytest.mark.parametrize("text", ["method = ", None, pytest.param(f"num_evals = {'1' * 5000}", id="long")])
def test_unreadable_files_are_explained(written, tmp_path, text):
    path = tmp_path / "none.toml" if text is None else written(text)
    with pytest.raises(ValueError, match="cannot be read as TOML"):
        toml.read(path)


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path):
    path = tmp_path / "file.toml"
    path.write_bytes(b"\xef\xbb\xbfnum_evals = 8\n")
    assert toml.fill(EvalConfig(), toml.read(path), "file").num_evals == 8


@dataclasses.dataclass(frozen=True)
class Wheel:
    radius: float
    spokes: int = 8


@dataclasses.dataclass(frozen=True)
class Cart:
    front: Wheel | None = None
    others: tuple[Wheel, ...] = ()
    size: tuple[int, float] | None = None
    load: int | str | None = None
    log: Path | None = None
    colour: Literal["red", "blue"] | None = None


def test_what_is_none_may_become_anything_that_its_type_allows():
    values = {
        "front": {"radius": 1},
        "others": [{"radius": 0.5, "spokes": 3}],
        "size": [2, 3],
        "load": "hay",
        "log": "a/b",
        "colour": "red",
    }
    assert toml.fill(Cart(), values, "file") == Cart(Wheel(1.0), (Wheel(0.5, 3),), (2, 3.0), "hay", Path("a/b"), "red")
    assert toml.fill(Cart(Wheel(2.0)), {"front": {"spokes": 5}}, "file").front == Wheel(2.0, 5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"front": {"spokes": 3}}, "file, front: radius is missing"),
        ({"front": 3}, "front=3 has the type int; it must be a table"),
        (
            {"others": [{"radius": 1.0, "spoke": 2}]},
            r"file, others\[0\]: field='spoke' is unknown; did you mean 'spokes'",
        ),
        ({"size": [1]}, "size=.* has 1 entries; it must be an array of 2: an integer, a number"),
        ({"load": True}, "load=True has the type bool; it must be an integer or a text"),
        ({"log": 3}, "log=3 has the type int; it must be a path"),
        ({"colour": "rad"}, "colour='rad' is unknown; did you mean 'red'"),
    ],
)
def test_faults_in_nested_fields_are_explained(values, message):
    with pytest.raises(ValueError, match=message):
        toml.fill(Cart(), values, "file")


def test_a_study_file_is_profiles_times_methods(written):
    study = files.read(written(STUDY))
    assert (study.name, study.title, study.levels) == ("hedging", "Does hedging help?", ("grasp_easy", "catapult"))
    assert study.profiles == ["long_tail", "hedged", "slow"]
    assert study.methods == ["realtime", "soft"]
    arms = {one.key: one for one in study.arms}
    assert arms["long_tail", "realtime"].config == EvalConfig(
        method="realtime", delay_profile=profiles.profile("long_tail"), estimator=EstimatorConfig(initial=0)
    )
    soft = arms["hedged", "soft"]
    assert soft.config.delay_profile == dataclasses.replace(profiles.profile("long_tail"), hedge=2)
    assert (soft.config.method, soft.config.estimator.q, soft.run_path) == ("realtime", 0.9, "logs-bc/other")
    assert arms["slow", "soft"].config.delay_profile.median_ms == 80.0
    assert str(study.comparisons[0]) == "soft (hedged) - realtime (long_tail)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("name =", "nam ="), "key='nam' is unknown; did you mean 'name'"),
        (("[profiles.slow]", "[methods.slow]"), "methods.slow: method='slow' is unknown"),
        (('"catapult"]', '"catapul"]'), "did you mean 'catapult'"),
        (('base = "long_tail"', 'base = "longtail"'), "did you mean 'long_tail'"),
        (('method = "realtime"\nrun', 'method = "realtim"\nrun'), "did you mean 'realtime'"),
        (('["hedged", "soft"]', '["hedged", "hard"]'), "there is no arm"),
        (('candidate = ["hedged", "soft"]', ""), "needs candidate and reference"),
        (("hedge = 2", "hedge = 0"), "profiles.hedged: hedge=0"),
    ],
)
def test_faulty_studies_are_explained(written, change, message):
    with pytest.raises(ValueError, match=message):
        files.read(written(STUDY.replace(*change)))


def test_defaults_of_a_study_file_hold_for_all_methods(written):
    text = STUDY.replace(
        "[profiles.long_tail]", "[defaults]\nexecution = { execute_horizon = 2 }\n[profiles.long_tail]"
    )
    arms = files.read(
        written("num_evals = 64\n" + text.replace("[methods.soft]", "[methods.soft]\nexecution.execute_horizon = 4"))
    )
    horizons = {one.method: one.config.execution.execute_horizon for one in arms.arms}
    assert arms.num_evals == 64
    assert horizons == {"realtime": 2, "soft": 4}
    with pytest.raises(ValueError, match="defaults: step is the last one"):
        files.read(written(STUDY + "[defaults]\nstep = 3"))
    with pytest.raises(ValueError, match="num_evals='many' must be an integer"):
        files.read(written('num_evals = "many"\n' + STUDY))


def test_a_study_needs_profiles_and_methods(written):
    with pytest.raises(ValueError, match=r"has no tables \[profiles"):
        files.read(written('name = "x"'))
