"""Latency logs: every format is read right, what is left out is counted, and what cannot be read is refused."""

import warnings
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from rtc.delay import logs
from rtc.delay.logs import record

LOGS = Path(__file__).parent / "logs"
# By sample: options, format, delays in ms, what is left out.
SAMPLES = {
    "lerobot_client.log": (
        {},
        "lerobot_client",
        [131.25, 128.0, 150.75, 290.0, 126.5],
        {"malformed": 1, "duplicate": 1, "negative": 1, "first query": 1},
    ),
    "lerobot_server.log": ({}, "lerobot_server", [90.5, 93.25, 90.0, 122.75], {"malformed": 1, "first query": 1}),
    "lerobot_rtc.log": ({}, "lerobot_rtc", [120, 130, 130, 110, 100], {"malformed": 1, "first query": 2}),
    "openpi_replies.jsonl": (
        {},
        "openpi_replies",
        [71.25, 70.5, 90.0],
        {"malformed": 1, "missing": 1, "duplicate": 1, "first query": 1},
    ),
    "latency.csv": ({}, "table", [140, 150.5, 200], {"malformed": 3, "missing": 1, "negative": 1}),
    "stamps.csv": ({}, "table", [131.25, 148.000123, 128.0, 290.0], {"duplicate": 1}),
    "seconds.tsv": ({}, "table", [140, 33.4, 150], {}),
    "numbers.txt": ({"unit": "ticks", "hz": 50.0}, "table", [60, 60, 80, 240, 60], {}),
}


def counts(log):
    return {one.reason: one.count for one in log.left_out}


def write(tmp_path, content, name="log.txt"):
    path = tmp_path / name
    path.write_text(content)
    return path


def parquet(path, **columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), path, compression="zstd")
    return path


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_read(name):
    options, format, delays, left_out = SAMPLES[name]
    log = logs.read(LOGS / name, **options)
    assert log.format == format
    np.testing.assert_allclose(log.latency_ms, delays, rtol=1e-12)
    assert counts(log) == left_out
    assert log.lines == len((LOGS / name).read_text().splitlines())


def test_every_sample_is_used():
    assert {path.name for path in LOGS.iterdir()} == set(SAMPLES)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("lerobot_client.log", "line 4 has 'Received action chunk for step #'"),
        ("lerobot_server.log", "line 4 has 'Running inference for observation #'"),
        ("lerobot_rtc.log", "line 2 has 'RTC inference latency='"),
        ("openpi_replies.jsonl", "line 1 is a JSON object"),
        ("latency.csv", "line 1 begins a table: 'query,latency_ms,note'"),
        ("numbers.txt", "line 2 begins a table: '3'"),
    ],
)
def test_a_format_is_detected_by_what_is_in_the_file(name, why, tmp_path):
    anonymous = tmp_path / "x"
    anonymous.write_bytes((LOGS / name).read_bytes())
    assert logs.detect(anonymous) == (SAMPLES[name][1], why)


def test_what_is_left_out_is_shown_with_its_line():
    log = logs.read(LOGS / "latency.csv")
    shown = {one.reason: one.examples for one in log.left_out}
    assert shown["malformed"] == ("line 5: 3,fast,", "line 6: 4,160,late,again (4 cells, 3 columns)", "line 8: 6,True,")
    assert shown["missing"] == ("line 4: 2,,no answer",)
    client = {one.reason: one.examples for one in logs.read(LOGS / "lerobot_client.log").left_out}
    assert client["negative"][0].startswith("line 12: Received action chunk for step #85")
    assert "-3.50ms" in client["negative"][0]


def test_only_the_first_examples_are_kept(tmp_path):
    log = logs.read(write(tmp_path, "latency_ms\n30\n" + "x\n" * 9))
    assert (log.left_out[0].count, len(log.left_out[0].examples)) == (9, record.EXAMPLES)


def test_stamps_are_seconds_after_the_first_delay():
    np.testing.assert_array_equal(logs.read(LOGS / "lerobot_client.log").time_s, [0, 1, 2, 5, 6])
    np.testing.assert_allclose(logs.read(LOGS / "stamps.csv").time_s, [0, 0.51675, 0.99675, 1.65875], atol=1e-6)
    assert logs.read(LOGS / "latency.csv").time_s is None


def test_notes_say_what_a_delay_leaves_out():
    client, server, rtc, replies = (
        " ".join(logs.read(LOGS / name).notes)
        for name in ("lerobot_client.log", "lerobot_server.log", "lerobot_rtc.log", "openpi_replies.jsonl")
    )
    assert "executed 4 actions in the median and 9 at most" in client
    assert "`inference_latency`" in server
    assert "One-way latencies" in server
    assert "steps of 10 ms" in rtc
    assert "Lines 'Indexes diff is not equal to real delay': 2." in rtc
    assert "by +0.5 in the median" in rtc  # 3 - 4 and 6 - 4
    assert "discarded because they came too late: 1, after up to 9 ticks" in rtc
    assert "the server's was used" in replies


def test_first_queries_can_be_kept():
    log = logs.read(LOGS / "lerobot_client.log", keep_first=True, keep_warm_up=True)
    assert log.latency_ms[0] == 812.4
    assert "first query" not in counts(log)


def test_a_server_log_without_chunks_gives_its_observations(tmp_path):
    """Both lines of an observation are there; one of them counts."""
    lines = [line for line in (LOGS / "lerobot_server.log").read_text().splitlines() if "Action chunk" not in line]
    log = logs.read(write(tmp_path, "\n".join(lines)))
    assert log.format == "lerobot_server"
    np.testing.assert_array_equal(log.latency_ms, [88.0, 91.0, 87.5, 120.0])
    assert counts(log) == {"warm-up": 1}
    assert "without serialising" in log.measures


def test_lines_behind_other_prefixes_are_read(tmp_path):
    content = "".join(f"robot-1  | {line}\n" for line in (LOGS / "lerobot_client.log").read_text().splitlines())
    log = logs.read(write(tmp_path, content.replace("INFO 2026", "INFO [PID: 7] 2026")))
    np.testing.assert_array_equal(log.latency_ms, SAMPLES["lerobot_client.log"][2])
    np.testing.assert_array_equal(log.time_s, [0, 1, 2, 5, 6])


def test_two_logs_in_one_need_a_format(tmp_path):
    both = (LOGS / "lerobot_client.log").read_text() + (LOGS / "lerobot_server.log").read_text()
    path = write(tmp_path, both)
    with pytest.raises(ValueError, match=r"several logs in one \(line 4 has .*; line 21 has .*\): give --format"):
        logs.read(path)
    server = logs.read(path, "lerobot_server")
    np.testing.assert_array_equal(server.latency_ms, SAMPLES["lerobot_server.log"][2])
    assert server.chosen == "it was asked for"


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", {}, "is empty"),
        ("hello\nworld\n", {}, "begins with 'hello', which is no format known here: give --format, one of: lerobot_c"),
        ("latency_ms\n3\n", {"format": "lerobot"}, "format='lerobot' is unknown; did you mean 'lerobot_"),
        (
            "latency_ms\nTrue\nFalse\n",
            {},
            "holds no delays: looked for rows .* in 3 lines; left out: 2 malformed .line 2",
        ),
        ("latency_ms\n", {}, "holds no delays: looked for rows"),
        ("latency_ms,step\n140,0,\n150,1,\n", {}, r"2 malformed \(line 2: 140,0, \(3 cells, 2 columns\)\)"),
        ("latency_ms,latency_ms\n10,90\n", {}, "has the column 'latency_ms' 2 times: keep one of them"),
        ("a_ms,b_ms\n1,2\n", {}, r"has columns \['a_ms', 'b_ms'\]: give --column"),
        ("a_ms,b_ms\n1,2\n", {"column": "b_m"}, "column='b_m' is unknown; did you mean 'b_ms'"),
        ("a_ms,b_ms\n1,2\n", {"column": "a_ms", "minus": "z"}, "minus='z' is unknown"),
        ("a_ms,b_ms\n1,2\n", {"minus": "b_ms"}, "minus='b_ms' is subtracted from a column: give --column too"),
        ("a_ms,b_ms\n1,2\n", {"column": "a_ms", "minus": "a_ms"}, "minus='a_ms' is the column itself"),
        ("latency_ms\n3\n", {"keep_first": True}, "no effect with format='table', .* give --keep-warm-up"),
        ("a_ms,b_s\n1,2\n", {"column": "a_ms", "minus": "b_s"}, "say no unit, or not the same: give --unit"),
        (
            "140\n150\n",
            {},
            "the name of column '1' does not end in its unit: give --unit, one of: ns, us, ms, s, ticks",
        ),
        ("140\n150\n", {"unit": "sec"}, "unit='sec' is unknown"),
        ("140\n150\n", {"unit": "ms", "hz": 0.0}, "hz=0.0 must be positive"),
        ("3\n2.5\n", {"unit": "ticks"}, "line 2: 1='2.5' is no whole number of ticks: give its --unit"),
        (
            "3\n",
            {"format": "lerobot_rtc", "unit": "s"},
            "unit='s' has no effect with format='lerobot_rtc': set format to",
        ),
        ("3\n", {"format": "lerobot_rtc"}, "looked for lines 'RTC inference latency=…s, queue=…' .* in 1 lines"),
        ('{"a_ms": 1}\n', {}, "looked for JSON lines with client_infer_ms"),
        ('{"a_ms": 1}\n', {"column": "b_ms"}, "column='b_ms' is unknown; did you mean 'a_ms'"),
        ('{"a": 1}\n', {"column": "a"}, "column='a': a key of JSON lines must be in milliseconds and end in _ms"),
        ("PAR1 and no more", {}, "cannot be read as Parquet"),
        (
            "INFO 2026-03-02 10:00:00 t_client.py:124 Control loop thread starting\n",
            {},
            r"has lines as LeRobot stamps them \(1\), but none .* receive_actions\(verbose=True\)",
        ),
        (
            "INFO 2026-03-02 10:00:00 tion_queue.py:9 "
            "Indexes diff is not equal to real delay. indexes_diff=3, real_delay=4\n",
            {},
            "have real-time chunking log at level DEBUG",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, content, options, message):
    with pytest.raises(ValueError, match=message) as refused:
        logs.read(write(tmp_path, content), **options)
    assert "\n" not in str(refused.value)


def test_a_log_that_is_no_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is a folder: give a file in it"):
        logs.read(tmp_path)
    with pytest.raises(ValueError, match=r"none\.log' does not exist"):
        logs.read(tmp_path / "none.log")
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"latency_ms\n\xff\xfe\n")
    with pytest.raises(ValueError, match="is no UTF-8 text"):
        logs.read(binary)


@pytest.mark.parametrize(("value", "said"), [("0.0344", "the longest delay is 34.4 ms"), ("34.4", "")])
def test_a_unit_can_be_chosen_against_the_name(tmp_path, value, said):
    path = write(tmp_path, f"latency_ms\n{value}\n{value}\n")
    unit = "s" if said else "ms"
    np.testing.assert_allclose(logs.read(path, unit=unit).latency_ms, [34.4, 34.4])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("latency_ms\n0.034\n0.0484\n", "the longest delay is 0.0484 ms: latency_ms is perhaps not in ms; give --unit"),
        ("latency_s\n140\n150\n160\n", "half of the delays are above 150 s: latency_s is perhaps not in s"),
    ],
)
def test_a_unit_that_is_probably_wrong_is_warned_of(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.warns(UserWarning, match=message):
        log = logs.read(path)
    assert any("perhaps not in" in note for note in log.notes)
    with warnings.catch_warnings(action="error"):
        logs.read(LOGS / "latency.csv")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_without_a_header_have_numbered_columns(tmp_path, separator):
    path = write(tmp_path, f"0{separator}0.14\n1{separator}0.15\n")
    np.testing.assert_allclose(logs.read(path, column="2", unit="s").latency_ms, [140, 150])


@pytest.mark.parametrize("separator", [", ", "; ", "\t"])
def test_quoted_cells_may_stand_after_a_blank(tmp_path, separator):
    path = write(tmp_path, f'"query"{separator}"latency_ms"\n0{separator}"140"\n1{separator}150\n')
    np.testing.assert_array_equal(logs.read(path).latency_ms, [140, 150])


def test_of_several_columns_the_one_called_a_delay_is_taken(tmp_path):
    path = write(tmp_path, "\ufeffstep, Delay_ticks ,time_s\n7,3,0.5\n8,4,0.75\n")
    log = logs.read(path, hz=50.0)
    np.testing.assert_array_equal(log.latency_ms, [60, 80])
    np.testing.assert_array_equal(log.time_s, [0, 0.25])


def test_stamps_of_two_named_columns_are_subtracted(tmp_path):
    path = write(tmp_path, "received,stamp\n10.125,10\n11.2,11\n12.0,12.5\n")
    log = logs.read(path, column="received", minus="stamp", unit="s")
    np.testing.assert_array_equal(log.latency_ms, [125, 200])
    assert counts(log) == {"negative": 1}


def test_leading_delays_far_above_the_others_are_warm_up(tmp_path):
    path = write(tmp_path, "latency_ms\n" + "900\n350\n" + "100\n" * 18 + "900\n")
    log = logs.read(path)
    assert counts(log) == {"warm-up": 2}
    np.testing.assert_array_equal(log.latency_ms, [100] * 18 + [900])
    assert len(logs.read(path, keep_warm_up=True).latency_ms) == 21


def test_what_is_too_long_for_warm_up_is_kept_and_said(tmp_path):
    log = logs.read(write(tmp_path, "latency_ms\n" + "900\n" * 3 + "100\n" * 20))
    assert len(log.latency_ms) == 23
    assert counts(log) == {}
    assert "The first 3 delays are each above 3 times the median" in log.notes[-1]


@pytest.mark.parametrize(
    ("delays", "leading"), [([300, 100, 100], 0), ([301, 100, 100], 1), ([5, 0, 0], 0), ([7], 0), ([100, 900, 100], 0)]
)
def test_the_rule_of_warm_up_by_hand(delays, leading):
    assert record.warm_up(np.array(delays, np.float64)) == leading


def test_the_timings_of_openpi_s_client(tmp_path):
    path = parquet(
        tmp_path / "timing.parquet",
        client_infer_ms=[82.0, None, 80.5, float("nan")],
        server_infer_ms=[70.0, 71.0, 70.0, 70.0],
        server_prev_total_ms=[None, 90.0, 91.0, 92.0],
        policy_infer_ms=[3.0, 3.0, 3.0, 3.0],
    )
    log = logs.read(path)
    assert (log.format, log.chosen, log.lines) == ("openpi_table", "it is a Parquet file", 4)
    np.testing.assert_array_equal(log.latency_ms, [82.0, 80.5])
    assert counts(log) == {"malformed": 1, "missing": 1}
    assert log.notes[0].startswith("The way there and back takes 11.2 ms in the median")
    np.testing.assert_array_equal(logs.read(path, column="server_infer_ms").latency_ms, [70, 71, 70, 70])


def test_the_table_of_openpi_s_client_has_no_first_queries(tmp_path):
    with pytest.raises(ValueError, match="keep_first=True has no effect with format='openpi_table'"):
        logs.read(parquet(tmp_path / "timing.parquet", client_infer_ms=[82.0]), keep_first=True)


def test_the_server_s_column_stands_in_for_the_client_s_and_says_so(tmp_path):
    server = logs.read(parquet(tmp_path / "a", server_infer_ms=[70], policy_infer_ms=[3.0]))
    policy = logs.read(parquet(tmp_path / "b", policy_infer_ms=[3.0]))
    assert (server.latency_ms[0], policy.latency_ms[0]) == (70.0, 3.0)
    assert "the server's was used" in server.notes[0]
    assert "the policy's was used" in policy.notes[0]


@pytest.mark.parametrize(
    ("columns", "column", "message"),
    [
        ({"loss": [1.0]}, None, r"has columns \['loss'\]: looked for a Parquet column client_infer_ms"),
        ({"client_infer_ms": [1.0]}, "client_ms", "column='client_ms' is unknown; did you mean 'client_infer_ms'"),
        ({"rtt": [1.0]}, "rtt", "must be in milliseconds and end in _ms"),
        ({"client_infer_ms": ["fast"]}, None, "column 'client_infer_ms' holds string, not numbers"),
        ({"client_infer_ms": [None]}, None, "not numbers"),
    ],
)
def test_wrong_columns_of_parquet_files_are_refused(tmp_path, columns, column, message):
    with pytest.raises(ValueError, match=message):
        logs.read(parquet(tmp_path / "timing.parquet", **columns), column=column)


def test_replies_with_the_client_s_time_and_keys_of_one_s_own(tmp_path):
    lines = [
        '{"client_infer_ms": 82, "server_timing": {"infer_ms": 70, "prev_total_ms": 9}, "timing": {"rtt_ms": 81}}',
        '{"client_infer_ms": true, "server_timing": {"infer_ms": 71, "prev_total_ms": 9}, "timing": {"rtt_ms": NaN}}',
        f'{{"client_infer_ms": 1{"0" * 400}, "timing": {{"rtt_ms": 1{"0" * 5000}}}}}',
        f'{{"client_infer_ms": 83, "time_s": 1{"0" * 400}, "timing": {{"rtt_ms": 1{"0" * 400}}}}}',
        '{"client_infer_ms": 84.5, "time_s": 3.0, "timing": {"rtt_ms": 83.5}}',
        "[1]",
    ]
    path = write(tmp_path, "\n".join(lines))
    client, own = logs.read(path), logs.read(path, column="timing.rtt_ms")
    np.testing.assert_array_equal(client.latency_ms, [82, 83, 84.5])
    np.testing.assert_array_equal(own.latency_ms, [81, 83.5])
    assert counts(client) == {"malformed": 3}
    assert counts(own) == {"malformed": 4}
    assert client.measures.startswith("the time from sending the observation")
