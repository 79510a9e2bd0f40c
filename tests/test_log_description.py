"""Delays of a log: described as known by another road, written as a trace that replays the same ticks, reported."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import tyro
from scipy import stats

import eval_flow
from rtc.delay import DelayProfileConfig, logs, make_process
from rtc.delay.logs import DelayLog, description
from rtc.programs import console, read_log
from rtc.report import latency_log
from rtc.report.figures import latency_log as figure
from rtc.report.figures import style
from rtc.shared import entry, files

LOGS = Path(__file__).parent / "logs"


def log_of(latency_ms, time_s=None, resolution_ms=0.0):
    times = None if time_s is None else np.array(time_s, np.float64)
    latency = np.array(latency_ms, np.float64)
    return DelayLog(latency, times, "a.csv", "0", "table", "why", "what", len(latency), (), (), resolution_ms)


def of(latency_ms, hz=30.0, **more):
    return logs.describe(log_of(latency_ms, **more), hz)


def test_a_description_by_hand():
    found = of([100, 200, 300, 400], hz=10.0)
    assert (found.count, found.mean, found.median, found.longest) == (4, 250.0, 200.0, 400.0)
    assert (found.p95, found.p99) == (400.0, 400.0)
    assert found.ticks == {1: 1, 2: 1, 3: 1, 4: 1}
    assert [found.longer(k) for k in range(6)] == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    assert [found.percentile(level) for level in (50, 95)] == [2, 4]
    # Deviations -150, -50, 50, 150: products at lag 1 are 7500, -2500, 7500, squares sum to 50000.
    assert found.autocorrelation == {1: pytest.approx(0.25)}
    assert found.ranks == pytest.approx(0.25)
    assert (found.trend, found.drift) == (None, None)


@pytest.mark.parametrize("hz", [30.0, 50.0, 7.0])
def test_the_written_trace_replays_the_same_ticks_in_the_same_order(tmp_path, hz):
    exact = np.arange(1, 200) * 1000 / hz  # of exactly k control periods
    latency = np.concatenate([np.random.default_rng(0).lognormal(4, 1, 500), exact, [0.0]])
    path = tmp_path / "trace.csv"
    files.atomic_write(path, files.to_csv(logs.trace_table(latency)))
    profile = DelayProfileConfig(mode="trace", trace_path=str(path), trace_order="replay", dt_ms=1000 / hz)
    ticks = logs.ticks(latency, hz)
    np.testing.assert_array_equal(profile.law.base().delays, ticks)
    np.testing.assert_array_equal(make_process(profile).table[: len(ticks)], ticks)
    np.testing.assert_array_equal(logs.ticks(exact, hz), np.arange(1, 200))
    np.testing.assert_array_equal(logs.read(path).latency_ms, latency)


def test_delays_in_ticks_come_back_as_these_ticks():
    log = logs.read(LOGS / "numbers.txt", unit="ticks", hz=30.0)
    np.testing.assert_array_equal(logs.ticks(log.latency_ms, 30.0), [3, 3, 4, 12, 3])


def test_autocorrelations_that_are_known():
    n = 1000
    alternating = of(np.resize([100.0, 200.0], n))
    assert alternating.autocorrelation[1] == pytest.approx(-(n - 1) / n)
    assert alternating.autocorrelation[2] == pytest.approx((n - 2) / n)
    noise = np.random.default_rng(1).normal(size=5000)
    first_order = np.zeros(5000)
    for k in range(1, 5000):
        first_order[k] = 0.6 * first_order[k - 1] + noise[k]
    found = of(100 + first_order)
    for lag in description.LAGS:
        assert found.autocorrelation[lag] == pytest.approx(0.6**lag, abs=0.06)
    independent = logs.autocorrelation(noise, range(1, 101))
    assert np.mean(np.abs(list(independent.values())) < found.band) > 0.9


def test_single_long_delays_do_not_decide_the_autocorrelation_of_ranks():
    latency = np.resize([100.0, 110.0], 200)
    latency[100:102] = 1e5
    found = of(latency)
    assert found.autocorrelation[1] > 0.4
    assert found.ranks < -0.9


def test_equal_delays_have_no_autocorrelation():
    found = of([50.0] * 12)
    assert np.isnan([found.autocorrelation[1], found.ranks]).all()
    assert found.trend[:3] == (0.0, 0.0, 0.0)
    assert found.drift == (50.0, 50.0, 1.0)


def test_a_line_has_its_slope():
    assert of(100 + 0.5 * np.arange(60)).trend == pytest.approx((50.0, 50.0, 50.0, "100 queries"))
    timed = of(100 + 0.5 * np.arange(60), time_s=2.0 * np.arange(60)).trend
    assert timed == pytest.approx((15.0, 15.0, 15.0, "minute"))
    assert of(100 + 0.5 * np.arange(60), time_s=np.zeros(60)).trend.per == "100 queries"


def test_long_logs_are_thinned_for_the_slope():
    latency = 100 + 0.01 * np.arange(10_000) + np.random.default_rng(2).normal(size=10_000)
    trend = of(latency).trend
    assert trend.low < 1.0 < trend.high
    assert trend.high - trend.low < 0.01


def test_drift_compares_the_first_third_with_the_last():
    rng = np.random.default_rng(3)
    same, drifted = rng.normal(100, 5, 90), rng.normal(100, 5, 90) + np.repeat([0, 50, 10], 30)
    assert of(same).drift.p == pytest.approx(stats.mannwhitneyu(same[:30], same[60:]).pvalue)
    found = of(drifted).drift
    assert found.p < 1e-6
    assert (found.first_ms, found.last_ms) == (np.median(drifted[:30]), np.median(drifted[60:]))


def test_the_resolution_of_a_log_leaves_some_ticks_open():
    """In steps of 10 ms, 100 ms are 95 to 105 ms: three or four ticks at 30 Hz; 120 ms are four."""
    assert of([100, 120, 120, 120], resolution_ms=10.0).uncertain == 0.25
    assert of([100, 120, 120, 120]).uncertain == 0.0


def test_a_control_rate_must_be_positive():
    with pytest.raises(ValueError, match="hz=-1"):
        of([1.0], hz=-1.0)


@pytest.mark.parametrize(
    "latency", [[5.0], [5.0] * 20, np.r_[np.full(300, 30.0), 9000.0], np.r_[0.0, np.full(30, 5.0), 900.0]]
)
def test_a_figure_of_any_log(tmp_path, latency):
    log = log_of(latency)
    style.save(figure.draw(log, logs.describe(log)), tmp_path / "a")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_rare_ticks_share_a_row_of_the_table():
    table = latency_log.histogram(of(np.arange(1, 101) * 1000 / 30))
    assert len(table) == latency_log.MOST_ROWS
    assert list(table.iloc[-1]) == ["20–100", pytest.approx(100_000 / 30), 81, 81.0, 0.0]
    assert table["queries"].sum() == 100


def test_the_program_reports_and_says_how_to_replay(tmp_path, capsys):
    root = tmp_path / "a report"
    read_log.main([str(LOGS / "lerobot_client.log"), "--hz", "50", "--output-dir", str(root)])
    shown = capsys.readouterr().out
    assert {path.name for path in root.iterdir()} == {
        *("latency.json", "latency.md", "latency.png", "latency.svg", "trace.csv")
    }
    facts = json.loads((root / "latency.json").read_text())
    assert facts["log"]["format"] == "lerobot_client"
    assert facts["description"]["ticks"] == {"7": 3, "8": 1, "15": 1}
    assert facts["description"]["longer"] == {"7": 0.4, "8": 0.2, "15": 0.0}
    page = (root / "latency.md").read_text()
    for text in (shown, page):
        assert "17 lines, 9 of them about a delay; 5 delays were kept." in text
        assert "| median" in text
        assert "n/a: fewer than 9 delays" in text
    assert shown.splitlines()[-1] == f"open first: {root}/latency.md"
    command = shlex.split(next(line for line in shown.splitlines() if line.startswith("python src/eval_flow.py")))
    replayed = tyro.cli(eval_flow.Arguments, args=command[2:]).config.delay_profile
    assert replayed.law.trace_order == "replay"
    np.testing.assert_array_equal(replayed.law.base().delays, [7, 7, 8, 15, 7])


def test_what_is_not_a_number_is_null_in_the_facts(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("latency_ms\n" + "30\n" * 9)
    read_log.main([str(tmp_path / "a.csv"), "--output-dir", str(tmp_path)])
    facts = json.loads((tmp_path / "latency.json").read_text(), parse_constant=pytest.fail)
    assert facts["description"]["autocorrelation"]["1"] is None
    assert "| n/a " in capsys.readouterr().out


def test_the_report_of_another_log_is_not_replaced_unasked(tmp_path):
    root, facts = ["--output-dir", str(tmp_path)], tmp_path / "latency.json"
    facts.write_text(json.dumps({"log": {"sha256": logs.read(LOGS / "latency.csv").sha256}}))
    latency_log.require_own(tmp_path, logs.read(LOGS / "latency.csv"))
    with pytest.raises(SystemExit, match=r"is of another log, .*Nothing was changed"):
        read_log.main([str(LOGS / "seconds.tsv"), *root])
    assert [path.name for path in tmp_path.iterdir()] == [facts.name]
    read_log.main([str(LOGS / "seconds.tsv"), "--overwrite", *root])
    assert json.loads((tmp_path / "latency.json").read_text())["log"]["path"].endswith("seconds.tsv")


def test_other_delays_of_the_same_log_are_not_replaced_unasked(tmp_path):
    log, root = tmp_path / "a.csv", ["--output-dir", str(tmp_path / "out")]
    log.write_text("latency_ms,server_ms\n" + "100,50\n" * 9)
    read_log.main([str(log), "--column", "latency_ms", *root])
    read_log.main([str(log), "--column", "latency_ms", "--hz", "50", *root])  # the same delays
    with pytest.raises(SystemExit, match=r"trace\.csv has other delays of this log"):
        read_log.main([str(log), "--column", "server_ms", *root])
    assert "100.0" in (tmp_path / "out/trace.csv").read_text()
    read_log.main([str(log), "--column", "server_ms", "--overwrite", *root])
    assert "50.0" in (tmp_path / "out/trace.csv").read_text()


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_the_log_itself_is_never_replaced(tmp_path, overwrite):
    log = tmp_path / "trace.csv"
    log.write_text("latency_ms\n" + "30\n" * 9)
    with pytest.raises(SystemExit, match="is the log itself"):
        read_log.main([str(log), "--output-dir", str(tmp_path), *overwrite])
    assert [path.name for path in tmp_path.iterdir()] == ["trace.csv"]


def test_files_that_are_no_report_are_not_replaced_unasked(tmp_path):
    (tmp_path / "latency.md").write_text("my notes")
    with pytest.raises(SystemExit, match=r"latency\.md is not of a report of a log"):
        read_log.main([str(LOGS / "seconds.tsv"), "--output-dir", str(tmp_path)])
    assert (tmp_path / "latency.md").read_text() == "my notes"


def test_nothing_is_written_for_a_log_without_delays(tmp_path):
    (tmp_path / "a.csv").write_text("latency_ms\n")
    with pytest.raises(SystemExit, match="holds no delays"):
        read_log.main([str(tmp_path / "a.csv"), "--output-dir", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_the_console_has_it(monkeypatch):
    started = []
    monkeypatch.setattr(entry, "start", lambda module, argv: started.append((module, argv)))
    console.main(["read-log", "a.log"])
    assert started == [("rtc.programs.read_log", ["a.log"])]
