"""Measured latencies: CSV files are read right or refused, and known by their content."""

import hashlib
import warnings
from pathlib import Path

import numpy as np
import pytest

from rtc.delay import DelayProfileConfig, make_process, read_trace


def test_a_trace_is_known_by_its_content(trace, tmp_path, monkeypatch):
    path = Path(trace([10.0, 20.0]))
    identity = DelayProfileConfig(mode="trace", trace_path=str(path)).identity()
    assert identity["trace_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert "trace_path" not in identity
    monkeypatch.chdir(tmp_path)
    assert DelayProfileConfig(mode="trace", trace_path=path.name).identity() == identity
    other = path.with_name("other.csv")
    other.write_text("latency_ms\n10\n30\n")
    assert DelayProfileConfig(mode="trace", trace_path=str(other)).identity() != identity


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("", "cannot be read as CSV: it is empty"),
        (b"latency_ms\n\xff\n", "cannot be read"),
        ('latency_ms\n"3\n', "cannot be read"),
        ("ms\n3\n", r"has columns \['ms'\]: it needs a column latency_ms"),
        ("query;latency_ms\n0;3\n", "separated by commas"),
        ("latency_ms\n", "holds no latencies"),
        ("latency_ms\n3\n-1\n", r"data row 2 \(line 3\): latency_ms='-1' must be a number of at least 0"),
        ("latency_ms\n3\nfast\n", "data row 2 .*latency_ms='fast'"),
        ("latency_ms\n3\n\nnan\n", r"data row 2 \(line 4\).*latency_ms='nan'"),
        ("latency_ms\ninf\n", "latency_ms='inf'"),
        ("latency_ms\n1_0\n", "latency_ms='1_0'"),
        ("latency_ms\nTrue\nFalse\n", "data row 1 .*latency_ms='True' must be a number"),
        ("latency_ms,step\n,1\n", "latency_ms='' must be a number"),
        ("latency_ms,latency_ms\n10,90\n", "has the column latency_ms 2 times"),
        ("latency_ms,step,step\n10,0,0\n", "has the column step 2 times"),
        ("latency_ms,step\n140,0,\n150,1,\n", "data row 1 .* has 3 cells and the header 2"),
        ("latency_ms,step\n140,0,ok\n", "data row 1 .* has 3 cells and the header 2"),
        ("latency_ms,step\n140,0\n150\n", r"data row 2 \(line 3\) has 1 cells and the header 2"),
        ("latency_ms\n1e12\n", "more than 1000000 ticks"),
    ],
)
def test_bad_traces_are_refused(tmp_path, content, message):
    path = tmp_path / "trace.csv"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message) as refused:
        make_process(DelayProfileConfig(mode="trace", trace_path=str(path)))
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_traces_are_read_as_spreadsheets_write_them(tmp_path, start, end):
    path = tmp_path / "trace.csv"
    path.write_bytes(f"{start} latency_ms ,step{end}140,0{end}{end}1.5e2,{end}".encode())
    np.testing.assert_array_equal(read_trace(path), [140.0, 150.0])


def test_a_trace_that_may_be_in_seconds_is_warned_of(trace):
    path = trace([0.034, 0.0484])
    with pytest.warns(UserWarning, match="largest latency is 0.0484 ms; if the file is in seconds, give trace_scale"):
        make_process(DelayProfileConfig(mode="trace", trace_path=path))
    with warnings.catch_warnings(action="error"):
        make_process(DelayProfileConfig(mode="trace", trace_path=path, trace_scale=1000.0))
        make_process(DelayProfileConfig(mode="trace", trace_path=trace([0.0, 0.0])))
