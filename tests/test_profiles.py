"""Delay profiles as users configure them: what is refused, what makes two of them equal, what --help says."""

import dataclasses
import json

import pytest
import tyro

from rtc.delay import DelayProfileConfig, EstimatorConfig, TailControl, laws, profiles
from rtc.delay.estimators import KINDS

TABLE = {"mode": "mixture", "base_delays": (0, 1, 3), "base_probs": (0.7, 0.2, 0.1), "p_spike": 0.05, "d_spike": 9}
MIXTURE = DelayProfileConfig(**TABLE)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mode": "mixtur"}, "mode='mixtur' is unknown; did you mean 'mixture'"),
        ({**TABLE, "base_probs": (0.7, 0.2, 0.2)}, "sum to 1.1: they must sum to 1"),
        ({**TABLE, "base_probs": (1.2, -0.1, -0.1)}, "base_probs entry=1.2 must be"),
        ({**TABLE, "base_probs": (0.5, 0.6, -0.1)}, "base_probs entry=-0.1 must be"),
        ({**TABLE, "base_probs": (float("nan"), 0.5, 0.5)}, "base_probs entry=nan must be"),
        ({**TABLE, "base_probs": (0.5, 0.5)}, "base_probs has 2 entries and base_delays 3"),
        ({**TABLE, "base_delays": (), "base_probs": ()}, "base_delays=.* is empty"),
        ({**TABLE, "base_delays": (0, -1, 2)}, "base_delays entry=-1"),
        ({**TABLE, "base_delays": (0, 1.5, 2)}, "base_delays entry=1.5"),
        ({**TABLE, "base_delays": (0, True, 2)}, "base_delays entry=True"),
        ({**TABLE, "p_spike": 1.5}, "p_spike=1.5"),
        ({**TABLE, "d_spike": -4}, "d_spike=-4"),
        ({"fixed_delay": -1}, "fixed_delay=-1"),
        ({"fixed_delay": 2**32}, "fixed_delay=4294967296"),
        ({"tail_cap": -2}, "tail_cap=-2"),
        ({"tail_cap": 2**40}, "tail_cap=1099511627776"),
        ({"mode": "pareto", "dt_ms": 0.0}, "dt_ms=0.0 must be positive"),
        ({"mode": "lognormal", "dt_ms": float("inf")}, "dt_ms=inf must be positive"),
        ({"mode": "trace", "trace_path": "t.csv", "dt_ms": float("nan")}, "dt_ms=nan must be positive"),
        ({"mode": "trace", "trace_path": "t.csv", "trace_order": "resampel"}, "did you mean 'resample'"),
        ({"mode": "trace", "trace_path": "t.csv", "trace_scale": 0.0}, "trace_scale=0.0 must be positive"),
        ({"mode": "trace"}, "trace_path=None"),
        ({"mode": "markov", "p_burst_start": 0.0, "p_burst_end": 0.0}, "needs one of them above 0"),
        ({"mode": "markov", "p_burst_start": 2.0}, "p_burst_start=2.0"),
        ({"mode": "regime"}, "p_burst_first=0.0 and p_burst_start=0.0: no query would ever be in a burst"),
        ({"mode": "regime", "p_burst_first": 1.5}, "p_burst_first=1.5"),
        ({"mode": "regime", "p_burst_first": 1.0, "p_burst_end": 0.0}, "needs one of them above 0"),
        ({"mode": "drift", "d_low": 3, "d_high": 3}, "d_high=3 must be above d_low=3"),
        ({"mode": "drift", "d_low": -1}, "d_low=-1"),
        ({"mode": "drift", "d_high": 256}, "d_high=256"),
        ({"mode": "drift", "drift_queries": 0}, "drift_queries=0"),
        ({"mode": "lognormal", "sigma": -1.0}, "sigma=-1.0"),
        ({"mode": "lognormal", "median_ms": 0.0}, "median_ms=0.0 must be positive"),
        ({"mode": "pareto", "scale_ms": -1.0}, "scale_ms=-1.0 must be positive"),
        ({"mode": "pareto", "alpha": 0.0}, "alpha=0.0 must be positive"),
        ({**TABLE, "drop_spike_prob": 1.5}, "drop_spike_prob=1.5"),
        ({"hedge": 0}, "hedge=0"),
        ({"deadline": 0}, "deadline=0"),
        ({"anytime": -1}, "anytime=-1"),
    ],
)
def test_bad_profiles_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        DelayProfileConfig(**given)


# Of every field of a law, a value that is in order.
IN_ORDER = {
    "fixed_delay": 1,
    "p_spike": 0.1,
    "d_spike": 2,
    "base_delays": (1,),
    "base_probs": (1.0,),
    "p_burst_start": 0.1,
    "p_burst_end": 0.5,
    "p_burst_first": 0.2,
    "d_low": 1,
    "d_high": 3,
    "drift_queries": 2,
    "median_ms": 40.0,
    "sigma": 0.3,
    "scale_ms": 20.0,
    "alpha": 2.0,
    "trace_path": "latencies.csv",
    "trace_scale": 2.0,
    "trace_order": "replay",
    "dt_ms": 20.0,
}


@pytest.mark.parametrize("mode", laws.LAWS)
def test_a_field_that_the_mode_ignores_is_an_error_that_names_the_modes_that_read_it(mode):
    law = laws.LAWS[mode]
    own = {field.name: IN_ORDER[field.name] for field in dataclasses.fields(law)}
    assert DelayProfileConfig(mode=mode, **own).law == law(**own)
    for name in IN_ORDER.keys() - own.keys():
        readers = [other for other, it in laws.LAWS.items() if name in {field.name for field in dataclasses.fields(it)}]
        with pytest.raises(ValueError, match=f"{name}=.* has no effect with mode='{mode}'") as refused:
            DelayProfileConfig(mode=mode, **own, **{name: IN_ORDER[name]})
        assert all(f"'{reader}'" in str(refused.value) for reader in readers)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"p_spike": 0.2, "d_spike": 4}, "p_spike=0.2 has no effect with mode='fixed': set mode to 'mixture'"),
        ({"trace_path": "t.csv"}, "trace_path='t.csv' has no effect with mode='fixed': set mode to 'trace'"),
        ({"mode": "pareto", "drop_spike_prob": 0.5}, "only modes mixture, markov, regime have spikes"),
        ({"mode": "mixture", "d_spike": 4}, "d_spike=4 has no effect without spikes: give p_spike"),
        ({"mode": "mixture", "drop_spike_prob": 0.5}, "drop_spike_prob=0.5 has no effect without spikes"),
        ({"mode": "markov", "d_spike": 4, "p_burst_end": 0.5}, "without spikes: give p_burst_start"),
    ],
)
def test_what_would_have_no_effect_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        DelayProfileConfig(**given)


def test_what_is_not_given_makes_no_difference():
    assert DelayProfileConfig() == DelayProfileConfig(mode="fixed", fixed_delay=0, hedge=1, drop_spike_prob=0.0)
    assert DelayProfileConfig(mode="mixture", p_spike=1) == DelayProfileConfig(mode="mixture", p_spike=1.0, d_spike=0)
    assert len({DelayProfileConfig(), DelayProfileConfig(fixed_delay=0), DelayProfileConfig(fixed_delay=1)}) == 2
    assert DelayProfileConfig() != DelayProfileConfig(tail_cap=3)
    longer = dataclasses.replace(profiles.profile("long_tail"), d_spike=6)
    assert (longer.law.d_spike, longer.law.p_spike, longer.law.base_delays) == (6, 0.05, (0, 1))


def test_the_identity_holds_what_is_active():
    assert DelayProfileConfig(hedge=1).identity() == {"mode": "fixed", "fixed_delay": 0}
    assert DelayProfileConfig(tail_cap=2).identity() == {"mode": "fixed", "fixed_delay": 0, "tail_cap": 2}
    spiky = {"base_delays": [0, 1, 3], "base_probs": [0.7, 0.2, 0.1], "p_spike": 0.05, "d_spike": 9}
    assert MIXTURE.identity() == {"mode": "mixture", **spiky}
    assert json.loads(json.dumps(MIXTURE.identity())) == MIXTURE.identity()


def test_flags_of_a_profile_and_their_help(capsys):
    argv = ["--mode", "mixture", "--p-spike", "0.1", "--d-spike", "3", "--tail-cap", "2"]
    argv += ["--base-delays", "0", "1", "--base-probs", "0.5", "0.5"]
    assert tyro.cli(DelayProfileConfig, args=argv) == DelayProfileConfig(
        mode="mixture", p_spike=0.1, d_spike=3, base_delays=(0, 1), base_probs=(0.5, 0.5), tail_cap=2
    )
    with pytest.raises(SystemExit):
        tyro.cli(DelayProfileConfig, args=["--help"])
    assert "None is 30.0." in " ".join(capsys.readouterr().out.replace("│", " ").split())


@pytest.mark.parametrize("config", [*laws.LAWS.values(), TailControl, *KINDS.values()])
def test_the_documented_defaults_are_those_of_the_variants(config):
    described = DelayProfileConfig.__doc__ + EstimatorConfig.__doc__
    defaults = getattr(config, "DEFAULTS", None)
    if defaults is None:
        defaults = {field.name: field.default for field in dataclasses.fields(config)}
    for name, default in defaults.items():
        if name != "trace_path":
            text = described[described.index(f"        {name}: ") :].partition(" None ")[2]
            value = default[0] if isinstance(default, tuple) else default
            shown = {"dt_ms": "1000 / 30"}.get(name, str(value))
            assert text.startswith(("leaves", "waits", "lets") if value is None else f"is {shown}."), name


def test_unknown_profile_suggests_a_name():
    with pytest.raises(ValueError, match="did you mean 'long_tail'"):
        profiles.profile("longtail")
